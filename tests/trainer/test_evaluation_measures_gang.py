"""Texts, tasks and classifiers measured by a real gang of two processes, against plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment_api.contract import RunConfig
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import AlignmentJobSpec, Tokenizer
from alignment_trainer import prepare
from alignment_trainer.evaluation.language_model import LanguageModel
from alignment_trainer.evaluation.measures import classifier as classifier_measure
from alignment_trainer.evaluation.measures import harness, perplexity
from alignment_trainer.evaluation.measures.harness.asking import wrapped
from alignment_trainer.evaluation.measures.units import Unit
from alignment_trainer.evaluation.results import EvaluationResults, MetricResult
from alignment_trainer.models.classifier import Classifier

from . import harness_tasks, tiny
from .conftest import JOB, Workspace, workspace_in
from .test_evaluation_measures import DOCUMENTS, save_classifier

STAGE = "check"

MEASURES = {
    "texts": [{"name": "prose", "inline": {"rows": [{"text": text} for text in DOCUMENTS]}, "maxLength": 16}],
    "tasks": [
        {"name": "colours", "task": "colours", "folder": "tasks", "metric": "brier_score", "fewShot": 2},
        {"name": "writing", "task": "writing", "folder": "tasks"},
    ],
    "classifiers": [{"name": "toxicity", "model": {"volume": {"path": "models/classifier"}}, "label": "toxic"}],
}
MODELS = {"candidate": "other", "baseline": "tiny"}


@pytest.fixture(scope="module")
def measured(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, RunConfig]]:
    """A workspace in which a gang has evaluated two models."""
    with workspace_in(tmp_path_factory.mktemp("workspace"), tiny_model) as workspace:
        (workspace.root / "models" / "other").mkdir()
        tiny.save_model(workspace.root / "models" / "other", seed=1)
        save_classifier(workspace.root / "models" / "classifier")
        harness_tasks.save(workspace.root / "tasks")
        rows = [{"prompt": f"say {word}", "chosen": f"kind {word}", "rejected": "curt"} for word in tiny.WORDS]
        spec = AlignmentJobSpec.model_validate(
            {
                "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
                "runtime": {"processesPerNode": 2},
                "stages": [
                    {
                        "name": STAGE,
                        "dataset": {"inline": {"rows": rows}},
                        "evaluate": {
                            **{side: {"volume": {"path": f"models/{name}"}} for side, name in MODELS.items()},
                            "generation": {"maxNewTokens": 6, "batchSize": 3},
                            "judges": [{"name": "form", "heuristic": {}}],
                            "measures": MEASURES,
                            "gates": [
                                {"metric": "perplexity", "measure": "prose", "atMost": 1e6},
                                {"metric": "task", "measure": "writing", "atLeast": 1},
                            ],
                        },
                    }
                ],
            }
        )
        config = RunConfig(job=JOB, spec=spec)
        prepare.main(config, workspace.layout)
        job = workspace.root / "job.json"
        job.write_text(config.model_dump_json(by_alias=True))
        summary = workspace.run(job, STAGE)
        assert summary.exit_code == ExitCode.OK, workspace.pods[-1].output.read_text()[-4000:]
        assert [gate.passed for gate in summary.gates or []] == [True, False]
        yield workspace, config


def result(workspace: Workspace, metric: str, of: str) -> MetricResult:
    (candidate,) = EvaluationResults.load(workspace.layout.stage(STAGE).report).candidates
    (found,) = (entry for entry in candidate.metrics if (entry.metric, entry.of) == (metric, of))
    assert found.problem is None
    return found


def mean(units: list[Unit]) -> float:
    return sum(unit[0] for unit in units) / sum(unit[1] for unit in units)


def value(found: MetricResult, side: str) -> float | None:
    number = found.own if side == "candidate" else found.baseline
    return number.value if number is not None else None


@pytest.mark.parametrize("side", MODELS)
class TestAGang:
    """The numbers of a report, for candidate and baseline."""

    def model(self, workspace: Workspace, side: str) -> LanguageModel:
        return LanguageModel(str(workspace.root / "models" / MODELS[side]), Tokenizer(), "cpu")

    def test_perplexity(self, measured: tuple[Workspace, RunConfig], side: str) -> None:
        workspace, _ = measured
        units = perplexity.score(self.model(workspace, side), DOCUMENTS, 16, 64)
        found = result(workspace, "perplexity", "prose")
        assert value(found, side) == pytest.approx(math.exp(mean(units)), rel=1e-4)
        assert found.samples == sum(unit[1] > 0 for unit in units) == 3

    @pytest.mark.parametrize("task", [0, 1])
    def test_tasks(self, measured: tuple[Workspace, RunConfig], side: str, task: int) -> None:
        workspace, config = measured
        evaluate = config.spec.stage(STAGE).evaluate
        assert evaluate is not None
        settings = evaluate.measures.tasks[task]
        questions = harness.Questions.load(settings, workspace.layout.stage(STAGE), "spec")
        units = questions.score(wrapped(self.model(workspace, side), 64), range(len(questions)))
        found = result(workspace, "task", settings.name)
        assert value(found, side) == pytest.approx(mean(units), abs=1e-5)
        assert found.samples == 13

    def test_classifiers(self, measured: tuple[Workspace, RunConfig], side: str) -> None:
        workspace, _ = measured
        lines = (workspace.layout.stage(STAGE).report / "responses.jsonl").read_text().splitlines()
        answers = [json.loads(line)["responses"][side]["text"] for line in lines]
        model = Classifier(str(workspace.root / "models" / "classifier"), "toxic", "cpu", "spec")
        units = classifier_measure.score(model, answers)
        found = result(workspace, "classifier", "toxicity")
        assert value(found, side) == pytest.approx(mean(units), abs=1e-5)
