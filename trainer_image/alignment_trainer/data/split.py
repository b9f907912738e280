"""Which rows are used, and which of them are held out."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence

from .rows import Row, opening


def sample(count: int, limit: int | None, seed: int) -> list[int]:
    """Indexes of the rows to use, shuffled; at most ``limit`` of ``count``."""
    order = list(range(count))
    random.Random(seed).shuffle(order)  # noqa: S311 -- reproducible, not secret
    return order[:limit]


def hold_out(rows: Sequence[Row], fraction: float, seed: int) -> list[bool]:
    """For each row, whether it is held out from training.

    Rows go by their opening, the turns before the first answer: rows that share it are held out together, so that
    nothing leaks from training into evaluation. The choice is a hash of opening and seed alone: stages that use the
    same prompts with the same seed and fraction hold out the same ones, and a prompt held out from DPO was not
    seen by SFT either.

    Args:
        rows: the rows.
        fraction: share of the openings to hold out. If it is above 0, at least one is held out and one is kept.
        seed: the dataset's seed.
    """
    if fraction == 0:
        return [False] * len(rows)
    points = [_point(row, seed) for row in rows]
    distinct = sorted(set(points))
    held = {point for point in distinct if point < fraction} or set(distinct[:1])
    held -= set(distinct[-1:])
    return [point in held for point in points]


def _point(row: Row, seed: int) -> float:
    """A number in [0, 1) that only the opening and the seed decide."""
    text = json.dumps([seed, opening(row)], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
