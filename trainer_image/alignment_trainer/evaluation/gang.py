"""Shares work on a list over the processes of the gang."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import gather_object

from alignment_api.contract import TrainerPhase

from ..reporter import Reporter

Item = TypeVar("Item")
Result = TypeVar("Result")


class Gang:
    """The processes that evaluate together.

    Args:
        process: this process among them.
        reporter: where progress goes.
        total: items that all calls of ``share`` together will have.
    """

    def __init__(self, process: PartialState, reporter: Reporter, total: int) -> None:
        self._process = process
        self._reporter = reporter
        self._total = total
        self._done = 0
        reporter.update(important=True, phase=TrainerPhase.EVALUATING, total_steps=total)

    @property
    def device(self) -> Any:
        """The torch device of this process."""
        return self._process.device

    def share(
        self, items: Sequence[Item], batch_size: int, work: Callable[[int, Sequence[Item]], list[Result]]
    ) -> list[Result]:
        """Apply ``work`` to batches of ``items``, dealt to the processes in turn; every process must call this.

        The batches do not depend on the number of processes, so neither do the results.

        Args:
            items: the same on every process.
            batch_size: items of a batch.
            work: takes the number of the batch and its items; returns one result for each.

        Returns:
            The results in the order of ``items``, on every process.
        """
        starts = range(0, len(items), batch_size)
        mine: list[tuple[int, list[Result]]] = []
        for number in range(self._process.process_index, len(starts), self._process.num_processes):
            batch = items[starts[number] : starts[number] + batch_size]
            mine.append((number, work(number, batch)))
            # The others are about as far as this one.
            self._reporter.update(
                step=min(self._done + len(mine) * batch_size * self._process.num_processes, self._total)
            )
        gathered: list[tuple[int, list[Result]]] = gather_object(mine)
        self._done += len(items)
        self._reporter.update(step=self._done)
        return [result for _, results in sorted(gathered, key=lambda entry: entry[0]) for result in results]
