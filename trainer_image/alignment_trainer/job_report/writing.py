"""Writes a job's report into the workspace."""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from alignment_api.contract import JobLayout, Problem, RunConfig

from ..files import write_atomically
from .collect import Bounds, collect
from .page import page

_log = logging.getLogger(__name__)

MAX_COMPRESSED: Final = 700_000
"""Bytes of the page, gzipped: one that is served, kept and mailed without a thought."""

_LEVEL: Final = 6
_MOST_HALVINGS: Final = 6
_DIGEST_LENGTH: Final = 16


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        path: the page, relative to the workspace.
        digest: of the page.
        page: the page, gzipped.
        numbers: ``report.json``, gzipped.
    """

    path: str
    digest: str
    page: bytes
    numbers: bytes


def write(config: RunConfig, layout: JobLayout, problems: Sequence[Problem] = ()) -> Written | None:
    """Write ``report.html`` and ``report.json`` anew, each in one step.

    A job does not fail for its report: whatever goes wrong is logged.

    Args:
        config: the job.
        layout: its folders.
        problems: why Prepare refused the job, without secrets.

    Returns:
        What was written; None if it could not be.
    """
    try:
        return _write(config, layout, problems)
    except Exception:
        _log.warning("the report could not be written", exc_info=True)
        return None


def _write(config: RunConfig, layout: JobLayout, problems: Sequence[Problem]) -> Written:
    bounds, now = Bounds(), datetime.now(UTC)
    for _ in range(_MOST_HALVINGS):
        report = collect(config, layout, bounds, now, problems)
        html = page(report)
        compressed = gzip.compress(html.encode(), _LEVEL, mtime=0)
        if len(compressed) <= MAX_COMPRESSED:
            break
        bounds = bounds.halved()
    numbers = report.model_dump_json(by_alias=True, exclude_none=True)
    layout.root.mkdir(parents=True, exist_ok=True)
    write_atomically(layout.report_numbers, numbers)
    write_atomically(layout.report, html)
    return Written(
        path=layout.relative(layout.report),
        digest=hashlib.sha256(html.encode()).hexdigest()[:_DIGEST_LENGTH],
        page=compressed,
        numbers=gzip.compress(numbers.encode(), _LEVEL, mtime=0),
    )
