"""Evaluation of a candidate against a baseline on held-out prompts, and the gates of promotion.

Importing the package loads nothing: the supervisor reads `results`, and must not load the training stack.
"""
