"""The Pod's entry point: a supervisor that starts ``accelerate launch``, watches it and says how it ended."""
