"""The end of a container: its exit code, and the Summary that becomes its termination message."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alignment_api.contract import Summary

from ..exceptions import Preempted, TrainerError
from ..failures import frames
from ..failures.classify import of_exception
from .ending import MAX_MESSAGE, MAX_PROBLEMS
from .last_words import last_words
from .masking import Mask, MaskingFilter

_log = logging.getLogger(__name__)


def write_summary(termination_log: Path, summary: Summary) -> None:
    """Leave ``summary`` where Kubernetes finds it; without it the exit code still tells the class of the failure."""
    try:
        termination_log.write_text(summary.to_termination_message())
    except OSError as error:
        _log.warning("cannot write the termination message to %s: %s", termination_log, error)


def run_to_summary(action: Callable[[], Summary]) -> Summary:
    """Run ``action``; whatever it raises becomes the summary of a failure.

    From its end on this process no longer heeds a request to stop: all that is left is to say how it ended.
    """
    mask = Mask.of(os.environ)
    with _masked_log(mask):
        summary = _summary_of(action, mask)
    return mask.summary(summary)


def _summary_of(action: Callable[[], Summary], mask: Mask) -> Summary:
    try:
        try:
            return action()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except TrainerError as error:
        print(mask.text(str(error)), file=sys.stderr)  # noqa: T201 - the container's log is read by people
        # A handler raised it, on top of whatever this process was doing, or hung in.
        place = frames.place(frames.of_exception(error)[1:]) if isinstance(error, Preempted) else ""
        return Summary(
            exit_code=error.exit_code,
            message=(f"{error.message}; in {place}" if place else error.message)[:MAX_MESSAGE],
            problems=list(error.problems[:MAX_PROBLEMS]),
        )
    except Exception as error:
        trace = mask.text(traceback.format_exc())
        print(trace, file=sys.stderr)  # noqa: T201
        cause = of_exception(error)
        return Summary(exit_code=cause.exit_code, message=cause.message[:MAX_MESSAGE], output=last_words(trace))


@contextmanager
def _masked_log(mask: Mask) -> Iterator[None]:
    """Mask what this process logs: Prepare, which uses the secrets itself, has no supervisor to do it."""
    masking, handlers = MaskingFilter(mask), logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(masking)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(masking)
