"""The ConfigMap that keeps the report of a job, so that it can be read when its Pods are gone."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Final

from alignment_api.contract import JobReference

from ..planning.observed import Manifest
from .metadata import job_labels, object_metadata, report_name

MAX_REPORT_BYTES: Final = 900 * 1024
"""Of page and numbers together, compressed: an object of the API server has at most 1 MiB."""

_PAGE: Final = "report.html.gz"
_NUMBERS: Final = "report.json.gz"


@dataclass(frozen=True)
class Report:
    """A job's report; both parts are gzipped.

    Attributes:
        page: HTML, for people.
        numbers: JSON, for programs.
    """

    page: bytes
    numbers: bytes


def build_report(job: JobReference, report: Report) -> dict[str, Any]:
    """The ConfigMap; it goes when the job goes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object_metadata(job, report_name(job), job_labels(job)),
        "binaryData": {
            _PAGE: b64encode(report.page).decode(),
            _NUMBERS: b64encode(report.numbers).decode(),
        },
    }


def report_in(config_map: Manifest) -> Report | None:
    """The report in a ConfigMap; None when somebody else wrote something else there."""
    content = config_map.get("binaryData") or {}
    try:
        return Report(b64decode(content[_PAGE], validate=True), b64decode(content[_NUMBERS], validate=True))
    except (KeyError, binascii.Error):
        return None
