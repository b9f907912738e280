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
from alignment_api.v1alpha1 import PromotionResult

from ..files import write_atomically
from .collect import collect
from .page import page
from .stages import Bounds

_log = logging.getLogger(__name__)

MAX_PAGE: Final = 700_000
"""Bytes of the page, gzipped."""

MAX_BOTH: Final = 900_000
"""Bytes of the page and ``report.json``, gzipped: the operator keeps them in one object of at most 1 MiB."""

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


def write(
    config: RunConfig,
    layout: JobLayout,
    *,
    problems: Sequence[Problem] = (),
    promotion: PromotionResult | None = None,
) -> Written | None:
    """Write ``report.html`` and ``report.json`` anew, each in one step.

    A job does not fail for its report: whatever goes wrong is logged.

    Args:
        config: the job.
        layout: its folders.
        problems: why Prepare or the promotion failed, without secrets.
        promotion: what was promoted, if a model was.

    Returns:
        What was written; None if it could not be.
    """
    try:
        return _write(config, layout, problems, promotion)
    except OSError as error:
        _log.warning("the report could not be written: %s", error)
        return None
    except Exception:
        _log.warning("the report could not be written", exc_info=True)
        return None


def _write(
    config: RunConfig, layout: JobLayout, problems: Sequence[Problem], promotion: PromotionResult | None
) -> Written:
    bounds, now = Bounds(), datetime.now(UTC)
    for _ in range(_MOST_HALVINGS):
        report = collect(config, layout, bounds, now, problems, promotion)
        html, numbers = page(report), report.model_dump_json(by_alias=True, exclude_none=True)
        parts = [gzip.compress(text.encode(), _LEVEL, mtime=0) for text in (html, numbers)]
        if len(parts[0]) <= MAX_PAGE and sum(map(len, parts)) <= MAX_BOTH:
            break
        bounds = bounds.halved()
    layout.root.mkdir(parents=True, exist_ok=True)
    write_atomically(layout.report_numbers, numbers)
    write_atomically(layout.report, html)
    return Written(
        path=layout.relative(layout.report),
        digest=hashlib.sha256(html.encode()).hexdigest()[:_DIGEST_LENGTH],
        page=parts[0],
        numbers=parts[1],
    )
