"""What findings say of candidates: measurements, the numbers for status, and models of other vocabularies."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from accelerate import PartialState

from alignment_api.contract import METRIC_NAME_LENGTH, JobLayout, JobReference
from alignment_api.v1alpha1 import Evaluate, GateMetric, Judge, Tokenizer
from alignment_trainer.data.rows import Messages, Pair, Role, message
from alignment_trainer.evaluation import passes
from alignment_trainer.evaluation.comparisons import measurements, outcomes_of
from alignment_trainer.evaluation.conclusion import Conclusion, conclude
from alignment_trainer.evaluation.contestants import Contestant, contestants
from alignment_trainer.evaluation.findings import Findings
from alignment_trainer.evaluation.gang import Gang
from alignment_trainer.evaluation.judges.verdicts import Verdict
from alignment_trainer.evaluation.language_model import LanguageModel
from alignment_trainer.evaluation.loaded import on_demand
from alignment_trainer.evaluation.measurement import Measurement, Series
from alignment_trainer.evaluation.responses import Likelihood, Response, packed
from alignment_trainer.evaluation.results import Cost, EvaluationResults
from alignment_trainer.evaluation.status_metrics import status_metrics
from alignment_trainer.reporter import Reporter

from . import tiny

MODEL = {"volume": {"path": "models/a"}}
LAYOUT = JobLayout(Path("/workspace"), JobReference(namespace="n", name="j", uid="0123456789"))


def user(text: str) -> Messages:
    return (message(Role.USER, text),)


def findings(candidates: int = 1, prompts: int = 4) -> Findings:
    """Every candidate scores higher than the baseline on all prompts but the last."""
    names = [f"c{number}" for number in range(candidates)]
    found = Findings([user(str(number)) for number in range(prompts)], [], names)
    for name in (*names, "baseline"):
        found.responses[name] = [Response("so it is " * (i + 1), 3 * (i + 1), i > 0) for i in range(prompts)]
        found.under_baseline[name] = [Likelihood(-2.0 * (i + 1), i + 1) for i in range(prompts)]
        found.own[name] = [Likelihood(-1.0 * (i + 1), i + 1) for i in range(prompts)]
    return found


def judge(name: str, tie_margin: float = 0.0) -> Judge:
    return Judge.model_validate({"name": name, "rewardModel": MODEL, "tieMargin": tie_margin})


def of(found: list[Measurement], metric: GateMetric) -> Measurement:
    (own,) = (each for each in found if each.metric is metric)
    return own


def test_scores_within_the_margin_tie() -> None:
    found = findings()
    found.scores["reward"] = {"c0": [1.0, 0.4, 0.0, -1.0], "baseline": [0.0] * 4}
    assert outcomes_of(found, [judge("reward", 0.4)]) == {"reward": {"c0": [1.0, 0.5, 0.5, 0.0]}}


def test_win_rates_are_over_the_verdicts_there_are() -> None:
    found = findings()
    found.responses["c0"] = [replace(answer, tokens=answer.tokens + 5) for answer in found.responses["c0"]]
    found.verdicts["it"] = {"c0": [Verdict(1.0), Verdict(None, problem="gone"), Verdict(0.5), Verdict(0.0)]}
    own = measurements(found, outcomes_of(found, [judge("it")]), "c0")
    assert of(own, GateMetric.WIN_RATE).own == Series([1.0, 0.5, 0.0], [1.0, 1.0, 1.0])
    assert of(own, GateMetric.LENGTH_CONTROLLED_WIN_RATE).length_differences == [5.0, 5.0, 5.0]
    found.verdicts["it"] = {"c0": [Verdict(None, problem="gone")] * 4}
    own = measurements(found, outcomes_of(found, [judge("it")]), "c0")
    assert of(own, GateMetric.WIN_RATE).own is None
    assert of(own, GateMetric.WIN_RATE).problem == "judge it gave no verdict on c0"


def test_divergence_is_per_token_of_the_candidates_responses() -> None:
    found = findings()
    kl = of(measurements(found, {}, "c0"), GateMetric.KL)
    assert kl.own == Series([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    del found.own["c0"]
    kl = of(measurements(found, {}, "c0"), GateMetric.KL)
    assert kl.own is None
    assert "different vocabularies" in str(kl.problem)


def concluded(found: Findings, evaluate: Evaluate) -> Conclusion:
    models = [Contestant(name, Path("/workspace/models/a"), "", "") for name in (*found.candidates, "baseline")]
    return conclude(evaluate, models, found, LAYOUT)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_candidate_that_diverged_passes_no_gate(broken: float) -> None:
    found = findings()
    found.pairs = [Pair(user("a"), user("b"), user("c"))] * 2
    found.preferences = {"c0": [broken, 1.0], "baseline": [broken, 0.0]}
    found.own["c0"][0] = Likelihood(broken, 1)
    gates = [
        {"metric": "preferenceAccuracy", "atLeast": 0.0},
        {"metric": "preferenceMargin", "atMost": 1e9},
        {"metric": "kl", "atMost": 1e9},
    ]
    evaluate = Evaluate.model_validate(
        {"candidate": MODEL, "baseline": MODEL, "judges": [{"name": "form", "heuristic": {}}], "gates": gates}
    )
    decided = concluded(found, evaluate).gates
    assert [gate.passed for gate in decided] == [False] * 3
    assert all("not finite" in str(gate.message) for gate in decided)


def test_status_takes_the_most_telling_numbers() -> None:
    found = findings()
    judges = [f"judge-{number}".ljust(63, "x") for number in range(8)]
    for name in judges:
        found.scores[name] = {"c0": [1.0, 1.0, 1.0, 0.0], "baseline": [0.0, 0.0, 0.0, 1.0]}
    evaluate = Evaluate.model_validate(
        {"candidate": MODEL, "baseline": MODEL, "judges": [{"name": name, "rewardModel": MODEL} for name in judges]}
    )
    conclusion = concluded(found, evaluate)
    results = EvaluationResults(
        stage="check", attempt=1, prompts=4, pairs=0, generation=evaluate.generation, engine="transformers",
        processes=1, baseline=conclusion.baseline, candidates=conclusion.candidates, judges=conclusion.judges,
        costs=[Cost(part="a", items=1, seconds=1)], seconds=1, tokens=1,
    )  # fmt: skip
    metrics = status_metrics(results)
    assert len(metrics) == 64
    assert (metrics["wins"], metrics["losses"], metrics["winRate"]) == (3, 1, 0.75)
    assert all(metrics[f"{name}/winRate"] == 0.75 for name in judges)
    assert metrics["kl"] == 1.0
    assert all(len(name) <= METRIC_NAME_LENGTH and name.isascii() for name in metrics)


def test_a_model_of_another_vocabulary_is_asked_about_the_text(tiny_model: Path, tmp_path: Path) -> None:
    layout = JobLayout(tmp_path, LAYOUT.job)
    other = tmp_path / "other"
    other.mkdir()
    tiny.save_model(other, words=[*tiny.WORDS, "altogether", "another"])
    (tmp_path / "baseline").symlink_to(tiny_model)
    evaluate = Evaluate.model_validate(
        {"candidate": MODEL, "baseline": MODEL, "judges": [{"name": "form", "heuristic": {}}]}
    )
    folders = {"evaluate.candidate": "other", "evaluate.baseline": "baseline"}
    candidate, baseline = contestants(evaluate, folders, layout, Tokenizer())
    assert candidate.vocabulary != baseline.vocabulary
    prompts, text = [user("say red"), user("go")], "kind red"
    answers = [Response(text, 3, True, packed([1, 2, 3]))] * 2
    gang = Gang(PartialState(cpu=True), Reporter(None, "check", 1))
    with on_demand(lambda: LanguageModel(str(baseline.folder), Tokenizer(), "cpu")) as model:
        found = passes.likelihoods(baseline, model, candidate, prompts, answers, 2, gang)
        own = passes.likelihoods(baseline, model, baseline, prompts, answers, 2, gang)
        expected = model().log_probabilities([(prompt, (message(Role.ASSISTANT, text),)) for prompt in prompts])
    assert [each.log_probability for each in found] == pytest.approx(expected, abs=1e-4)
    assert [each.tokens for each in own] == [3, 3]
    assert [each.log_probability for each in own] != [each.log_probability for each in found]
