"""The trainer: what runs in the Pods of an AlignmentJob (prepare, training stages, evaluation)."""
