"""Callbacks of the transformers Trainer: progress, preemption, checkpoints."""
