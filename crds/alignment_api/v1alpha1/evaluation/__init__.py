"""Evaluation of candidate models against a baseline, and the gates that decide on promotion."""

from .evaluate import Candidate, Evaluate
from .gates import COMPARATIVE_METRICS, Gate, GateMetric, RelativeTo
from .generation import Engine, Generation
from .judges import HeuristicJudge, Judge, LlmJudge, Rubric
from .measures import Classifier, HarnessTask, Measures, TextCorpus

__all__ = [
    "COMPARATIVE_METRICS",
    "Candidate",
    "Classifier",
    "Engine",
    "Evaluate",
    "Gate",
    "GateMetric",
    "Generation",
    "HarnessTask",
    "HeuristicJudge",
    "Judge",
    "LlmJudge",
    "Measures",
    "RelativeTo",
    "Rubric",
    "TextCorpus",
]
