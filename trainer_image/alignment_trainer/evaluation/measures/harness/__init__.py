"""Scores of tasks of the LM Evaluation Harness (Gao et al., 2024, doi:10.5281/zenodo.12608602), question by question.

Prepare finds the task, brings its data and tries a few questions (`prepare`); gangs build the same questions from what
Prepare left (`Questions`) and need no network. Requests are those that the harness builds in a single process, without
a chat template, and its own wrapper asks the model: the mean over all questions is what the harness reports.
"""

from .asking import measure
from .preparing import prepare
from .questions import Questions

__all__ = ["Questions", "measure", "prepare"]
