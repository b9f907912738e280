"""What findings say of each candidate: measurements. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from alignment_api.v1alpha1 import GateMetric, Judge
from alignment_api.v1alpha1.evaluation.evaluate import BASELINE

from .findings import Findings
from .measurement import Measurement, Series, Transform
from .responses import Response

_COUNTED: Final[Mapping[GateMetric, Callable[[Response], float]]] = {
    GateMetric.RESPONSE_TOKENS: lambda response: response.tokens,
    GateMetric.FINISHED: lambda response: response.finished,
}

Outcomes = Sequence[float | None]
"""For each prompt 1 if the candidate wins, 0.5 for a tie, 0 if it loses; None without a verdict."""


def outcomes_of(findings: Findings, judges: Sequence[Judge]) -> dict[str, dict[str, Outcomes]]:
    """Judge -> candidate -> how it fared on each prompt."""
    found: dict[str, dict[str, Outcomes]] = {}
    for judge in judges:
        verdicts, scores = findings.verdicts.get(judge.name), findings.scores.get(judge.name)
        if verdicts is not None:
            found[judge.name] = {name: [verdict.outcome for verdict in own] for name, own in verdicts.items()}
        elif scores is not None:
            found[judge.name] = {
                name: [
                    _outcome(ours - theirs, judge.tie_margin)
                    for ours, theirs in zip(scores[name], scores[BASELINE], strict=True)
                ]
                for name in findings.candidates
            }
    return found


def measurements(findings: Findings, outcomes: Mapping[str, Mapping[str, Outcomes]], name: str) -> list[Measurement]:
    """What is known of a candidate, but for what was measured of it elsewhere (`Findings.measured`, texts).

    Args:
        findings: what was found.
        outcomes: judge -> candidate -> outcomes, as `outcomes_of` gives them.
        name: the candidate.
    """
    found = []
    for judge, by_candidate in outcomes.items():
        found += _judged(findings, judge, by_candidate[name], name)
        if judge in findings.scores:
            scores = findings.scores[judge]
            found.append(Measurement(GateMetric.SCORE, name, _mean(scores[name]), _mean(scores[BASELINE]), of=judge))
    if findings.pairs:
        found += _preferences(findings, name)
    found += [_divergence(findings, name), _response_perplexity(findings, name)]
    own, theirs = findings.responses[name], findings.responses[BASELINE]
    for metric, count in _COUNTED.items():
        found.append(Measurement(metric, name, _mean([count(a) for a in own]), _mean([count(a) for a in theirs])))
    return found


def _judged(findings: Findings, judge: str, outcomes: Outcomes, name: str) -> list[Measurement]:
    """Win rates over the prompts on which there is a verdict."""
    ours, theirs = findings.responses[name], findings.responses[BASELINE]
    judged = [
        (outcome, float(own.tokens - other.tokens))
        for outcome, own, other in zip(outcomes, ours, theirs, strict=True)
        if outcome is not None
    ]
    if not judged:
        problem = f"judge {judge} gave no verdict on {name}"
        return [
            Measurement(metric, name, None, of=judge, problem=problem)
            for metric in (GateMetric.WIN_RATE, GateMetric.LENGTH_CONTROLLED_WIN_RATE)
        ]
    series = Series.mean_of([outcome for outcome, _ in judged])
    differences = [difference for _, difference in judged]
    return [
        Measurement(GateMetric.WIN_RATE, name, series, of=judge),
        Measurement(GateMetric.LENGTH_CONTROLLED_WIN_RATE, name, series, of=judge, length_differences=differences),
    ]


def _preferences(findings: Findings, name: str) -> list[Measurement]:
    """How the candidate moved chosen against rejected responses.

    The gain is log p(chosen) - log p(rejected) under the candidate, less the same under the baseline: DPO's implicit
    reward margin over beta (Rafailov et al., 2023, arXiv:2305.18290).
    """
    gains = [
        ours - theirs for ours, theirs in zip(findings.preferences[name], findings.preferences[BASELINE], strict=True)
    ]
    return [
        Measurement(GateMetric.PREFERENCE_ACCURACY, name, _mean([_outcome(gain, 0.0) for gain in gains])),
        Measurement(GateMetric.PREFERENCE_MARGIN, name, _mean(gains)),
    ]


def _divergence(findings: Findings, name: str) -> Measurement:
    """KL of the candidate from the baseline, in nats per token of the candidate's responses.

    The mean of log p(token under the candidate) - log p(token under the baseline) over tokens that the candidate drew:
    the estimator k1, unbiased for responses sampled at temperature 1 (Schulman, 2020, "Approximating KL divergence").
    """
    if name not in findings.own:
        problem = f"{name} and the baseline have different vocabularies, so there is no divergence per token"
        return Measurement(GateMetric.KL, name, None, problem=problem)
    ours, theirs = findings.own[name], findings.under_baseline[name]
    numerators = [own.log_probability - other.log_probability for own, other in zip(ours, theirs, strict=True)]
    return Measurement(GateMetric.KL, name, Series(numerators, [float(own.tokens) for own in ours]))


def _response_perplexity(findings: Findings, name: str) -> Measurement:
    own, baseline = (
        Series(
            [-found.log_probability for found in findings.under_baseline[model]],
            [float(found.tokens) for found in findings.under_baseline[model]],
        )
        for model in (name, BASELINE)
    )
    return Measurement(GateMetric.RESPONSE_PERPLEXITY, name, own, baseline, transform=Transform.EXP)


def _mean(values: Sequence[float]) -> Series:
    return Series.mean_of([float(value) for value in values])


def _outcome(difference: float, tie_margin: float) -> float:
    if math.isnan(difference):  # a model that diverged neither wins nor loses: it cannot be measured
        return math.nan
    if abs(difference) <= tie_margin:
        return 0.5
    return 1.0 if difference > 0 else 0.0
