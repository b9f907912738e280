"""Shares work on a list over the processes of the gang, and keeps what is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from accelerate import PartialState
from accelerate.utils import gather_object

from alignment_api.contract import TrainerPhase

from ..distributed import agree
from ..exceptions import CommunicationError
from ..reporter import Reporter
from .store import Batch, Part

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE: Final = 5.0
"""Seconds between two meetings of a gang that waits for rank 0."""


@dataclass(frozen=True)
class Kept:
    """Under which name the results of a part are kept for later attempts.

    Items and results must then be JSON values.

    Attributes:
        name: what the part is called, such as ``responses-baseline``; part of a file's name.
        settings: JSON values that decide the results, beside the items and the size of batches: the model above all.
    """

    name: str
    settings: Mapping[str, object]


@dataclass
class Spent:
    """What a part took.

    Attributes:
        items: how many.
        seconds: summed over processes and, of what is kept, over attempts.
    """

    items: int = 0
    seconds: float = 0.0


@dataclass
class Gang:
    """The processes that evaluate together.

    Attributes:
        process: this process among them.
        reporter: where progress goes.
        total: items that all calls of ``share`` together are expected to have.
        folder: where results are kept; None keeps none.
        attempt: number of the attempt.
        spent: what each part took so far, the same on every process.
    """

    process: PartialState
    reporter: Reporter
    total: int = 0
    folder: Path | None = None
    attempt: int = 1
    spent: dict[str, Spent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._done = 0
        self._computed = 0
        self._begun = time.monotonic()
        self.reporter.update(important=True, phase=TrainerPhase.EVALUATING, total_steps=self.total)

    @property
    def device(self) -> Any:
        """The torch device of this process."""
        return self.process.device

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return bool(self.process.is_main_process)

    def share(
        self,
        items: Sequence[Item],
        batch_size: int,
        work: Callable[[int, Sequence[Item]], list[Result]],
        *,
        kept: Kept | None = None,
        size: Callable[[Item], int] | None = None,
    ) -> list[Result]:
        """Apply ``work`` to batches of ``items``, dealt to the processes in turn; every process must call this.

        The batches do not depend on the number of processes, nor on what was done before, so neither do the results.

        Args:
            items: the same on every process.
            batch_size: items of a batch.
            work: takes the number of the batch and its items; returns one result for each.
            kept: keep the results, and take those that are there.
            size: how long an item is. Batches are then made of items of like size, the longest ones first: they show
                at once whether memory suffices.

        Returns:
            The results in the order of ``items``, on every process.
        """
        order = list(range(len(items)))
        if size is not None:
            order.sort(key=lambda index: -size(items[index]))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        part = None
        done: dict[int, Batch] = {}
        if kept is not None and self.folder is not None:
            part = Part(self.folder, kept.name, {**kept.settings, "batchSize": batch_size}, items)
            # Rank 0 says what is there: on a network volume others may see less.
            done = agree(part.read() if self.is_main else {})
            done = {n: batch for n, batch in done.items() if n < len(batches) and len(batch.results) == len(batches[n])}
        end = self._done + len(items)
        self._done += sum(len(batches[number]) for number in done)
        mine = self._compute([n for n in range(len(batches)) if n not in done], batches, items, work, part, end)
        done |= dict(gather_object(mine))
        self._show(end)
        self._done = end
        results: list[Any] = [None] * len(items)
        for number, indices in enumerate(batches):
            for index, result in zip(indices, done[number].results, strict=True):
                results[index] = result
        spent = self.spent.setdefault(kept.name if kept is not None else "other", Spent())
        spent.items += len(items)
        spent.seconds += sum(batch.seconds for batch in done.values())
        return results

    def alone(self, work: Callable[[Callable[[int], None]], Result], items: int = 0) -> Result:
        """What ``work`` returns on rank 0, on every process; every process must call this.

        The others wait however long it takes: they meet every few seconds, so that no collective times out.

        Args:
            work: runs in a thread of its own; it is given a function to tell how many more items it has done.
            items: how many it goes over.

        Raises:
            CommunicationError: on the other processes, if ``work`` failed; rank 0 raises its error.
        """
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more

        pool = ThreadPoolExecutor(max_workers=1)
        future = pool.submit(work, advance) if self.is_main else None
        pool.shutdown(wait=False)
        over, error, failure = False, None, None
        while not over:
            if future is not None:
                over = bool(wait([future], _PATIENCE).done)
                error = future.exception() if over else None
            over, failure, done_there = agree((over, None if error is None else str(error), done))
            self._show(self._done + min(done_there, items))
        if error is not None:
            raise error
        if failure is not None:
            raise CommunicationError(f"rank 0 failed: {failure}")
        self._done += items
        self._show(self._done)
        result: Any = agree(future.result() if future is not None else None)
        found: Result = result
        return found

    def expect(self, items: int) -> None:
        """Say that ``items`` more will come than was expected."""
        self.total += items
        self._show(self._done)

    def _compute(
        self,
        numbers: Sequence[int],
        batches: Sequence[Sequence[int]],
        items: Sequence[Item],
        work: Callable[[int, Sequence[Item]], list[Result]],
        part: Part | None,
        end: int,
    ) -> list[tuple[int, Batch]]:
        """This process's share of the batches called ``numbers``; ``end`` is the step once all are done."""
        mine: list[tuple[int, Batch]] = []
        done = 0
        for number in numbers[self.process.process_index :: self.process.num_processes]:
            begun = time.monotonic()
            results = work(number, [items[index] for index in batches[number]])
            batch = Batch(results, time.monotonic() - begun)
            if part is not None:
                part.append(f"{self.attempt}-{self.process.process_index}", number, batch)
            mine.append((number, batch))
            # The others are about as far as this one.
            done += len(results) * self.process.num_processes
            self._computed += len(results) * self.process.num_processes
            self._show(min(self._done + done, end))
        if part is not None:
            part.close()
        return mine

    def _show(self, step: int) -> None:
        self.total = max(self.total, step)
        changes: dict[str, Any] = {"step": step, "total_steps": self.total}
        if self._computed:  # what was found done took no time
            seconds = time.monotonic() - self._begun
            changes["eta_seconds"] = int((self.total - step) * seconds / self._computed)
        self.reporter.update(**changes)
