"""The data report as numbers and examples: what `data.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from alignment_api.v1alpha1 import DataStatus, Stage

from . import lengths, limits
from .facts import EVAL_PART, FactArray, Indices, Mask, cut_tokens, repeated, tokens
from .flaws import Flaw
from .load import Loaded
from .quality import SHOWN, Limit, Places
from .row_files import places
from .selection import Selection, leaked

BINS: Final = 30


@dataclass(frozen=True)
class Findings:
    """All that is known of a stage's rows once it is decided which are used.

    Attributes:
        stage: the stage.
        loaded: what was read.
        flaws: which rows have which flaw.
        unwanted: valid rows that are dropped for a flaw.
        selection: the rows that are used.
        quality: the limits with what was found.
    """

    stage: Stage
    loaded: Loaded
    flaws: Mapping[Flaw, Mask]
    unwanted: Mask
    selection: Selection
    quality: Sequence[Limit]

    @property
    def facts(self) -> FactArray:
        """Facts of all valid rows."""
        return self.loaded.facts

    def places(self, rows: Indices) -> list[str]:
        """Where ``rows`` were found, in their order."""
        found = dict(places(self.loaded.files, np.unique(rows)))
        return [found[int(row)] for row in rows]

    @property
    def measured(self) -> FactArray:
        """Facts of the training rows; of an evaluation, of its rows."""
        return self.facts[self.selection.train if self.stage.evaluate is None else self.selection.held_out]


def status_of(found: Findings) -> DataStatus:
    """The numbers that the resource's status shows."""
    facts, rows, limit = found.facts, found.measured, limits.max_length(found.stage)
    pairs = facts[facts["chosen"] > 0]
    labels = rows["label"][rows["label"] >= 0]
    dropped = int(np.count_nonzero(found.unwanted))
    return DataStatus(
        rows=found.loaded.total,
        train_rows=len(found.selection.train),
        eval_rows=len(found.selection.held_out),
        invalid_rows=found.loaded.invalid,
        truncated_rows=int(np.count_nonzero(rows["length"] > limit)) if limit is not None else 0,
        tokens=tokens(rows),
        dropped_rows=dropped or None,
        duplicate_rows=int(np.count_nonzero(found.flaws[Flaw.DUPLICATE])),
        near_identical_rows=int(np.count_nonzero(found.flaws[Flaw.NEAR_IDENTICAL])) if len(pairs) else None,
        leaked_rows=len(leaked(facts, found.selection)) if np.any(facts["part"] == EVAL_PART) else None,
        truncated_tokens=cut_tokens(rows, limit) if limit is not None else None,
        chosen_longer_fraction=_fraction(pairs["chosen"] > pairs["rejected"]),
        desirable_fraction=_fraction(labels == 1),
    )


def report_of(
    found: Findings,
    status: DataStatus,
    dropped: Sequence[Mapping[str, object]],
    samples: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The whole report as JSON values.

    Args:
        found: the rows.
        status: their numbers.
        dropped: reasons with numbers and places of rows, see `DroppedRows.summary`.
        samples: some of the prepared rows.
    """
    facts, rows = found.facts, found.measured
    usable = ~found.unwanted
    report: dict[str, Any] = {
        "source": ", ".join(source.name for source in found.loaded.sources),
        "format": next((source.format.value for source in found.loaded.sources if source.format), None),
        "sources": [
            {
                "name": source.name,
                "format": source.format.value if source.format else None,
                "rows": source.total,
                "invalidRows": source.invalid,
                "validRows": source.valid,
                "usedRows": sum(int(np.count_nonzero(facts["part"][used] == source.part)) for used in found.selection),
            }
            for source in found.loaded.sources
        ],
        **status.to_yaml_dict(),
        "validRows": len(facts),
        "usedRows": sum(map(len, found.selection)),
        "notSampledRows": int(np.count_nonzero(usable)) - sum(map(len, found.selection)),
        "nearDuplicateRows": int(np.count_nonzero(repeated(facts["normalized"]))),
        "limits": [_limit(limit, found.places) for limit in found.quality],
        "dropped": list(dropped),
        "rowTokens": _distribution(rows["length"]),
        "samples": list(samples),
    }
    if np.any(rows["chosen"] > 0):
        report["responses"] = _pair_lengths(rows[rows["chosen"] > 0])
    if np.any(rows["label"] >= 0):
        report["labels"] = _labels(rows)
    limit = limits.max_length(found.stage)
    if limit is not None:
        report["maxLength"] = _max_length(found.stage, rows, limit)
    return report


def _limit(limit: Limit, places: Places) -> dict[str, Any]:
    return {
        "field": limit.field,
        "counts": limit.share,
        "rows": len(limit.rows),
        "of": limit.of,
        "fraction": round(limit.fraction, 6),
        "limit": limit.limit,
        "examples": places(limit.rows[:SHOWN]),
    }


def _max_length(stage: Stage, rows: FactArray, limit: int) -> dict[str, Any]:
    whole, cut = tokens(rows), cut_tokens(rows, limit)
    long = rows["length"] > limit
    left_out = long if limits.leaves_long_rows_out(stage) else rows["no_room"]
    return {
        "tokens": limit,
        "longerRows": int(np.count_nonzero(long)),
        "leftOutRows": int(np.count_nonzero(left_out)),
        "cutTokens": cut,
        "cutFraction": round(cut / whole, 6) if whole else 0.0,
    }


def _pair_lengths(pairs: FactArray) -> dict[str, Any]:
    """Lengths of the two sides, prompts included; what differs between them is the response."""
    chosen, rejected = pairs["chosen"], pairs["rejected"]
    return {
        "meanTokens": {"chosen": round(float(chosen.mean()), 1), "rejected": round(float(rejected.mean()), 1)},
        "chosenLonger": int(np.count_nonzero(chosen > rejected)),
        "equallyLong": int(np.count_nonzero(chosen == rejected)),
        "rejectedLonger": int(np.count_nonzero(chosen < rejected)),
    }


def _labels(rows: FactArray) -> dict[str, Any]:
    sides = {"desirable": rows[rows["label"] == 1], "undesirable": rows[rows["label"] == 0]}
    means = {name: round(float(side["length"].mean()), 1) for name, side in sides.items() if len(side)}
    return {**{name: len(side) for name, side in sides.items()}, "meanTokens": means}


def _distribution(values: lengths.Counts) -> dict[str, Any]:
    if not len(values):
        return {}
    return lengths.percentiles(values) | {
        "mean": round(float(values.mean()), 1),
        "histogram": lengths.histogram(values, BINS),
    }


def _fraction(mask: Mask) -> float | None:
    return round(float(mask.mean()), 4) if len(mask) else None
