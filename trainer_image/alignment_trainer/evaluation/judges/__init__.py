"""Judges: each gives a response a score, and the higher score wins."""
