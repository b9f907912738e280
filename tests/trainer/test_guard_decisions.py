"""What the guard makes of a row of reports."""

from __future__ import annotations

import math
from typing import Any

import pytest

from alignment_api.v1alpha1 import ONLINE_METHODS, TRAINING_METHODS, Guard, Method, Stage
from alignment_trainer.guard.checks import Finding, Verdict, Watch
from alignment_trainer.guard.readings import MEAN_LENGTH, REPETITION_METRIC, Values, repetition
from alignment_trainer.guard.thresholds import LASTING, Quantity, thresholds_of

from .conftest import stage_of

REWARDS = {"rewards": [{"name": "short", "length": {"maxTokens": 8}}]}


def stage_with(method: Method, **guard: Any) -> Stage:
    member = REWARDS if method in ONLINE_METHODS else {}
    return Stage.model_validate(stage_of(method, **{method.value: member}, guard=guard))


def look_at(method: Method, *reports: Values, first_lengths: tuple[float, ...] = (), **guard: Any) -> list[Verdict]:
    """The verdicts on ``reports``, made at steps 10, 20 and so on."""
    watch = Watch(thresholds_of(stage_with(method, **guard)), first_lengths)
    return [watch.look(10 * (index + 1), report)[0] for index, report in enumerate(reports)]


def stopped_by(method: Method, *reports: Values, **guard: Any) -> Finding:
    """The finding on the last of ``reports``."""
    watch = Watch(thresholds_of(stage_with(method, **guard)))
    findings = [watch.look(10 * (index + 1), report)[1] for index, report in enumerate(reports)]
    assert not any(findings[:-1])
    assert findings[-1] is not None
    return findings[-1]


@pytest.mark.parametrize("method", sorted(TRAINING_METHODS))
def test_every_method_has_its_thresholds_and_takes_the_users(method: Method) -> None:
    assert all(threshold.is_default for threshold in thresholds_of(stage_with(method)))
    fields = {quantity.value: 0.5 for quantity in Quantity}
    own = thresholds_of(stage_with(method, **fields, patience=7))
    assert {threshold.quantity.value: threshold.limit for threshold in own} == fields
    assert not any(threshold.is_default for threshold in own)
    expected = {quantity: 7 * LASTING if quantity is Quantity.REWARD_STD else 7 for quantity in Quantity}
    assert {threshold.quantity: threshold.reports for threshold in own} == expected


def test_every_threshold_of_the_api_is_watched() -> None:
    others = {"enabled", "startCheck", "patience"}
    fields = {field.alias or name for name, field in Guard.model_fields.items()}
    assert fields - others == {quantity.value for quantity in Quantity}


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_at_once(loss: float) -> None:
    finding = stopped_by(Method.SFT, {"loss": 1.0}, {"loss": loss}, patience=100)
    assert str(loss) in finding.message
    assert "step 20" in finding.message
    assert "learningRate" in finding.advice


def test_patience_counts_reports_in_a_row() -> None:
    low, high = {"rewards/margins": 1.0}, {"rewards/margins": 31.0}
    assert look_at(Method.DPO, high, high, low, high, high, high) == [1, 1, 0, 1, 1, 2]


def test_a_report_without_the_number_neither_counts_nor_clears() -> None:
    high, none = {"kl": 101.0}, {"loss": 0.5}
    assert look_at(Method.KTO, high, none, high, none, high) == [1, 1, 1, 1, 2]


def test_a_number_that_is_nan_is_beyond_its_threshold() -> None:
    assert look_at(Method.KTO, {"kl": math.nan}, patience=1) == [Verdict.STOP]


def test_the_message_has_values_steps_and_threshold() -> None:
    finding = stopped_by(Method.GRPO, {"kl": 0.1}, {"kl": 12.34567}, {"kl": 20.0}, patience=2, maxKl=10)
    assert finding.message == "the KL to the reference was 12.35, 20 at steps 20, 30, above 10 (as set)"
    assert finding.field == "maxKl"
    assert "raise this threshold" in finding.advice


@pytest.mark.parametrize(
    ("method", "report", "field"),
    [
        (Method.DPO, {"rewards/margins": -31.0}, "maxRewardMargin"),
        (Method.REWARD, {"margin": 51.0}, "maxRewardMargin"),
        (Method.KTO, {"kl": 101.0}, "maxKl"),
        (Method.RLOO, {"kl": 5.1}, "maxKl"),
        (Method.PPO, {"objective/kl": 101.0}, "maxKl"),
        (Method.GRPO, {REPETITION_METRIC: 0.8}, "maxRepetition"),
    ],
)
def test_defaults_stop_an_explosion(method: Method, report: Values, field: str) -> None:
    assert stopped_by(method, report, report, report).field == field


def test_length_is_compared_with_the_first_reports() -> None:
    lengths = [{MEAN_LENGTH: length} for length in (20.0, 20.0, 80.0, 399.0, 401.0)]
    assert look_at(Method.GRPO, *lengths, patience=1) == [0, 0, 0, 0, 2], "10 times the mean of 20, 20 and 80"


def test_length_is_compared_with_the_first_reports_of_earlier_attempts() -> None:
    assert look_at(Method.RLOO, {MEAN_LENGTH: 201.0}, first_lengths=(40.0, 40.0, 40.0), patience=1) == [Verdict.STOP]


def test_growth_from_a_few_tokens_to_a_few_more_is_no_explosion() -> None:
    lengths = [{MEAN_LENGTH: length} for length in (1.0, 1.0, 1.0, 79.0, 81.0)]
    assert look_at(Method.RLOO, *lengths, patience=1) == [0, 0, 0, 0, 2], "5 times 16"


def test_rewards_without_variance_must_last_and_spoil_no_checkpoint() -> None:
    flat: Values = {"reward_std": 0.4, "frac_reward_zero_std": 1.0}
    some: Values = {"reward_std": 0.4, "frac_reward_zero_std": 0.9}
    assert set(look_at(Method.GRPO, *[flat] * 29, some, *[flat] * 29)) == {Verdict.GOOD}
    assert look_at(Method.GRPO, *[flat] * 30)[-1] is Verdict.STOP
    assert "30 reports in a row" in stopped_by(Method.GRPO, *[flat] * 30).message


@pytest.mark.parametrize(
    ("responses", "share"),
    [
        ([[1, 2, 3, 4, 5, 6]], 0.0),
        ([[7] * 104], 1 - 1 / 101),
        ([[1, 2, 3, 4, 1, 2, 3, 4]], 1 / 5),
        ([[1, 2, 3, 4, 5], [9] * 5], (0 + 1 / 2) / 2),
        ([[1, 2, 3, 4], [1, 2, 3, 4]], 0.0),
    ],
)
def test_repetition(responses: list[list[int]], share: float) -> None:
    assert repetition(responses) == pytest.approx(share)


def test_repetition_of_responses_too_short_to_repeat() -> None:
    assert repetition([[1, 1, 1], []]) is None
