"""Tallies, intervals, gates and the heuristic judge: pure decisions, against independent computations."""

from __future__ import annotations

from math import comb, sqrt
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment_api.v1alpha1 import Gate
from alignment_trainer.evaluation.gates import decide
from alignment_trainer.evaluation.judges import heuristic
from alignment_trainer.evaluation.language_model import Response
from alignment_trainer.evaluation.statistics import Tally, interval

COUNTS = st.integers(0, 200)
TALLIES = st.builds(Tally, COUNTS, COUNTS, COUNTS).filter(lambda tally: tally.samples > 0)


@given(tally=TALLIES, confidence=st.floats(0.5, 0.999))
def test_the_bounds_solve_the_score_equation(tally: Tally, confidence: float) -> None:
    """Wilson's bounds are the means p at which the observed rate lies exactly z standard errors of p away."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    assert tally.rate is not None
    for bound in interval(tally, confidence):
        distance = abs(tally.rate - bound)
        assert distance == pytest.approx(z * sqrt(bound * (1 - bound) / tally.samples), abs=1e-6)


@given(tally=TALLIES)
def test_intervals_hold_the_rate_and_mirror(tally: Tally) -> None:
    assert tally.rate is not None
    lower, upper = interval(tally, 0.95)
    assert 0 <= lower <= tally.rate + 1e-12
    assert tally.rate <= upper + 1e-12 <= 1 + 1e-9
    mirrored = interval(Tally(tally.losses, tally.ties, tally.wins), 0.95)
    assert mirrored == pytest.approx((1 - upper, 1 - lower))


@pytest.mark.parametrize(("win", "tie"), [(0.5, 0.0), (0.3, 0.4), (0.1, 0.8), (0.6, 0.2), (0.05, 0.6)])
def test_with_ties_the_interval_covers_what_it_says(win: float, tie: float) -> None:
    """Exact coverage by enumeration of all outcomes of 40 comparisons."""
    n, loss = 40, 1 - win - tie
    true_rate = win + tie / 2
    covered = 0.0
    for wins in range(n + 1):
        for ties in range(n + 1 - wins):
            losses = n - wins - ties
            lower, upper = interval(Tally(wins, ties, losses), 0.95)
            if lower <= true_rate <= upper:
                covered += comb(n, wins) * comb(n - wins, ties) * win**wins * tie**ties * loss**losses
    assert covered >= 0.94


def test_a_published_interval() -> None:
    # Agresti and Coull, 1998: Wilson's 95 % interval for 0 of 10 ends at 0.278.
    assert interval(Tally(losses=10), 0.95) == pytest.approx((0.0, 0.2775), abs=5e-4)


def test_an_interval_needs_comparisons() -> None:
    assert Tally().rate is None
    with pytest.raises(ValueError, match="at least one"):
        interval(Tally(), 0.95)


def test_differences_are_counted_with_a_margin() -> None:
    assert Tally.of_differences([1.0, 0.5, 0.2, 0.0, -0.5, -0.6], tie_margin=0.5) == Tally(wins=1, ties=4, losses=1)
    assert Tally.of_differences([0.1, 0.0, -0.1]) == Tally(1, 1, 1)


WIN_RATES = {"reward": Tally(wins=60, ties=20, losses=20), "form": Tally(wins=10, ties=80, losses=10)}


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        ({"metric": "winRate", "atLeast": 0.7}, True),
        ({"metric": "winRate", "atLeast": 0.71}, False),
        ({"metric": "winRate", "atLeast": 0.6, "confidence": 0.95}, True),
        ({"metric": "winRate", "atLeast": 0.65, "confidence": 0.95}, False),
        ({"metric": "winRate", "atLeast": 0.65, "confidence": 0.5}, True),
        ({"metric": "winRate", "judge": "form", "atLeast": 0.51}, False),
        ({"metric": "winRate", "judge": "form", "atLeast": 0.5}, True),
        ({"metric": "preferenceAccuracy", "atLeast": 0.9}, True),
    ],
)
def test_gates(gate: dict[str, object], passed: bool) -> None:
    (status,) = decide([Gate.model_validate(gate)], WIN_RATES, Tally(wins=9, losses=1))
    assert status.passed is passed
    assert status.lower is not None
    assert status.value is not None
    assert status.upper is not None
    assert status.lower < status.value < status.upper


def test_what_was_not_measured_does_not_pass() -> None:
    (status,) = decide([Gate.model_validate({"metric": "preferenceAccuracy", "atLeast": 0})], WIN_RATES, Tally())
    assert not status.passed
    assert status.value is None


@pytest.mark.parametrize(
    ("text", "finished", "score"),
    [
        ("a fine answer", True, 0),
        ("", True, -1),
        ("cut off in the", False, -1),
        ("go on and on " * 10, True, -1),
        ("go on and on " * 10, False, -2),
    ],
)
def test_the_heuristic_judge_counts_faults(text: str, finished: bool, score: float) -> None:
    assert heuristic.score(Response(text=text, tokens=9, finished=finished), 0.3) == score
