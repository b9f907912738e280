"""Where a process is, in a line: from a dump of its stacks, or from an exception. Pure."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

_PLUMBING: Final = re.compile(
    r"^<frozen|/(?:site|dist)-packages/(?:torch|accelerate|deepspeed)/|/lib/python3\.\d+/(?!(?:site|dist)-packages/)"
)
"""Files of the standard library and of torch: where every process hangs, whatever it is about."""

_WRAPPERS: Final = frozenset({"wrapper", "inner", "wrapped_func", "wrapped_fn", "decorate_context", "_fn"})
_PACKAGES: Final = re.compile(r"^.*/(?:site|dist)-packages/")
_OWN: Final = re.compile(r"^.*/(?=alignment_trainer/)")
_OUTER_FRAMES: Final = 2
_MAX_PLACE: Final = 300
_MAX_PLACES: Final = 900

_PY_SPY_THREAD: Final = re.compile(r"^Thread \S+ \([^)]*\)(?:: \"(?P<name>[^\"]*)\")?")
_PY_SPY_FRAME: Final = re.compile(r"^ {4}(?P<function>\S.*) \((?P<file>[^()]+):(?P<line>\d+)\)$")
_FAULT_FRAME: Final = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>.+)$')


class Frame(NamedTuple):
    """A call: the function and the line that it has come to."""

    function: str
    file: str
    line: int

    @property
    def name(self) -> str:
        """The function without the class or function that it is defined in."""
        return self.function.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.function} ({_OWN.sub('', _PACKAGES.sub('', self.file))}:{self.line})"


def of_exception(error: BaseException) -> list[Frame]:
    """The calls that ended with ``error``, innermost first."""
    return [
        Frame(frame.name, frame.filename, frame.lineno or 0)
        for frame in reversed(traceback.extract_tb(error.__traceback__))
    ]


def of_dump(text: str) -> list[Frame]:
    """The calls of the main thread, innermost first.

    Args:
        text: what ``py-spy dump --full-filenames`` or `faulthandler` wrote; of several dumps the first counts.
    """
    threads: list[tuple[bool, list[Frame]]] = []
    for line in text.splitlines():
        if thread := _PY_SPY_THREAD.match(line):
            threads.append((thread["name"] == "MainThread", []))
        elif line.startswith(("Thread 0x", "Current thread 0x")):  # faulthandler interrupts the main thread
            threads.append((line.startswith("Current"), []))
        elif threads and (frame := _PY_SPY_FRAME.match(line) or _FAULT_FRAME.match(line)):
            threads[-1][1].append(Frame(frame["function"], frame["file"], int(frame["line"])))
    first = threads[0][1] if threads else []
    return next((frames for is_main, frames in threads if is_main), first)


def place(frames: Sequence[Frame]) -> str:
    """The innermost calls outside of torch, and the call into torch that the innermost of them made.

    Args:
        frames: innermost first.
    """
    outside = [frame for frame in frames if not _PLUMBING.search(frame.file)][:_OUTER_FRAMES]
    if not outside:
        return str(frames[0]) if frames else ""
    inside = frames[: frames.index(outside[0])]
    called = next((frame.function for frame in reversed(inside) if frame.name not in _WRAPPERS), None)
    return " < ".join([*([called] if called else []), *map(str, outside)])[:_MAX_PLACE]


def places(dumps: Mapping[str, str], waiting_in: str) -> str:
    """Where each process is: ``rank 1 in spin (...); ranks 0, 2-7 in all_reduce < ...``; empty if nothing is known.

    Args:
        dumps: by name of the process (its rank, if it has one), the dump of its stacks.
        waiting_in: function in which a process only waits for the dump to be taken; it is left out.
    """
    by_place: dict[str, list[str]] = {}
    for name, text in dumps.items():
        frames = of_dump(text)
        if frames and not any(frame.name == waiting_in for frame in frames):
            by_place.setdefault(place(frames), []).append(name)
    # The odd one out is the one that matters.
    ordered = sorted(by_place.items(), key=lambda entry: (len(entry[1]), entry[1]))
    return "; ".join(f"{_named(names)} in {where}" for where, names in ordered)[:_MAX_PLACES]


def _named(names: Iterable[str]) -> str:
    ranks = sorted(int(name) for name in names if name.isdigit())
    if not ranks:
        return ", ".join(names)
    runs = [[ranks[0], ranks[0]]]
    for before, rank in pairwise(ranks):
        if rank == before + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"rank {text}" if len(ranks) == 1 else f"ranks {text}"
