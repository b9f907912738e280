"""Estimates and intervals against independent implementations: statsmodels, scipy, scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from statsmodels.api import GLM, WLS, families
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from alignment_api.v1alpha1 import GateMetric
from alignment_api.v1alpha1.evaluation import RelativeTo
from alignment_trainer.evaluation import agreement, length_control
from alignment_trainer.evaluation.bootstrap import Floats, three_valued
from alignment_trainer.evaluation.estimates import Estimate, Unknown, estimate
from alignment_trainer.evaluation.measurement import Measurement, Series, Transform

Z = float(stats.norm.ppf(0.975))


def series(numerators: Floats, denominators: Floats | None = None) -> Series:
    return Series(numerators.tolist(), (np.ones(len(numerators)) if denominators is None else denominators).tolist())


def known(measurement: Measurement, relative_to: RelativeTo | None = None, resamples: int = 2000) -> Estimate:
    found = estimate(measurement, relative_to=relative_to, resamples=resamples)
    assert isinstance(found, Estimate)
    return found


def ends(found: Estimate) -> tuple[float, float]:
    assert found.lower is not None
    assert found.upper is not None
    return found.lower, found.upper


def test_three_valued_intervals_are_quantiles_of_the_distribution_that_scipy_gives() -> None:
    """2000 random tables; the distribution of the resampled mean by enumeration of scipy's multinomial."""
    generator = np.random.default_rng(1)
    for _ in range(2000):
        n = int(generator.integers(1, 25))
        losses, ties, wins = (int(count) for count in generator.multinomial(n, generator.dirichlet([0.7] * 3)))
        confidence = float(generator.uniform(0.5, 0.999))
        outcomes = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
        masses = stats.multinomial(n, np.array([losses + 0.5, ties, wins + 0.5]) / (n + 1)).pmf(outcomes)
        cells = np.bincount(outcomes[:, 1] + 2 * outcomes[:, 2], masses, minlength=2 * n + 1)
        found = []
        for quantile in ((1 - confidence) / 2, (1 + confidence) / 2):
            cell = int(np.searchsorted(np.cumsum(cells), quantile))
            into = (quantile - cells[:cell].sum()) / cells[cell]
            found.append((cell - 0.5 + into) / (2 * n))
        half_a_step = 0.25 / n if ties else 0.5 / n
        expected = max(0, found[0] - half_a_step), min(1, found[1] + half_a_step)
        assert three_valued(losses, ties, wins, confidence) == pytest.approx(expected, abs=1e-7)


def test_intervals_of_proportions_are_close_to_those_of_statsmodels() -> None:
    """1500 random tables without ties: the bounds lie within 2.5 outcomes of Clopper and Pearson's and Wilson's."""
    generator = np.random.default_rng(2)
    for _ in range(1500):
        n = int(generator.integers(10, 1000))
        wins = int(generator.binomial(n, generator.uniform()))
        found = three_valued(n - wins, 0, wins, 0.95)
        for method in ("beta", "wilson"):
            assert found == pytest.approx(proportion_confint(wins, n, 0.05, method), abs=2.5 / n)


def test_with_many_ties_the_interval_is_that_of_the_mean() -> None:
    generator = np.random.default_rng(3)
    for _ in range(300):
        n = int(generator.integers(300, 3000))
        outcomes = generator.choice([0.0, 0.5, 1.0], n, p=[0.1, 0.7, 0.2])
        found = known(Measurement(GateMetric.WIN_RATE, "c", series(outcomes)))
        spread = Z * outcomes.std() / math.sqrt(n)
        assert found.value == pytest.approx(outcomes.mean())
        assert ends(found) == pytest.approx((found.value - spread, found.value + spread), abs=1.5 / n)


