"""Answers of rank 0: whatever a Pod says, the operator gets a valid progress or a ProgressError."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignment_api.contract import Progress
from alignment_operator.exceptions import ProgressError
from alignment_operator.progress.parse import MAX_BYTES, by_our_clock, parse_progress
from alignment_operator.progress.table import GangKey

GANG = GangKey("uid", "dpo", 2)
GOOD: dict[str, Any] = {
    "stage": "dpo",
    "attempt": 2,
    "phase": "Training",
    "step": 7,
    "totalSteps": 100,
    "tokensPerSecond": 12.5,
    "metrics": {"loss": 0.7},
    "checkpoint": {"step": 5, "path": "jobs/x", "time": "2026-01-01T00:00:00Z"},
    "updatedAt": "2026-01-01T00:00:00Z",
}


def parse(change: dict[str, Any], before: Progress | None = None) -> Progress:
    return parse_progress(json.dumps({**GOOD, **change}).encode(), GANG, before)


def test_a_good_answer() -> None:
    assert parse({}).step == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "sft"}, "about stage 'sft'"),
        ({"attempt": 1}, "attempt 1"),
        ({"step": -1}, "step"),
        ({"step": 2**63}, "step is larger"),
        ({"tokens": 10**30}, "tokens is larger"),
        ({"tokensPerSecond": float("inf")}, "finite"),
        ({"tokensPerSecond": float("nan")}, "tokensPerSecond"),
        ({"epoch": float("inf")}, "finite"),
        ({"metrics": {"loss": float("nan")}}, "metrics"),
        ({"metrics": {f"m{i}": 0.0 for i in range(65)}}, "metrics"),
        ({"metrics": {"x" * 161: 0.0}}, "metrics"),
        ({"metrics": {"Verlust\u00fc": 0.0}}, "metrics"),
        ({"phase": "Dancing"}, "phase"),
        ({"unknown": 1}, "unknown"),
        ({"updatedAt": "yesterday"}, "updatedAt"),
        ({"checkpoint": {**GOOD["checkpoint"], "step": 8}}, "checkpoint"),
    ],
)
def test_wrong_answers_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProgressError, match=message):
        parse(change)


def test_a_step_may_not_go_back_within_an_attempt() -> None:
    before = parse({"step": 9})
    with pytest.raises(ProgressError, match="from 9 to 8"):
        parse({"step": 8}, before)
    assert parse({"step": 9}, before).step == 9


def test_an_answer_may_not_be_too_long() -> None:
    with pytest.raises(ProgressError, match="longer"):
        parse_progress(b" " * (MAX_BYTES + 1), GANG, None)


def test_a_gang_that_resumes_knows_its_checkpoint_before_its_steps() -> None:
    loading = {"phase": "Loading", "step": 0, "totalSteps": 0, "checkpoint": {**GOOD["checkpoint"], "step": 8}}
    assert parse(loading).phase == "Loading"


def test_times_without_a_zone_are_utc() -> None:
    naive = {**GOOD["checkpoint"], "time": "2026-01-01T00:00:00"}
    progress = parse({"updatedAt": "2026-01-01T00:00:00", "checkpoint": naive})
    assert progress.updated_at.utcoffset() is not None
    assert progress.checkpoint is not None
    assert progress.checkpoint.time.utcoffset() is not None


TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))]))


@given(written=TIMES, marked=TIMES, sent=st.none() | TIMES)
def test_any_times_become_ours(written: datetime, marked: datetime, sent: datetime | None) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    mark = {**GOOD["checkpoint"], "time": marked.isoformat()}
    progress = by_our_clock(parse({"updatedAt": written.isoformat(), "checkpoint": mark}), sent, now)
    assert progress.checkpoint is not None
    for time in (progress.updated_at, progress.checkpoint.time):
        assert now - timedelta(days=366) < time <= now
    json.dumps(progress.model_dump(mode="json"))


@given(body=st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    with pytest.raises(ProgressError):
        parse_progress(body, GANG, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.dictionaries(st.sampled_from(sorted(GOOD)), JSON, max_size=3))
def test_any_values(changes: dict[str, Any]) -> None:
    """What passes can be put into a status: strict JSON with numbers that the API server takes."""
    try:
        progress = parse(changes)
    except ProgressError:
        return
    text = json.dumps(progress.model_dump(mode="json"), allow_nan=False)
    assert Progress.model_validate_json(text) == progress
    assert progress.step < 2**63
