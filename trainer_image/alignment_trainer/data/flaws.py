"""Flaws of rows that training could live with: where they are, and which rows are dropped for them. Pure."""

from __future__ import annotations

from enum import Enum

import numpy as np

from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.dataset import BadRows, DataQuality

from . import limits
from .facts import EVAL_PART, FactArray, Mask, repeated


class Flaw(Enum):
    """What is wrong with a row, in words that stand in the record of dropped rows."""

    DUPLICATE = "repeats an earlier row"
    NEAR_IDENTICAL = "chosen and rejected differ only in case, spaces and punctuation"
    TRUNCATED = "is longer than maxLength"
    LEAKED = "its prompt is among the rows of evalDataset"


def find(facts: FactArray, stage: Stage) -> dict[Flaw, Mask]:
    """For each flaw, which rows have it; rows of `evalDataset` are told apart from the others."""
    held_out = facts["part"] == EVAL_PART
    duplicates = np.zeros(len(facts), dtype=bool)
    for group in (held_out, ~held_out):
        duplicates[group] = repeated(facts["row"][group])
    limit = limits.max_length(stage)
    return {
        Flaw.DUPLICATE: duplicates,
        Flaw.NEAR_IDENTICAL: facts["near_identical"],
        Flaw.TRUNCATED: facts["length"] > limit if limit is not None else np.zeros(len(facts), dtype=bool),
        Flaw.LEAKED: ~held_out & np.isin(facts["prompt"], facts["prompt"][held_out]),
    }


def wishes(quality: DataQuality) -> list[Flaw]:
    """The flaws for which the user wants rows dropped."""
    wanted = {
        Flaw.DUPLICATE: quality.duplicates,
        Flaw.NEAR_IDENTICAL: quality.near_identical,
        Flaw.TRUNCATED: quality.truncated,
        Flaw.LEAKED: quality.leaked,
    }
    return [flaw for flaw, wish in wanted.items() if wish is BadRows.DROP]


def dropped(flaws: dict[Flaw, Mask], quality: DataQuality) -> Mask:
    """Which rows the user wants to be without."""
    mask = np.zeros(len(flaws[Flaw.LEAKED]), dtype=bool)
    for flaw in wishes(quality):
        mask |= flaws[flaw]
    return mask
