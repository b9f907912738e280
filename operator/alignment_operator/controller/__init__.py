"""Takes the key of an AlignmentJob, looks, asks for a plan and carries it out."""
