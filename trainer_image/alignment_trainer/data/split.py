"""Which rows are used, and which of them are held out. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .facts import Indices, Mask


def shuffled(count: int, seed: int) -> Indices:
    """The numbers below ``count`` in an order that the seed decides."""
    order = list(range(count))
    random.Random(seed).shuffle(order)  # noqa: S311 -- reproducible, not secret
    return np.array(order, dtype=np.int64)


def shares(available: Sequence[int], weights: Sequence[float], limit: int | None) -> list[int]:
    """Rows to take of each part of a mixture: as many as the weights allow without repeating one.

    Args:
        available: rows of each part.
        weights: their weights relative to each other.
        limit: most rows altogether; None for no limit.

    Returns:
        As many numbers; their proportions are those of the weights to within a row.
    """
    whole = sum(weights)
    total = min(int(count * whole / weight + 1e-9) for count, weight in zip(available, weights, strict=True))
    if limit is not None:
        total = min(total, limit)
    exact = [total * weight / whole for weight in weights]
    taken = [min(int(share + 1e-9), count) for share, count in zip(exact, available, strict=True)]
    by_remainder = sorted(range(len(taken)), key=lambda part: taken[part] - exact[part])
    for part in by_remainder[: total - sum(taken)]:
        taken[part] = min(taken[part] + 1, available[part])
    return taken


def first_of_each(parts: npt.NDArray[Any], counts: Sequence[int]) -> Mask:
    """For each row, whether it is among the first ``counts[part]`` of its part."""
    mask = np.zeros(len(parts), dtype=bool)
    for part, count in enumerate(counts):
        mask[np.flatnonzero(parts == part)[:count]] = True
    return mask


def hold_out(points: npt.NDArray[np.float64], fraction: float) -> Mask:
    """For each row, whether it is held out from training.

    Rows go by their point, a hash of the seed and of the turns before the first answer: rows that share these are held
    out together, so that nothing leaks from training into evaluation. Stages that use the same prompts with the same
    seed and fraction hold out the same ones, and a prompt held out from DPO was not seen by SFT either.

    Args:
        points: ``keys.hold_out_point`` of the rows.
        fraction: share of the prompts to hold out. If it is above 0, at least one is held out and one is kept.
    """
    if fraction == 0 or not len(points):
        return np.zeros(len(points), dtype=bool)
    distinct = np.unique(points)
    bound = max(fraction, float(np.nextafter(distinct[0], 1)))
    held: Mask = (points < bound) & (points != distinct[-1])
    return held
