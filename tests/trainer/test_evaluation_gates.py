"""Gates and the choice among candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_api.v1alpha1 import Gate, GateMetric, GateStatus
from alignment_trainer.evaluation.candidates import choose
from alignment_trainer.evaluation.gates import decide
from alignment_trainer.evaluation.measurement import Measurement, Series, Transform

JUDGES = ["reward", "form"]


def mean(*values: float) -> Series:
    return Series.mean_of(values)


def outcomes(wins: int, ties: int, losses: int) -> Series:
    return mean(*[1.0] * wins, *[0.5] * ties, *[0.0] * losses)


def verdict(gate: dict[str, Any], *measurements: Measurement) -> GateStatus:
    (status,) = decide([Gate.model_validate(gate)], measurements, JUDGES)
    assert GateStatus.model_validate_json(status.model_dump_json()) == status
    return status


MEASURED = (
    Measurement(GateMetric.WIN_RATE, "c", outcomes(10, 80, 10), of="form"),
    Measurement(GateMetric.WIN_RATE, "c", outcomes(60, 20, 20), of="reward"),
    Measurement(GateMetric.PREFERENCE_ACCURACY, "c", outcomes(9, 0, 1)),
    Measurement(GateMetric.SCORE, "c", mean(1, 2, 3, 4), mean(0.5, 2, 2, 3.5), of="reward"),
    Measurement(GateMetric.PERPLEXITY, "c", Series([20, 44], [10, 20]), Series([20, 42], [10, 20]), of="wiki",
                transform=Transform.EXP),
    Measurement(GateMetric.KL, "c", Series([1.0, 2.0, 3.5], [10.0, 20.0, 30.0])),
    Measurement(GateMetric.TASK, "c", None, of="arc", problem="arc: no question has an answer"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "value", "passed"),
    [
        ({"metric": "winRate", "atLeast": 0.7}, 0.7, True),
        ({"metric": "winRate", "atLeast": 0.71}, 0.7, False),
        ({"metric": "winRate", "atLeast": 0.6, "confidence": 0.95}, 0.7, True),
        ({"metric": "winRate", "atLeast": 0.65, "confidence": 0.95}, 0.7, False),
        ({"metric": "winRate", "atLeast": 0.65, "confidence": 0.5}, 0.7, True),
        ({"metric": "winRate", "atMost": 0.75}, 0.7, True),
        ({"metric": "winRate", "atMost": 0.75, "confidence": 0.95}, 0.7, False),
        ({"metric": "winRate", "judge": "form", "atLeast": 0.51}, 0.5, False),
        ({"metric": "winRate", "judge": "form", "atLeast": 0.5}, 0.5, True),
        ({"metric": "preferenceAccuracy", "atLeast": 0.9}, 0.9, True),
        ({"metric": "score", "atLeast": 2.5}, 2.5, True),
        ({"metric": "score", "relativeToBaseline": "difference", "atLeast": 0.5}, 0.5, True),
        ({"metric": "score", "relativeToBaseline": "ratio", "atLeast": 1.26}, 1.25, False),
        ({"metric": "perplexity", "measure": "wiki", "atMost": 8.5}, math.exp(64 / 30), True),
        ({"metric": "perplexity", "measure": "wiki", "relativeToBaseline": "ratio", "atMost": 1.05},
         math.exp(2 / 30), False),
        ({"metric": "kl", "atMost": 0.11}, 6.5 / 60, True),
        ({"metric": "kl", "atMost": 0.108}, 6.5 / 60, False),
    ],
)  # fmt: skip
def test_gates(gate: dict[str, Any], value: float, passed: bool) -> None:
    status = verdict(gate, *MEASURED)
    assert status.value == pytest.approx(value)
    assert status.passed is passed
    assert status.message is None
    assert status.confidence == gate.get("confidence")
    assert (status.at_least, status.at_most) == (gate.get("atLeast"), gate.get("atMost"))
    assert status.relative_to_baseline == gate.get("relativeToBaseline")
    assert status.judge == (gate.get("judge", "reward") if gate["metric"] in ("winRate", "score") else None)
    assert status.samples > 0


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"metric": "refusals", "atMost": 1}, "refusals was not measured"),
        ({"metric": "score", "judge": "form", "atLeast": -1e12}, "score of form was not measured"),
        ({"metric": "task", "measure": "arc", "atLeast": 0}, "arc: no question has an answer"),
        ({"metric": "classifier", "measure": "toxic", "atMost": 1}, "classifier of toxic was not measured"),
        ({"metric": "kl", "atMost": 1, "confidence": 0.9999}, "3 samples with these numbers are too few"),
    ],
)
def test_what_cannot_be_computed_does_not_pass_and_says_why(gate: dict[str, Any], message: str) -> None:
    status = verdict(gate, *MEASURED)
    assert not status.passed
    assert status.message is not None
    assert status.message.startswith(message)


def test_long_reasons_are_cut_to_what_status_takes() -> None:
    problem = "the tokenizers differ: " + "x" * 500
    status = verdict({"metric": "kl", "atMost": 1}, Measurement(GateMetric.KL, "c", None, problem=problem))
    assert status.message is not None
    assert len(status.message) == 256
    assert status.message.endswith("xx...")


def test_without_judges_there_is_no_win_rate() -> None:
    (status,) = decide([Gate.model_validate({"metric": "winRate", "atLeast": 0})], MEASURED, [])
    assert not status.passed


@pytest.mark.parametrize("n", [1, 2, 10, 100, 10_000])
@pytest.mark.parametrize(
    "gate",
    [
        {"metric": "winRate", "atLeast": 0.5},
        {"metric": "lengthControlledWinRate", "atLeast": 0.5},
        {"metric": "preferenceMargin", "atLeast": 0},
        {"metric": "refusals", "relativeToBaseline": "difference", "atMost": 0},
        {"metric": "perplexity", "measure": "wiki", "relativeToBaseline": "ratio", "atMost": 1},
    ],
)
def test_a_model_is_surely_better_than_itself_by_no_metric(gate: dict[str, Any], n: int) -> None:
    same = Series([1.0 + (unit % 3) for unit in range(n)], [2.0] * n)
    none = Series([0.0] * n, [1.0] * n)
    measured = [
        Measurement(GateMetric.WIN_RATE, "c", outcomes(0, n, 0), of="reward"),
        Measurement(
            GateMetric.LENGTH_CONTROLLED_WIN_RATE, "c", outcomes(0, n, 0), of="reward", length_differences=[0] * n
        ),
        Measurement(GateMetric.PREFERENCE_MARGIN, "c", none),
        Measurement(GateMetric.REFUSALS, "c", none, none),
        Measurement(GateMetric.PERPLEXITY, "c", same, same, of="wiki", transform=Transform.EXP),
    ]
    for confidence in (0.5, 0.95, 0.9999):
        status = verdict(gate | {"confidence": confidence}, *measured)
        assert not status.passed
    assert verdict(gate, *measured).passed, "the point is exactly the bound"


def test_equal_outcomes_leave_doubt() -> None:
    for wins, ties, losses in ((30, 0, 0), (0, 30, 0), (0, 0, 30)):
        status = verdict(
            {"metric": "winRate", "atLeast": 0}, Measurement(GateMetric.WIN_RATE, "c", outcomes(wins, ties, losses),
                                                             of="reward")
        )  # fmt: skip
        assert status.lower is not None
        assert status.upper is not None
        assert status.upper - status.lower > 0.02


FINITE = st.floats(-1e3, 1e3)
VALUES = st.lists(FINITE, min_size=1, max_size=12)
ANY = st.lists(st.one_of(FINITE, st.sampled_from([math.nan, math.inf, -math.inf])), min_size=1, max_size=6)
CONFIDENCES = st.one_of(st.none(), st.floats(0.5, 0.99))


def score(own: Sequence[float], baseline: Sequence[float] | None = None) -> Measurement:
    return Measurement(
        GateMetric.SCORE, "c", mean(*own), None if baseline is None else mean(*baseline), of="reward"
    )  # fmt: skip


@settings(max_examples=60)
@given(values=ANY, sizes=st.sampled_from([0.0, 1.0]), bound=FINITE, confidence=CONFIDENCES, upwards=st.booleans())
def test_nothing_passes_that_is_not_a_number(
    values: list[float], sizes: float, bound: float, confidence: float | None, upwards: bool
) -> None:
    gate = {"metric": "score", "atLeast" if upwards else "atMost": bound, "confidence": confidence}
    own = Series(values, [sizes] * len(values))
    status = verdict(gate, Measurement(GateMetric.SCORE, "c", own, of="reward"))
    if status.passed:
        assert status.value is not None
        assert math.isfinite(status.value)
    if sizes == 0 or not all(map(math.isfinite, values)):
        assert not status.passed
        assert status.message


@settings(max_examples=60)
@given(values=VALUES, bounds=st.tuples(FINITE, FINITE).map(sorted), confidence=CONFIDENCES)
def test_a_stricter_bound_passes_no_more(values: list[float], bounds: list[float], confidence: float | None) -> None:
    low, high = bounds
    for name, lax, strict in (("atLeast", low, high), ("atMost", high, low)):
        passed = [
            verdict({"metric": "score", name: bound, "confidence": confidence}, score(values)).passed
            for bound in (lax, strict)
        ]
        assert passed != [False, True]


@settings(max_examples=60)
@given(values=VALUES, bound=FINITE, confidence=CONFIDENCES)
def test_at_least_and_at_most_mirror_each_other(values: list[float], bound: float, confidence: float | None) -> None:
    up = verdict({"metric": "score", "atLeast": bound, "confidence": confidence}, score(values))
    down = verdict({"metric": "score", "atMost": -bound, "confidence": confidence}, score([-value for value in values]))
    assert up.passed is down.passed or up.lower == pytest.approx(bound)


@settings(max_examples=40)
@given(counts=st.tuples(*[st.integers(0, 30)] * 3).filter(any), bound=st.floats(0, 1), confidence=CONFIDENCES,
       chance=st.randoms(use_true_random=False))  # fmt: skip
def test_the_order_of_comparisons_does_not_matter(
    counts: tuple[int, int, int], bound: float, confidence: float | None, chance: Any
) -> None:
    fared = list(outcomes(*counts).numerators)
    shuffled = chance.sample(fared, len(fared))
    gate = {"metric": "winRate", "atLeast": bound, "confidence": confidence}
    found = [
        verdict(gate, Measurement(GateMetric.WIN_RATE, "c", mean(*some), of="reward")) for some in (fared, shuffled)
    ]
    assert found[0] == found[1]


def rates(**wins: int) -> dict[str, list[Measurement]]:
    """Candidates by how often they win of 100 comparisons, and with a repetition that falls with it."""
    return {
        name: [
            Measurement(GateMetric.WIN_RATE, name, outcomes(won, 0, 100 - won), of="reward"),
            Measurement(GateMetric.KL, name, mean(won / 100, won / 100)),
        ]
        for name, won in wins.items()
    }


BETTER = {"metric": "winRate", "atLeast": 0.6}


@pytest.mark.parametrize(
    ("gates", "wins", "chosen"),
    [
        ([], {"a": 50, "b": 90}, "a"),
        ([BETTER], {"a": 70, "b": 90, "c": 80}, "b"),
        ([BETTER], {"a": 30, "b": 40}, "b"),
        ([BETTER], {"a": 70, "b": 70}, "a"),
        ([BETTER, {"metric": "kl", "atMost": 0.75}], {"a": 70, "b": 90}, "a"),
        ([BETTER, {"metric": "kl", "atMost": 0.95}], {"a": 70, "b": 90}, "b"),
        ([{"metric": "kl", "atMost": 0.95}, BETTER], {"a": 70, "b": 90}, "a"),
        ([{"metric": "kl", "atMost": 0.1}, BETTER], {"a": 50, "b": 70, "c": 65}, "c"),
        ([{"metric": "refusals", "atMost": 0.1}, BETTER], {"a": 50, "b": 65, "c": 70}, "b"),
    ],
)
def test_of_several_candidates_the_best_that_passes_is_chosen(
    gates: list[dict[str, Any]], wins: dict[str, int], chosen: str
) -> None:
    choice = choose([Gate.model_validate(gate) for gate in gates], rates(**wins), JUDGES)
    assert choice.name == chosen
    assert [candidate.name for candidate in choice.candidates] == list(wins)
    assert [candidate.name for candidate in choice.candidates if candidate.chosen] == [chosen]
    for candidate in choice.candidates:
        decided = choice.gates[candidate.name]
        assert candidate.passed_gates == sum(gate.passed for gate in decided)
        assert candidate.value == (decided[0].value if gates else None)
    assert choice.passed is all(gate.passed for gate in choice.gates[chosen])
