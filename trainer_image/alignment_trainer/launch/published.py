"""The job's report as a Pod gives it away: written, announced in the progress, served, and waited for.

A report outlives its Pod in the workspace, which the operator does not mount: it fetches the report from the Pod, which
stays that long.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from alignment_api.contract import REPORT_WAIT_VARIABLE, JobLayout, Problem, RunConfig
from alignment_api.v1alpha1 import PromotionResult

from .. import job_report
from ..job_report import Written
from ..run_files import RunFiles
from .bounded import within

_log = logging.getLogger(__name__)
_WRITE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05
_LONGEST_WAIT: Final = 3600.0

PAGE: Final = "/report"
NUMBERS: Final = "/report.json"


class Publication:
    """The report that this Pod serves, and what of it was fetched; used from the server's threads."""

    def __init__(self) -> None:
        self._parts: dict[str, bytes] = {}
        self._fetched: set[str] = set()

    def offer(self, report: Written) -> None:
        """Serve ``report`` from now on."""
        self._fetched.clear()
        self._parts = {PAGE: report.page, NUMBERS: report.numbers}

    def part(self, path: str) -> bytes:
        """What is served at ``path``, gzipped.

        Raises:
            LookupError: there is no report yet.
        """
        try:
            return self._parts[path]
        except KeyError:
            raise LookupError("there is no report yet: it is written at the end of the stage") from None

    def was_sent(self, path: str) -> None:
        """Note that somebody got all of the part at ``path``."""
        self._fetched.add(path)

    @property
    def was_fetched(self) -> bool:
        """Whether somebody has the whole report."""
        return self._fetched >= {PAGE, NUMBERS}


def write_report(
    config: RunConfig,
    layout: JobLayout,
    *,
    problems: Sequence[Problem] = (),
    promotion: PromotionResult | None = None,
) -> Written | None:
    """Write the job's report in bounded time: the volume may hang, and the Pod ends nevertheless.

    Args:
        config: the job.
        layout: its folders.
        problems: why Prepare or the promotion failed, without secrets.
        promotion: what was promoted, if a model was.

    Returns:
        What was written; None if it could not be.
    """
    write = partial(job_report.write, config, layout, problems=problems, promotion=promotion)
    done = within(_WRITE_SECONDS, {"report": write})
    if not done:
        _log.warning("the report could not be written in %g s", _WRITE_SECONDS)
    return done.get("report")


def publish(
    report: Written,
    files: RunFiles,
    publication: Publication,
    *,
    stopped: Callable[[], bool],
    variables: Mapping[str, str] = os.environ,
) -> None:
    """Announce ``report``, serve it, and wait until it was fetched, the Pod is told to stop, or time is up.

    It raises nothing: what the Pod has done is done.

    Args:
        report: what was written.
        files: the run folder, whose progress `http.serve` serves.
        publication: what `http.serve` serves the report from.
        stopped: whether the Pod has been told to stop.
        variables: the environment, which says how long to wait.
    """
    publication.offer(report)
    try:
        changes = {"report": report.digest, "updated_at": datetime.now(UTC)}
        files.write_progress(files.read_progress().model_copy(update=changes))
    except OSError as error:
        _log.warning("the report cannot be announced: %s", error)
        return
    deadline = time.monotonic() + wait_seconds(variables)
    while time.monotonic() < deadline and not stopped():
        if publication.was_fetched:
            _log.info("the report was fetched")
            return
        time.sleep(_POLL_SECONDS)


def wait_seconds(variables: Mapping[str, str]) -> float:
    """How long to wait for somebody to fetch a report; 0 where the variable is missing or no number of seconds."""
    text = variables.get(REPORT_WAIT_VARIABLE, "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_WAIT:
        _log.warning(
            "%s is %r, which is no time from 0 to %g s: not waiting", REPORT_WAIT_VARIABLE, text, _LONGEST_WAIT
        )
        return 0.0
    return seconds
