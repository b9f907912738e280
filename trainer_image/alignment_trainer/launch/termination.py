"""The end of a container: its exit code, and the Summary that becomes its termination message."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from alignment_api.contract import Summary

from ..exceptions import TrainerError
from ..failures.classify import of_exception

_log = logging.getLogger(__name__)
MAX_PROBLEMS: Final = 20
MAX_MESSAGE: Final = 2048


def write_summary(termination_log: Path, summary: Summary) -> None:
    """Leave ``summary`` where Kubernetes finds it; without it the exit code still tells the class of the failure."""
    try:
        termination_log.write_text(summary.to_termination_message())
    except OSError as error:
        _log.warning("cannot write the termination message to %s: %s", termination_log, error)


def run_to_summary(action: Callable[[], Summary]) -> Summary:
    """Run ``action``; whatever it raises becomes the summary of a failure."""
    try:
        return action()
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
        return Summary(exit_code=cause.exit_code, message=cause.message[:MAX_MESSAGE])
