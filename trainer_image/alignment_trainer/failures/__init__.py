"""What went wrong: exceptions and output -> exit codes."""
