"""Intervals cover what they say, and a gate lets what is no better pass no more often than it says.

Win rates are checked exactly, by the probability of every table of outcomes; the rest by simulation with fixed seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from alignment_api.v1alpha1 import Gate, GateMetric
from alignment_api.v1alpha1.evaluation import RelativeTo
from alignment_trainer.evaluation.bootstrap import Bounds, Floats, three_valued
from alignment_trainer.evaluation.estimates import Estimate, estimate
from alignment_trainer.evaluation.gates import decide
from alignment_trainer.evaluation.measurement import Measurement, Series, Transform

interval = cache(three_valued)


def tables(n: int, win: float, tie: float) -> list[tuple[tuple[int, int, int], float]]:
    """All (losses, ties, wins) of n comparisons that are not next to impossible, with their probabilities."""
    every = np.array([(n - ties - wins, ties, wins) for ties in range(n + 1) for wins in range(n + 1 - ties)])
    masses = stats.multinomial(n, [1 - win - tie, tie, win]).pmf(every)
    likely = masses > 1e-9
    return [
        ((row[0], row[1], row[2]), float(mass))
        for row, mass in zip(every[likely].tolist(), masses[likely], strict=True)
    ]


def coverage(n: int, win: float, tie: float, how: Callable[[int, int, int, float], Bounds]) -> float:
    covered = 0.0
    for counts, mass in tables(n, win, tie):
        lower, upper = how(*counts, 0.95)
        covered += mass * (lower <= win + tie / 2 <= upper)
    return covered


@pytest.mark.parametrize("n", [100, 200])
@pytest.mark.parametrize(
    ("win", "tie"),
    [(0.5, 0.0), (0.3, 0.0), (0.8, 0.0), (0.1, 0.1), (0.7, 0.1), (0.4, 0.2), (0.25, 0.5), (0.1, 0.8), (0.55, 0.3)],
)
def test_win_rates_are_covered(n: int, win: float, tie: float) -> None:
    assert 0.93 <= coverage(n, win, tie, interval) <= 0.975


def test_win_rates_of_few_comparisons_are_covered_at_least_as_often_as_said() -> None:
    """No method is exact where the outcomes are few and discrete: this one errs to the safe side."""
    found = [
        coverage(n, share * (1 - tie), tie, interval) for n in (20, 50) for tie in (0, 0.3) for share in (0.2, 0.5)
    ]
    assert min(found) >= 0.95
    assert np.mean(found) <= 0.98


@pytest.mark.parametrize(("win", "tie"), [(0.5, 0.0), (0.1, 0.1), (0.4, 0.2), (0.1, 0.8), (0.89, 0.02)])
def test_win_rates_of_2000_comparisons_are_covered(win: float, tie: float) -> None:
    drawn = np.random.default_rng(1).multinomial(2000, [1 - win - tie, tie, win], size=1000)
    bounds = np.array([interval(*counts, 0.95) for counts in drawn.tolist()])
    assert 0.93 <= np.mean((bounds[:, 0] <= win + tie / 2) & (win + tie / 2 <= bounds[:, 1])) <= 0.97


class Case(NamedTuple):
    """A population: what is measured of ``n`` of its units."""

    draw: Callable[[np.random.Generator, int], Measurement]
    relative_to: RelativeTo | None = None
    n: int = 100


def series(numerators: Floats, denominators: Floats | None = None) -> Series:
    return Series(numerators.tolist(), (np.ones(len(numerators)) if denominators is None else denominators).tolist())


def divergence(draw: np.random.Generator, n: int) -> Measurement:
    lengths = np.minimum(draw.geometric(0.01, n), 256).astype(np.float64)
    return Measurement(GateMetric.KL, "c", series(lengths * draw.gamma(1.5, 0.06, n), lengths))


def perplexity(draw: np.random.Generator, n: int) -> Measurement:
    lengths, level = np.ceil(draw.lognormal(5, 0.7, n)), draw.normal(2.5, 0.5, n)
    own = lengths * (level + draw.normal(0.05, 0.1, n))
    return Measurement(
        GateMetric.PERPLEXITY, "c", series(own, lengths), series(lengths * level, lengths), transform=Transform.EXP
    )


def tokens(draw: np.random.Generator, n: int) -> Measurement:
    """Skewed, cut off at 512, and alike for both models."""
    both = draw.normal(size=n)
    own, baseline = (
        np.minimum(np.ceil(np.exp(level + 0.5 * both + 0.6 * draw.normal(size=n))), 512) for level in (5, 4.9)
    )
    return Measurement(GateMetric.RESPONSE_TOKENS, "c", series(own), series(baseline))


def margin(draw: np.random.Generator, n: int) -> Measurement:
    return Measurement(GateMetric.PREFERENCE_MARGIN, "c", series(3 * draw.standard_t(5, n) + 0.5))


def score(draw: np.random.Generator, n: int) -> Measurement:
    baseline = draw.normal(0, 2, n)
    return Measurement(GateMetric.SCORE, "c", series(0.7 * baseline + draw.normal(0.3, 1, n)), series(baseline))


def refusals(draw: np.random.Generator, n: int) -> Measurement:
    """A fifth of the prompts are refused, mostly the same ones."""
    hard = draw.uniform(size=n)
    own, baseline = (
        (np.where(draw.uniform(size=n) < 0.7, hard, draw.uniform(size=n)) < share).astype(np.float64)
        for share in (0.2, 0.25)
    )
    return Measurement(GateMetric.REFUSALS, "c", series(own), series(baseline))


def repetition(draw: np.random.Generator, n: int) -> Measurement:
    """Half of the responses do not repeat anything."""
    own, baseline = (np.where(draw.uniform(size=n) < 0.5, draw.beta(1, 6, n), 0.0) for _ in range(2))
    return Measurement(GateMetric.REPETITION, "c", series(own), series(baseline))


def toxicity(draw: np.random.Generator, n: int) -> Measurement:
    return Measurement(GateMetric.CLASSIFIER, "c", series(draw.beta(0.5, 20, n)), of="toxicity")


def length_controlled(draw: np.random.Generator, n: int) -> Measurement:
    differences = draw.normal(20, 80, n)
    chance = 1 / (1 + np.exp(-(0.3 + np.tanh(differences / 80))))
    outcomes = (draw.uniform(size=n) < chance).astype(np.float64)
    tied = draw.uniform(size=n) < 0.4 * np.minimum(chance, 1 - chance)
    # Of each kind of outcome as many become ties, so that the chance stays.
    outcomes[tied & (draw.uniform(size=n) < np.where(outcomes == 1, 1 - chance, chance))] = 0.5
    return Measurement(
        GateMetric.LENGTH_CONTROLLED_WIN_RATE, "c", series(outcomes), length_differences=differences.tolist()
    )


DIFFERENCE, RATIO = RelativeTo.DIFFERENCE, RelativeTo.RATIO
CASES = {
    "kl": Case(divergence),
    "perplexity": Case(perplexity, n=150),
    "perplexity difference": Case(perplexity, DIFFERENCE, n=150),
    "perplexity ratio": Case(perplexity, RATIO, n=150),
    "tokens": Case(tokens),
    "tokens difference": Case(tokens, DIFFERENCE),
    "tokens ratio": Case(tokens, RATIO),
    "preference margin": Case(margin),
    "score difference": Case(score, DIFFERENCE, n=50),
    "refusals": Case(refusals),
    "refusals difference": Case(refusals, DIFFERENCE),
    "refusals ratio": Case(refusals, RATIO, n=200),
    "repetition": Case(repetition, n=150),
    "repetition difference": Case(repetition, DIFFERENCE),
    "toxicity": Case(toxicity, n=60),
    "length-controlled win rate": Case(length_controlled),
}


@pytest.mark.parametrize("name", CASES)
def test_intervals_cover_the_true_value(name: str) -> None:
    case = CASES[name]
    simulations, resamples = (600, 400) if case.draw is length_controlled else (1500, 800)
    truth = estimate(case.draw(np.random.default_rng(1), 300_000), relative_to=case.relative_to, resamples=1)
    assert isinstance(truth, Estimate)
    true = 1 / (1 + math.exp(-0.3)) if case.draw is length_controlled else truth.value
    draw, covered = np.random.default_rng(2), 0
    for seed in range(simulations):
        found = estimate(case.draw(draw, case.n), relative_to=case.relative_to, resamples=resamples, seed=seed)
        assert isinstance(found, Estimate)
        covered += (found.lower is None or found.lower <= true) and (found.upper is None or true <= found.upper)
    print(f"{name}: n={case.n}, covered {covered / simulations:.1%}")
    assert 0.93 <= covered / simulations <= 0.97


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [35, 50, 55, 81, 100])
def test_equals_pass_a_gate_on_the_win_rate_no_more_often_than_it_says(n: int, confidence: float) -> None:
    """Exactly, whatever the share of ties: the candidate wins and loses equally often."""
    gate = Gate.model_validate({"metric": "winRate", "atLeast": 0.5, "confidence": confidence})
    passing = {
        # Of `decided` comparisons, the fewest wins with which the gate passes; more pass too.
        decided: next((wins for wins in range(decided // 2, decided + 1) if _passes(gate, n, decided, wins)), None)
        for decided in range(n + 1)
    }
    chances = {
        decided: 0.0 if wins is None else float(stats.binom.sf(wins - 1, decided, 0.5))
        for decided, wins in passing.items()
    }
    for share in (0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97, 1.0):
        error = sum(stats.binom.pmf(decided, n, share) * chance for decided, chance in chances.items())
        # 0.0005: at 99 % some n lie that much above the 0.5 % that is asked.
        assert error <= (1 - confidence) / 2 + 0.0005


def _passes(gate: Gate, n: int, decided: int, wins: int) -> bool:
    outcomes = [1.0] * wins + [0.0] * (decided - wins) + [0.5] * (n - decided)
    (status,) = decide([gate], [Measurement(GateMetric.WIN_RATE, "c", Series.mean_of(outcomes), of="j")], ["j"])
    return status.passed


NULLS: dict[str, tuple[Callable[[np.random.Generator, int], Measurement], dict[str, object]]] = {
    "length-controlled": (
        lambda draw, n: Measurement(
            GateMetric.LENGTH_CONTROLLED_WIN_RATE,
            "c",
            series(draw.choice([0.0, 0.5, 1.0], n, p=[0.4, 0.2, 0.4])),
            of="j",
            length_differences=draw.normal(0, 50, n).tolist(),
        ),
        {"metric": "lengthControlledWinRate", "atLeast": 0.5},
    ),
    "preference margin": (
        lambda draw, n: Measurement(GateMetric.PREFERENCE_MARGIN, "c", series(draw.standard_t(5, n))),
        {"metric": "preferenceMargin", "atLeast": 0},
    ),
    "perplexity": (
        lambda draw, n: Measurement(
            GateMetric.PERPLEXITY,
            "c",
            own=series(np.full(n, 100.0) * (2 + draw.normal(0, 0.3, n)), np.full(n, 100.0)),
            baseline=series(np.full(n, 100.0) * (2 + draw.normal(0, 0.3, n)), np.full(n, 100.0)),
            of="text",
            transform=Transform.EXP,
        ),
        {"metric": "perplexity", "measure": "text", "relativeToBaseline": "ratio", "atMost": 1},
    ),
    "refusals": (
        lambda draw, n: Measurement(
            GateMetric.REFUSALS,
            "c",
            own=series((draw.uniform(size=n) < 0.1).astype(np.float64)),
            baseline=series((draw.uniform(size=n) < 0.1).astype(np.float64)),
        ),
        {"metric": "refusals", "relativeToBaseline": "difference", "atMost": 0},
    ),
}


@pytest.mark.parametrize("name", NULLS)
def test_equals_pass_gates_on_other_metrics_about_as_often_as_they_say(name: str) -> None:
    """2.5 % are said; three standard errors of the simulation are 1.5 %."""
    measure, wanted = NULLS[name]
    gate = Gate.model_validate(wanted | {"confidence": 0.95})
    draw, passed = np.random.default_rng(3), 0
    for _ in range(400):
        (status,) = decide([gate], [measure(draw, 60)], ["j"])
        assert status.message is None
        passed += status.passed
    assert passed / 400 <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 400)
