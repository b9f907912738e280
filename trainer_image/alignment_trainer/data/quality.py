"""Holds the rows of a stage against the limits of its dataset's ``quality``, and against what training needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage

from ..exceptions import DataError
from . import limits
from .facts import EVAL_PART, FactArray, Indices, Mask
from .flaws import Flaw
from .load import Loaded, Source
from .selection import Selection, leaked

_LONGEST_QUOTE: Final = 1500
SHOWN: Final = 5
"""Rows quoted in an error; all dropped ones are in the report folder."""

Places = Callable[[Indices], list[str]]
"""Where rows were found, by their numbers."""


@dataclass(frozen=True)
class Limit:
    """A limit of ``quality`` and what was found.

    Attributes:
        field: the field of ``quality``.
        share: the fraction it bounds, in words.
        limit: its value; None of one that is not set.
        rows: the rows that count against it.
        of: how many rows there are.
        way_out: what the user can do but raise it.
    """

    field: str
    share: str
    limit: float | None
    rows: Indices
    of: int
    way_out: str

    @property
    def fraction(self) -> float:
        """What was found, 0 to 1."""
        return len(self.rows) / self.of if self.of else 0.0

    @property
    def is_exceeded(self) -> bool:
        """Whether the dataset is to be refused."""
        return self.limit is not None and len(self.rows) > self.limit * self.of


def refuse_invalid(loaded: Loaded, stage: Stage, report: str) -> None:
    """Refuse sources without a usable row, and too many invalid rows altogether.

    Args:
        loaded: the rows.
        stage: their stage.
        report: where all dropped rows are listed, as people find it.

    Raises:
        DataError: names the rows.
    """
    empty = [source for source in loaded.sources if source.total == 0]
    if empty:
        raise _error([Problem(field=source.path, message=f"{source.name} has no rows") for source in empty])
    limit, bad = stage.dataset.quality.max_invalid_fraction, loaded.invalid
    if bad > limit * loaded.total:
        several = f" ({bad} of the {loaded.total} rows of all sources)" if len(loaded.sources) > 1 else ""
        raise _error(
            [
                Problem(
                    field=source.path,
                    message=f"{source.invalid} of {source.total} rows of {source.name} are invalid{several}, and "
                    f"quality.maxInvalidFraction is {limit:g}: correct the rows or raise the limit. "
                    f"{_quoted(source)}{_more(source.invalid, report)}",
                )
                for source in loaded.sources
                if source.invalid
            ]
        )
    hopeless = [source for source in loaded.sources if source.invalid == source.total]
    if hopeless:
        raise _error(
            [
                Problem(field=s.path, message=f"all {s.total} rows of {s.name} are invalid: {s.first_invalid[0]}")
                for s in hopeless
            ]
        )


def quality_limits(facts: FactArray, flaws: dict[Flaw, Mask], selection: Selection, stage: Stage) -> list[Limit]:
    """Every limit but that on invalid rows, with what was found before anything was dropped."""
    quality = stage.dataset.quality
    ours = facts["part"] != EVAL_PART
    count = int(np.count_nonzero(ours))
    pairs = ours & (facts["chosen"] > 0)

    def found(mask: Mask) -> Indices:
        return np.flatnonzero(mask & ours)

    return [
        Limit(
            "maxDuplicateFraction",
            "rows repeat an earlier one",
            quality.max_duplicate_fraction,
            found(flaws[Flaw.DUPLICATE]),
            count,
            "remove them from the data",
        ),
        Limit(
            "maxTruncatedFraction",
            f"rows are longer than maxLength {limits.max_length(stage)}",
            quality.max_truncated_fraction,
            found(flaws[Flaw.TRUNCATED]),
            count,
            f"raise {stage.method}.maxLength",
        ),
        Limit(
            "maxChosenLongerFraction",
            "pairs have a chosen response longer than the rejected one",
            quality.max_chosen_longer_fraction,
            found(pairs & (facts["chosen"] > facts["rejected"])),
            int(np.count_nonzero(pairs)),
            "balance the lengths",
        ),
        Limit(
            "maxLeakedFraction",
            "held-out rows have a prompt that is trained on too",
            quality.max_leaked_fraction,
            leaked(facts, selection),
            len(selection.held_out),
            "set quality.leaked to drop, which takes those prompts out of training",
        ),
    ]


def refuse_selection(
    found: Sequence[Limit], facts: FactArray, selection: Selection, stage: Stage, path: str, places: Places
) -> None:
    """Refuse what exceeds a limit, and selections that the stage cannot use.

    Args:
        found: the limits with what was found.
        facts: of all valid rows.
        selection: the rows to be used.
        stage: their stage.
        path: path of the stage in the manifest.
        places: names the first rows.

    Raises:
        DataError: with every problem.
    """
    problems = [
        Problem(
            field=f"{path}.dataset.quality.{limit.field}",
            message=f"{len(limit.rows)} of {limit.of} {limit.share} ({limit.fraction:.4g}), and the limit is "
            f"{limit.limit:g}: {limit.way_out}, or raise the limit. The first: "
            f"{', '.join(places(limit.rows[:SHOWN]))}",
        )
        for limit in found
        if limit.is_exceeded
    ]
    problems += _too_few(facts, selection, stage, path)
    problems += _without_response(facts, selection, stage, path)
    problems += _margins(facts, selection, stage, path, places)
    if problems:
        raise _error(problems)


def _too_few(facts: FactArray, selection: Selection, stage: Stage, path: str) -> Iterator[Problem]:
    dataset = stage.dataset
    if stage.evaluate is not None:
        if not len(selection.held_out):
            yield Problem(field=f"{path}.dataset", message="no row is left to evaluate on: quality drops them all")
        return
    if not len(selection.train):
        parts = [part for part in range(len(dataset.mixture or ())) if not np.any(facts["part"] == part)]
        at = f"mixture[{parts[0]}] has no usable row" if parts else "quality drops every row, or the weights leave none"
        yield Problem(field=f"{path}.dataset", message=f"no row is left to train on: {at}")
    elif dataset.eval_fraction > 0 and not len(selection.held_out):
        yield Problem(
            field=f"{path}.dataset.evalFraction",
            message="evalFraction needs rows with at least two different prompts, one to train on and one to hold out",
        )
    elif dataset.eval_dataset is not None and not len(selection.held_out):
        yield Problem(field=f"{path}.dataset.evalDataset", message="no held-out row is left: quality drops them all")


def _without_response(facts: FactArray, selection: Selection, stage: Stage, path: str) -> Iterator[Problem]:
    """Training leaves out what is too long; it cannot leave out everything."""
    limit = limits.max_length(stage)
    if limit is None:
        return
    for rows, kind in ((selection.train, "training"), (selection.held_out, "held-out")):
        long = facts["length"][rows] > limit if limits.leaves_long_rows_out(stage) else facts["no_room"][rows]
        if len(rows) and np.all(long):
            what = "rows" if limits.leaves_long_rows_out(stage) else "prompts alone"
            yield Problem(
                field=f"{path}.{stage.method}.maxLength",
                message=f"all {len(rows)} {kind} {what} are longer than {limit} tokens and would be left out: raise it",
            )


def _margins(facts: FactArray, selection: Selection, stage: Stage, path: str, places: Places) -> Iterator[Problem]:
    """The loss takes the margin of every pair or of none."""
    if stage.reward is None:
        return
    used = np.sort(np.concatenate(selection))
    without = used[~facts["margin"][used]]
    if 0 < len(without) < len(used):
        yield Problem(
            field=f"{path}.dataset",
            message=f"{len(without)} of {len(used)} pairs have no margin, and the others have one: give all a margin, "
            f"or remove the column. The first without: {', '.join(places(without[:SHOWN]))}",
        )


def _quoted(source: Source) -> str:
    return " | ".join(map(str, source.first_invalid[:SHOWN]))[:_LONGEST_QUOTE]


def _more(count: int, report: str) -> str:
    return f" | {count - SHOWN} more in {report}" if count > SHOWN else ""


def _error(problems: Sequence[Problem]) -> DataError:
    return DataError(problems[0].message, problems)
