"""Each policy of a job's life in one module: what is to happen in one kind of situation. Pure."""
