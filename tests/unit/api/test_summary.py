"""Termination messages: what is left of a summary that is too long for one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from alignment_api.contract import MAX_SUMMARY_BYTES, Progress, StageData, Summary, TrainerPhase
from alignment_api.v1alpha1 import CandidateStatus, DataStatus, GateStatus

LARGE = 2_000_000_000


def data(stages: int, name: int) -> list[StageData]:
    """Numbers of so many stages with names, namespace and job name of ``name`` letters."""
    found = []
    for number in range(stages):
        stage = f"s{number}".ljust(min(name, 32), "x")
        status = DataStatus(
            rows=LARGE,
            train_rows=LARGE,
            eval_rows=LARGE,
            invalid_rows=LARGE,
            truncated_rows=LARGE,
            tokens=1000 * LARGE,
            dropped_rows=LARGE,
            duplicate_rows=LARGE,
            near_identical_rows=LARGE,
            leaked_rows=LARGE,
            truncated_tokens=1000 * LARGE,
            chosen_longer_fraction=0.5123,
            desirable_fraction=0.4987,
            cached=True,
            report=f"jobs/{'n' * name}/{'j' * name}-01234567/{stage}/report/data.json",
        )
        found.append(StageData(stage=stage, data=status))
    return found


@pytest.mark.parametrize(("stages", "name"), [(1, 63), (4, 12), (8, 20), (16, 12), (16, 63)])
def test_the_main_numbers_of_every_stage_always_fit(stages: int, name: int) -> None:
    summary = Summary(exit_code=0, message=f"{stages} stages are prepared", data=data(stages, name))
    text = summary.to_termination_message()
    assert len(text.encode()) <= MAX_SUMMARY_BYTES
    read = Summary.model_validate_json(text)
    assert read.data is not None
    assert [entry.stage for entry in read.data] == [entry.stage for entry in data(stages, name)]
    assert all(entry.data.train_rows == LARGE and entry.data.tokens == 1000 * LARGE for entry in read.data)


def test_nothing_is_cut_that_fits() -> None:
    entries = data(8, 5)
    kept = Summary.model_validate_json(Summary(exit_code=0, data=entries).to_termination_message())
    assert kept.data == entries


def test_details_go_before_the_place_of_the_report() -> None:
    kept = Summary.model_validate_json(Summary(exit_code=0, data=data(14, 20)).to_termination_message())
    assert kept.data is not None
    assert all(entry.data.report and entry.data.near_identical_rows is None for entry in kept.data)


def test_what_does_not_apply_takes_no_space() -> None:
    status = DataStatus(rows=1, train_rows=1, eval_rows=0, invalid_rows=0, truncated_rows=0, tokens=5)
    text = Summary(exit_code=0, data=[StageData(stage="sft", data=status)]).to_termination_message()
    assert json.loads(text)["data"][0]["data"].keys() == {
        "rows", "trainRows", "evalRows", "invalidRows", "truncatedRows", "tokens",
    }  # fmt: skip


def test_verdicts_of_gates_outlive_all_else() -> None:
    """The most gates and candidates there can be, with names of the usual length, and reasons for each."""
    gate = GateStatus(
        metric="lengthControlledWinRate", judge="judge-of-helpfulness", passed=False, value=1 / 3, lower=1 / 7,
        upper=5 / 7, confidence=0.95, at_least=0.55, samples=10_000, message="x" * 256,
    )  # fmt: skip
    candidates = [CandidateStatus(name=f"candidate-{number}", passed_gates=3, value=1 / 3) for number in range(8)]
    progress = Progress(
        stage="check",
        attempt=1,
        phase=TrainerPhase.FINISHED,
        metrics={f"name/of/a/metric/{number}": 1 / 3 for number in range(64)},
        updated_at=datetime.now(UTC),
    )
    summary = Summary(exit_code=0, gates=[gate] * 16, candidates=candidates, progress=progress)
    text = summary.to_termination_message()
    assert len(text.encode()) <= MAX_SUMMARY_BYTES
    gates = Summary.model_validate_json(text).gates
    assert gates is not None
    assert [(found.passed, found.value) for found in gates] == [(False, 0.333333)] * 16
