"""Every mistake in the table is refused, by whom the table says and with words that name the field."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.v1alpha1 import AlignmentJob
from alignment_api.v1alpha1.validation import validate_spec

from .client import AlignmentJobs
from .control_plane import ApiError
from .manifests import changed, load

_CASES: list[dict[str, Any]] = load("invalid")


def _cases(refuser: str) -> list[Any]:
    return [pytest.param(case, id=case["case"].replace(" ", "-")) for case in _CASES if case["by"] == refuser]


@pytest.mark.parametrize("case", _cases("server"))
def test_the_api_server_refuses(jobs: AlignmentJobs, case: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refusal:
        jobs.create(changed(load("valid"), case["change"]), dry_run=True)
    assert case["field"] in refusal.value.message
    assert case["message"] in refusal.value.message


@pytest.mark.parametrize("case", _cases("operator"))
def test_the_operator_refuses_what_the_api_server_cannot(jobs: AlignmentJobs, case: dict[str, Any]) -> None:
    stored = jobs.create(changed(load("valid"), case["change"]), dry_run=True)
    problems = {problem.field: problem.message for problem in validate_spec(AlignmentJob.model_validate(stored).spec)}
    assert case["message"] in problems.get(case["field"], ""), problems
