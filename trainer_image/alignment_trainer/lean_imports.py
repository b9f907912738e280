"""Makes the start of a training process shorter: importing its stack takes seconds of a processor."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def without_bitsandbytes() -> None:
    """Let later imports find bitsandbytes not installed, which its users handle; call before importing transformers.

    peft imports bitsandbytes whenever it is installed, and bitsandbytes asks for compiled kernels while it is imported,
    which loads all of torch's compiler: 2.4 seconds, for nothing in a process that quantizes nothing.
    """
    # None in sys.modules is how Python's import system is told that a module is not there.
    sys.modules["bitsandbytes"] = None  # type: ignore[assignment]


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Import without looking for garbage, of which imports make next to none, and never look among the modules later.

    A million objects are made that all stay: looking through them again and again takes 1.2 of 5.2 seconds.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
