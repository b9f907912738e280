"""Code of a user's in a process of its own, without credentials."""