def _documents(generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Lengths, and two models' summed negative log-likelihoods."""
    n = int(generator.integers(80, 200))
    lengths = np.ceil(generator.lognormal(generator.uniform(2, 6), 0.5, n))
    level = generator.normal(2.5, 0.4, n)
    return lengths, lengths * level, lengths * (level + generator.normal(0.05, 0.2, n))


def test_ratios_of_sums_are_weighted_regressions_with_robust_errors() -> None:
    """600 random tables. A ratio of sums is the weighted mean of the units' ratios, and HC1 its standard error."""
    generator = np.random.default_rng(4)
    widths, centers = [], []
    for seed in range(600):
        lengths, own, _ = _documents(generator)
        regression = WLS(own / lengths, np.ones(len(own)), weights=lengths).fit(cov_type="HC1")
        measurement = Measurement(GateMetric.PERPLEXITY, "c", series(own, lengths), transform=Transform.EXP)
        found = estimate(measurement, resamples=600, seed=seed)
        assert isinstance(found, Estimate)
        assert math.log(found.value) == pytest.approx(regression.params[0], rel=1e-10)
        lower, upper = (math.log(bound) for bound in ends(found))
        widths.append((upper - lower) / (2 * Z * regression.bse[0]))
        centers.append(((upper + lower) / 2 - regression.params[0]) / regression.bse[0])
    # A studentized interval is a little wider than the normal one of as many units, and follows the skewness.
    assert np.quantile(widths, [0.01, 0.99]) == pytest.approx([1.0, 1.15], abs=0.12)
    assert np.mean(widths) == pytest.approx(1.04, abs=0.03)
    assert np.abs(centers).max() < 0.6


@pytest.mark.parametrize("relative_to", list(RelativeTo))
def test_comparisons_with_the_baseline_agree_with_scipy(relative_to: RelativeTo) -> None:
    """BCa intervals of scipy's paired bootstrap, on 25 random tables."""
    generator = np.random.default_rng(5)

    def statistic(own: Floats, baseline: Floats, lengths: Floats, axis: int = -1) -> Floats:
        first, second = (np.exp(sums.sum(axis) / lengths.sum(axis)) for sums in (own, baseline))
        return np.asarray(first - second if relative_to is RelativeTo.DIFFERENCE else first / second)

    for _ in range(25):
        lengths, baseline, own = _documents(generator)
        measured = Measurement(
            GateMetric.PERPLEXITY, "c", series(own, lengths), series(baseline, lengths), transform=Transform.EXP
        )
        found = known(measured, relative_to)
        expected = stats.bootstrap(
            (own, baseline, lengths), statistic, paired=True, vectorized=True, n_resamples=1999, rng=generator
        ).confidence_interval
        width = expected.high - expected.low
        assert found.value == pytest.approx(float(statistic(own, baseline, lengths)))
        assert ends(found) == pytest.approx(tuple(expected), abs=0.15 * width)


@pytest.mark.parametrize("transform", list(Transform))
@pytest.mark.parametrize("relative_to", [None, *RelativeTo])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_delta_method_is_the_slope_of_the_statistic(
    transform: Transform, relative_to: RelativeTo | None, sign: float
) -> None:
    from alignment_trainer.evaluation.statistic import statistic_of

    generator = np.random.default_rng(6)
    means = generator.uniform(0.5, 2, (100, 2 if relative_to is None else 4))
    means[:, 0] *= sign
    statistic = statistic_of(transform, relative_to, log=sign > 0)
    for column in range(means.shape[1]):
        step = np.zeros(means.shape[1])
        step[column] = 1e-6
        slope = (statistic.of_means(means + step) - statistic.of_means(means - step)) / 2e-6
        assert statistic.gradient(means)[:, column] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_length_controlled_win_rates_are_penalized_logistic_regressions() -> None:
    """150 random tables against scikit-learn, with a tie as half a win and half a loss."""
    generator = np.random.default_rng(7)
    for _ in range(150):
        outcomes, differences = _comparisons(generator, int(generator.integers(5, 300)))
        if len(set(outcomes.tolist())) == 1:
            continue
        x = np.tanh(differences / differences.std())
        model = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
        model.fit(np.tile(x, 2)[:, None], np.repeat([1, 0], len(x)), np.concatenate([outcomes, 1 - outcomes]))
        found = length_control.fit(outcomes, differences, 0.95, 100, 0)
        assert found.win_rate == pytest.approx(model.predict_proba([[0.0]])[0, 1], abs=1e-6)
        assert found.slope == pytest.approx(model.coef_[0, 0], abs=1e-4)
        assert 0 <= found.bounds[0] <= found.bounds[1] <= 1


def test_with_many_units_the_length_controlled_win_rate_and_its_interval_are_those_of_a_glm() -> None:
    generator = np.random.default_rng(8)
    for _ in range(4):
        outcomes, differences = _comparisons(generator, 4000)
        x = np.tanh(differences / differences.std())
        fitted = GLM(outcomes, np.column_stack([np.ones(4000), x]), family=families.Binomial()).fit(cov_type="HC1")
        measured = Measurement(
            GateMetric.LENGTH_CONTROLLED_WIN_RATE, "c", series(outcomes), length_differences=differences.tolist()
        )
        found = known(measured, resamples=600)
        low, high = 1 / (1 + np.exp(-fitted.conf_int()[0]))
        assert found.value == pytest.approx(1 / (1 + math.exp(-fitted.params[0])), abs=2e-3)
        assert ends(found) == pytest.approx((low, high), abs=0.2 * (high - low))


def _comparisons(generator: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    differences = np.round(generator.normal(generator.normal(0, 50), 100, n))
    chance = 1 / (1 + np.exp(-(generator.normal() + generator.normal() * np.tanh(differences / 100))))
    outcomes = (generator.uniform(size=n) < chance).astype(np.float64)
    outcomes[generator.uniform(size=n) < 0.2] = 0.5
    return outcomes, differences


@pytest.mark.parametrize("judges", [2, 3, 5])
def test_kappas_are_those_of_scikit_learn_and_statsmodels(judges: int) -> None:
    """200 random tables for each number of judges."""
    generator = np.random.default_rng(9)
    for _ in range(200):
        n = int(generator.integers(2, 60))
        truth = generator.choice([0.0, 0.5, 1.0], n)
        votes = np.where(
            generator.uniform(size=(judges, n)) < 0.5, truth, generator.choice([0.0, 0.5, 1.0], (judges, n))
        )
        rows = votes.tolist()
        expected = fleiss_kappa(aggregate_raters((2 * votes.T).astype(int), 3)[0])
        found = agreement.fleiss_kappa(rows)
        assert found.value == (pytest.approx(expected) if math.isfinite(expected) else None)
        if judges == 2:
            cohen = cohen_kappa_score(*(2 * votes).astype(int), labels=[0, 1, 2])
            assert agreement.kappa(*rows).value == (pytest.approx(cohen) if math.isfinite(cohen) else None)


def test_the_interval_of_kappa_is_that_of_scipys_bootstrap() -> None:
    generator = np.random.default_rng(10)
    first = generator.choice([0, 1, 2], 150)
    second = np.where(generator.uniform(size=150) < 0.6, first, generator.choice([0, 1, 2], 150))
    expected = stats.bootstrap(
        (first, second), cohen_kappa_score, paired=True, vectorized=False, n_resamples=800, method="percentile",
        rng=generator,
    ).confidence_interval  # fmt: skip
    found = agreement.kappa((first / 2).tolist(), (second / 2).tolist())
    assert (found.lower, found.upper) == pytest.approx(tuple(expected), abs=0.03)


def test_judges_agree_on_what_both_gave_a_verdict_on() -> None:
    found = agreement.kappa([1, 0, None, 1, 0.5], [1, 0, 1, None, 0.5])
    assert (found.value, found.samples) == (1.0, 3)
    assert agreement.kappa([None], [1.0]) == agreement.Kappa(None, None, None, 0)
    assert agreement.kappa([1.0, 1.0], [1.0, 1.0]).value is None, "where all is the same, chance explains it"
    with pytest.raises(ValueError, match=r"0\.7 is no outcome"):
        agreement.kappa([0.7], [1.0])
    with pytest.raises(ValueError, match="at least two"):
        agreement.fleiss_kappa([[1.0]])


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(
    table=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=8),
    metric=st.sampled_from([GateMetric.REPETITION, GateMetric.SCORE, GateMetric.TASK]),
    transform=st.sampled_from(Transform),
    relative_to=st.sampled_from([None, *RelativeTo]),
)
def test_whatever_was_measured_an_estimate_is_finite_or_there_is_a_reason(
    table: list[tuple[float, float, float, float]],
    metric: GateMetric,
    transform: Transform,
    relative_to: RelativeTo | None,
) -> None:
    own, size, theirs, other = ([row[column] for row in table] for column in range(4))
    measured = Measurement(metric, "c", Series(own, size), Series(theirs, other), transform=transform)
    found = estimate(measured, relative_to=relative_to, resamples=50)
    if isinstance(found, Unknown):
        assert found.reason
        return
    assert math.isfinite(found.value)
    assert found.samples > 0
    assert found.lower is None or (math.isfinite(found.lower) and found.lower <= found.value)
    assert found.upper is None or (math.isfinite(found.upper) and found.upper >= found.value)


@pytest.mark.parametrize(
    ("own", "baseline", "relative_to", "reason"),
    [
        (None, Series([1], [1]), None, "judge j gave no verdict"),
        (Series([1], [1]), None, RelativeTo.RATIO, "judge j gave no verdict"),
        (Series([], []), None, None, "nothing to measure"),
        (Series([0, 0], [0, 0]), None, None, "nothing to measure"),
        (Series([1, math.nan], [1, 1]), None, None, "1 of 2 units are not finite"),
        (Series([1, 1], [1, -1]), None, None, "negative sizes"),
        (Series([1, 1], [1, 1]), Series([0, 0], [1, 1]), RelativeTo.RATIO, "baseline's value is 0"),
        (Series([1, 1], [1, 1]), Series([0, 0], [0, 0]), RelativeTo.DIFFERENCE, "nothing to measure of the baseline"),
        (Series([1, 1], [1, 1]), Series([1], [1]), RelativeTo.DIFFERENCE, "do not belong together"),
        (Series([1e308, 1e308], [1, 1]), None, None, "no finite number"),
    ],
)
def test_why_there_is_no_estimate(
    own: Series | None, baseline: Series | None, relative_to: RelativeTo | None, reason: str
) -> None:
    problem = "judge j gave no verdict" if own is None or baseline is None else None
    found = estimate(Measurement(GateMetric.SCORE, "c", own, baseline, problem=problem), relative_to=relative_to)
    assert isinstance(found, Unknown)
    assert reason in found.reason


def test_units_without_anything_to_measure_do_not_count() -> None:
    values, sizes = np.array([0.2, 0.0, 0.4, 0.9]), np.array([1.0, 0.0, 1.0, 1.0])
    found = known(Measurement(GateMetric.REPETITION, "c", series(values, sizes)))
    assert found.value == pytest.approx(0.5)
    assert found.samples == 3


def test_length_control_takes_units_that_were_judged_and_whose_lengths_are_known() -> None:
    def rate(differences: list[float]) -> Estimate | Unknown:
        judged = Series([1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0])
        return estimate(
            Measurement(GateMetric.LENGTH_CONTROLLED_WIN_RATE, "c", judged, of="j", length_differences=differences)
        )

    found = rate([0.0] * 4)
    assert isinstance(found, Estimate)
    assert (found.value, found.samples) == (pytest.approx(2 / 3), 3)  # type: ignore[comparison-overlap]
    for differences, reason in (([0.0] * 3, "do not belong together"), ([math.nan] * 4, "4 of 4 units")):
        unknown = rate(differences)
        assert isinstance(unknown, Unknown)
        assert reason in unknown.reason


def test_the_seed_decides_and_the_order_of_units_does_not_matter_but_for_chance() -> None:
    generator = np.random.default_rng(11)
    values = generator.lognormal(size=500)
    first, again, shuffled = (
        known(Measurement(GateMetric.SCORE, "c", series(some)))
        for some in (values, values, generator.permutation(values))
    )
    assert first == again
    lower, upper = ends(first)
    assert shuffled.value == pytest.approx(first.value)
    assert ends(shuffled) == pytest.approx((lower, upper), abs=0.1 * (upper - lower))


def test_one_unit_tells_no_interval_and_equal_units_one_without_width() -> None:
    one = known(Measurement(GateMetric.SCORE, "c", Series([2.5], [1.0])))
    assert (one.value, one.lower, one.upper, one.samples) == (2.5, None, None, 1)
    same = known(Measurement(GateMetric.KL, "c", Series([0.3, 0.6, 0.9], [1.0, 2.0, 3.0])))
    assert ends(same) == pytest.approx((0.3, 0.3))
