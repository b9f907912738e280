"""The end of a container: its exit code, and the Summary that becomes its termination message."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO, cast

from alignment_api.contract import Summary
from alignment_api.exit_codes import ExitCode

from ..exceptions import Preempted, TrainerError
from ..failures import frames
from ..failures.classify import of_exception
from .ending import MAX_MESSAGE, MAX_PROBLEMS
from .last_words import last_words
from .masking import Mask, MaskedStream, MaskingFilter

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
    with _masked_output(mask):
        return mask.summary(_summary_of(action))


def _summary_of(action: Callable[[], Summary]) -> Summary:
    try:
        try:
            return action()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except Preempted as stop:
        # A handler raised it, on top of whatever this process was doing, or hung in.
        place = frames.place(frames.of_exception(stop)[1:])
        return Summary(
            exit_code=ExitCode.PREEMPTED, message=(f"{stop}; in {place}" if place else str(stop))[:MAX_MESSAGE]
        )
    except TrainerError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the container's log is read by people
        return Summary(
            exit_code=error.exit_code,
            message=error.message[:MAX_MESSAGE],
            problems=list(error.problems[:MAX_PROBLEMS]),
        )
    except Exception as error:
        traceback.print_exc()
        cause = of_exception(error)
        output = last_words(traceback.format_exc())
        return Summary(exit_code=cause.exit_code, message=cause.message[:MAX_MESSAGE], output=output)


@contextmanager
def _masked_output(mask: Mask) -> Iterator[None]:
    """Mask what this process prints and logs: Prepare, which uses the secrets itself, has no supervisor to do it."""
    # Handlers that exist hold the streams themselves; those of libraries imported later will hold the masked ones.
    masking, handlers = MaskingFilter(mask), logging.getLogger().handlers
    streams = MaskedStream(sys.stdout, mask), MaskedStream(sys.stderr, mask)
    for handler in handlers:
        handler.addFilter(masking)
    try:
        with redirect_stdout(cast(TextIO, streams[0])), redirect_stderr(cast(TextIO, streams[1])):
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(masking)
