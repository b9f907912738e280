"""Proximal policy optimization on TRL's online trainer, which has the generation, scoring, buffering and logging."""
