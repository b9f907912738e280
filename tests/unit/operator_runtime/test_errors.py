"""Errors of requests become the operator's own, and a refusal becomes a status."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from alignment_operator.cluster.errors import error_of_answer, error_of_exchange
from alignment_operator.controller.error_status import status_of_rejection
from alignment_operator.exceptions import ClusterError, ConflictError, NotFoundError, RejectedError, UnavailableError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (401, UnavailableError),
        (403, RejectedError),
        (404, NotFoundError),
        (405, RejectedError),
        (409, ConflictError),
        (410, UnavailableError),
        (413, RejectedError),
        (422, RejectedError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
    ],
)
def test_every_answer_has_its_error(status: int, kind: type[ClusterError]) -> None:
    body = json.dumps({"kind": "Status", "reason": "Because", "message": "of this"}).encode()
    error = error_of_answer("create Job a/b", status, body)
    assert type(error) is kind
    assert error.reason == "Because"
    assert str(error) == f"cannot create Job a/b: of this (HTTP {status})"


@pytest.mark.parametrize("body", [b"", b"<html>proxy</html>", b"[1]", b"null", b'{"message": null}', b"\xff\xfe"])
def test_any_body_makes_a_message(body: bytes) -> None:
    error = error_of_answer("list pods", 502, body)
    assert isinstance(error, UnavailableError)
    assert "cannot list pods" in str(error)
    assert "HTTP 502" in str(error)


def test_no_answer() -> None:
    error = error_of_exchange("list pods", TimeoutError())
    assert str(error) == "cannot list pods: TimeoutError"
    assert error.reason == "TimeoutError"


def test_a_refusal_keeps_what_is_known_and_is_the_same_when_seen_again() -> None:
    job: dict[str, Any] = {"metadata": {"generation": 4}, "status": {"phase": "Running", "restarts": 2}}
    refusal = RejectedError("cannot create Job a/b: exceeded quota")
    first = status_of_rejection(job, refusal, datetime(2026, 1, 1, tzinfo=UTC))
    assert (first.phase, first.restarts, first.observed_generation) == ("Running", 2, 4)
    shown = {condition.type: condition for condition in first.conditions or ()}
    assert (shown["Stalled"].status, shown["Ready"].status) == ("True", "False")
    assert "exceeded quota" in shown["Stalled"].message
    job["status"] = first.to_yaml_dict()
    later = status_of_rejection(job, refusal, datetime(2026, 1, 2, tzinfo=UTC))
    assert later.to_yaml_dict() == job["status"]


def test_a_refusal_of_a_new_job() -> None:
    status = status_of_rejection({"metadata": {"generation": 1}}, RejectedError("x" * 9000), datetime.now(UTC))
    assert status.phase == "Pending"
    assert all(len(condition.message) <= 4096 for condition in status.conditions or ())
