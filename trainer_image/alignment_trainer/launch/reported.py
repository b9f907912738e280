"""Commands of one Pod, Prepare and the promotion: the job's report is written after them, also where they fail."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alignment_api.contract import JobLayout, Problem, Progress, RunConfig, Summary, TrainerPhase
from alignment_api.v1alpha1 import PromotionResult

from ..exceptions import Preempted, TrainerError
from ..job_report import Written
from ..run_files import RunFiles
from . import http
from .masking import Mask
from .published import Publication, publish, write_report

_log = logging.getLogger(__name__)
_LONGEST: Final = 2048


def reported(
    action: Callable[[], Summary], config: RunConfig, layout: JobLayout, serve: Callable[[Written], None] | None = None
) -> Summary:
    """Run ``action`` and write the job's report.

    Args:
        action: the command.
        config: the job.
        layout: its folders.
        serve: gives the report away, see `serving`; None where nobody fetches it.

    Returns:
        The command's summary, which names the report.

    Raises:
        TrainerError: the command failed.
    """

    def report(problems: Sequence[Problem] = (), promotion: PromotionResult | None = None) -> str | None:
        written = None
        with suppress(Preempted):  # what the command has done is done: only the report ends here
            written = write_report(config, layout, problems=problems, promotion=promotion)
            if written is not None and serve is not None:
                serve(written)
        return written.path if written is not None else None

    try:
        summary = action()
    except TrainerError as error:
        report(problems=_problems_of(error))
        raise
    return summary.model_copy(update={"report": report(promotion=summary.promotion)})


def serving(port: int, stage: str, attempt: int) -> Callable[[Written], None]:
    """Serves a report as the supervisor of a gang does, until it was fetched or time is up.

    Args:
        port: where `/progress` and `/report` are.
        stage: what the progress calls the command.
        attempt: number of the attempt at it.
    """

    def serve(written: Written) -> None:
        with tempfile.TemporaryDirectory(prefix="alignment-", ignore_cleanup_errors=True) as folder:
            files, publication = RunFiles(Path(folder)), Publication()
            now = datetime.now(UTC)
            files.write_progress(Progress(stage=stage, attempt=attempt, phase=TrainerPhase.FINISHED, updated_at=now))
            try:
                server = http.serve(port, files, files.root / "no-history", publication)
            except OSError as error:
                _log.warning("the report cannot be served at port %d: %s", port, error)
                return
            try:
                publish(written, files, publication, stopped=lambda: False)
            finally:
                server.shutdown()
                server.server_close()

    return serve


def _problems_of(error: TrainerError) -> list[Problem]:
    """Why a command failed, without the secrets that it was given."""
    mask = Mask.of(os.environ)
    problems = error.problems or [Problem(field="", message=error.message[:_LONGEST])]
    return [
        Problem(field=mask.text(problem.field), message=mask.text(problem.message)[:_LONGEST]) for problem in problems
    ]
