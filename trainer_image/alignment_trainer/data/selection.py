"""Which of the valid rows are trained on, and which are held out. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alignment_api.v1alpha1 import Dataset, Stage

from . import split
from .facts import EVAL_PART, FactArray, Indices, Mask


class Selection(NamedTuple):
    """Numbers of rows, in the order in which they are used.

    Attributes:
        train: rows to train on.
        held_out: rows held out; all rows of an evaluation.
    """

    train: Indices
    held_out: Indices


def select(facts: FactArray, usable: Mask, stage: Stage) -> Selection:
    """Shuffle, mix, sample and hold out.

    Args:
        facts: of all valid rows.
        usable: those that are not dropped.
        stage: its dataset says how much of each source is used.
    """
    dataset = stage.dataset
    rows = np.flatnonzero(usable & (facts["part"] != EVAL_PART))
    rows = rows[split.shuffled(len(rows), dataset.seed)]
    rows = _sampled(facts, rows, dataset)
    if stage.evaluate is not None:
        return Selection(rows[:0], rows)
    if dataset.eval_dataset is not None:
        held_out = np.flatnonzero(usable & (facts["part"] == EVAL_PART))
        return Selection(rows, held_out[split.shuffled(len(held_out), dataset.seed)])
    held = split.hold_out(facts["point"][rows], dataset.eval_fraction)
    return Selection(rows[~held], rows[held])


def leaked(facts: FactArray, selection: Selection) -> Indices:
    """The held-out rows whose prompt is trained on too."""
    prompts = facts["prompt"]
    return selection.held_out[np.isin(prompts[selection.held_out], prompts[selection.train])]


def _sampled(facts: FactArray, rows: Indices, dataset: Dataset) -> Indices:
    weights = [part.weight for part in dataset.mixture or () if part.weight is not None]
    if not weights:
        return rows[: dataset.max_samples]
    parts = facts["part"][rows]
    available = np.bincount(parts, minlength=len(weights)).tolist()
    return rows[split.first_of_each(parts, split.shares(available, weights, dataset.max_samples))]
