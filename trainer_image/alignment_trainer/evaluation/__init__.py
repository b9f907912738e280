"""Evaluation of a candidate against a baseline on held-out prompts, and the gates of promotion."""

from .stage import run

__all__ = ["run"]
