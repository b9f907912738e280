"""What is kept in memory of each row while the rows themselves lie on disk: 50 bytes, whatever its length."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

FactArray = npt.NDArray[np.void]
"""One record of `FACTS` for each row."""
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

FACTS: Final = np.dtype(
    [
        ("row", "u8"),  # keys, see `keys`
        ("normalized", "u8"),
        ("prompt", "u8"),
        ("point", "f8"),  # decides whether the row is held out
        ("length", "i4"),  # tokens; of a pair, of its longer side
        ("chosen", "i4"),  # tokens of a pair's sides, prompt included; 0 of other rows
        ("rejected", "i4"),
        ("part", "i1"),  # index of the source, see `EVAL_PART`
        ("label", "i1"),  # 1 good, 0 bad, -1 of rows without label
        ("near_identical", "?"),  # a pair whose responses hardly differ
        ("no_room", "?"),  # nothing of a response is left within the stage's maxLength
        ("margin", "?"),  # has a margin
    ]
)
EVAL_PART: Final = -1
"""``part`` of rows of `evalDataset`."""


def none() -> FactArray:
    """Facts of no rows."""
    return np.zeros(0, dtype=FACTS)


def joined(chunks: list[FactArray]) -> FactArray:
    """The facts of all chunks, in order."""
    return np.concatenate([none(), *chunks])


def repeated(keys: npt.NDArray[Any]) -> Mask:
    """For each key, whether an earlier one equals it."""
    _, first = np.unique(keys, return_index=True)
    mask = np.ones(len(keys), dtype=bool)
    mask[first] = False
    return mask


def tokens(facts: FactArray) -> int:
    """Sum of the tokens of all rows; both sides of pairs count."""
    paired = facts["chosen"] > 0
    both = facts["chosen"].astype(np.int64) + facts["rejected"]
    return int(np.where(paired, both, facts["length"]).sum())


def cut_tokens(facts: FactArray, limit: int) -> int:
    """Tokens beyond ``limit``; both sides of pairs count."""
    sides = (np.where(facts["chosen"] > 0, 0, facts["length"]), facts["chosen"], facts["rejected"])
    return int(sum(np.maximum(side.astype(np.int64) - limit, 0).sum() for side in sides))
