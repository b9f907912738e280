"""Judges. Reward models and heuristics score each response; language models compare two."""
