"""Learning, not motion: does the held-out number that each method optimizes rise, and only if the labels are true?

Each method trains twice through the real command line, one process on a CPU: on the labels of `learning_task`, and on
shuffled ones. The test is paired over customers, one-sided: significant for the true labels (p < 0.01), not so for the
shuffled ones. SFT starts from a model that has seen the answers dealt out to the wrong requests: it knows how answers
sound, and nothing of which belongs where. The others start from a model that gives either answer to every request.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from alignment_api.contract import JobLayout, JobReference, RunConfig
from alignment_api.v1alpha1 import AlignmentJobSpec, Method
from tests.bench import learning_measures as measures
from tests.bench import learning_task as task
from tests.bench.learning_task import Request, Task
from tests.ports import free_ports

SIGNIFICANT: Final = 0.01
TRUE, SHUFFLED = "true", "shuffled"
UNTRAINED, SOUNDS, EITHER, LEANING = "untrained", "sounds", "either", "leaning"
"""Models that stages start from: random weights; the answers' style alone; either answer to every request, as often or
the wanted one twice as often."""

Rows = list[dict[str, Any]]
_EXACT: Final = {"rewards": [{"name": "exact", "exactAnswer": {"column": "answer"}}], "maxCompletionLength": 32}
_PAIRS: Final = {"maxLength": 64}


@dataclass(frozen=True)
class Recipe:
    """How a method is put to the test.

    Attributes:
        start: the model it starts from.
        rows: what it trains on.
        shuffle: what takes the truth out of the labels.
        number: what it optimizes, measured for each held-out request.
        unit: what that is, for people.
        options: the method's member of the stage.
        training: its training member.
        dataset: further entries of its dataset.
    """

    start: str
    rows: Callable[[list[Request]], Rows]
    number: Callable[[Path, Sequence[Request]], measures.Numbers]
    unit: str
    options: dict[str, Any]
    training: dict[str, Any]
    shuffle: Callable[[list[Request]], list[Request]] = task.half_swapped
    dataset: dict[str, Any] = field(default_factory=dict)


def _training(steps: int, rate: float, rows: int = 16, **others: Any) -> dict[str, Any]:
    return {"maxSteps": steps, "learningRate": rate, "globalBatchSize": rows, "microBatchSize": rows, **others}


def _preferences(options: dict[str, Any], steps: int, rate: float) -> Recipe:
    training = _training(steps, rate)
    return Recipe(EITHER, task.pairs, measures.preference, "log p wanted - log p other", _PAIRS | options, training)


def _online(options: dict[str, Any], steps: int, rate: float) -> Recipe:
    training = _training(steps, rate, 128)
    dataset = {"format": "prompts"}
    return Recipe(
        LEANING, task.prompts, measures.mean_reward, "mean reward", _EXACT | options, training, dataset=dataset
    )


RECIPES: Final[dict[Method, Recipe]] = {
    Method.SFT: Recipe(
        SOUNDS,
        task.demonstrations,
        measures.log_likelihood,
        "log p wanted",
        {"maxLength": 64},
        _training(300, 2e-3),
        shuffle=task.dealt_out,
    ),
    Method.REWARD: Recipe(EITHER, task.pairs, measures.accuracy, "pair accuracy", _PAIRS, _training(200, 1e-3)),
    Method.DPO: _preferences({}, 100, 5e-4),
    Method.KTO: _preferences({}, 100, 5e-4),
    Method.ORPO: _preferences({"beta": 0.5}, 250, 1e-3),  # its likelihood term learns the prompts first
    Method.CPO: _preferences({}, 100, 5e-4),
    Method.SIMPO: _preferences({}, 100, 5e-4),
    Method.GRPO: _online({"generations": 4}, 40, 5e-4),
    Method.RLOO: _online({"generations": 4, "beta": 0.0}, 40, 5e-4),
    Method.PPO: _online({}, 40, 5e-4),
}

_STARTS: Final[dict[str, tuple[Callable[[tuple[Request, ...]], Rows], int, float]]] = {
    SOUNDS: (lambda requests: task.demonstrations(task.dealt_out(requests, seed=1)), 200, 3e-3),
    EITHER: (task.both_answers, 500, 3e-3),
    LEANING: (task.leaning_answers, 500, 3e-3),
}
"""Model -> rows of its SFT, steps and learning rate."""


@dataclass
class Bench:
    """A folder as workspace, with the task's data and the models that methods start from.

    Attributes:
        root: the workspace.
        models: models by name.
    """

    root: Path
    task: Task = field(default_factory=Task)
    models: dict[str, Path] = field(default_factory=dict)

    def start(self, name: str) -> Path:
        """The model called ``name``, made when it is first asked for."""
        if name not in self.models:
            if name == UNTRAINED:
                self.models[name] = self.root / "models" / name
                self.task.write_model(self.models[name])
            else:
                make_rows, steps, rate = _STARTS[name]
                stage = self._stage(name, Method.SFT, make_rows(self.task.train), {"maxLength": 64})
                stage["training"] = _training(steps, rate)
                self.models |= self.run(name, self.start(UNTRAINED), [stage])
        return self.models[name]

    def train(self, method: Method) -> dict[str, Path]:
        """The method's models, of true and of shuffled labels."""
        recipe, requests = RECIPES[method], list(self.task.train)
        stages = []
        for name, labelled in ((TRUE, requests), (SHUFFLED, recipe.shuffle(requests))):
            stage = self._stage(name, method, recipe.rows(labelled), recipe.options, job=method.value)
            stage["dataset"] |= recipe.dataset
            stages.append(stage | {"training": recipe.training})
        return self.run(method.value, self.start(recipe.start), stages)

    def run(self, job: str, model: Path, stages: list[dict[str, Any]]) -> dict[str, Path]:
        """Prepare and train a job's stages; the model of each."""
        spec = {
            "model": {"volume": {"path": model.relative_to(self.root).as_posix()}},
            "workspace": {"persistentVolumeClaim": {"claimName": "bench"}},
            "runtime": {"deepspeed": {"zeroStage": 0}},
            "stages": stages,
        }
        reference = JobReference(namespace="bench", name=job, uid="00000000")
        config = RunConfig(job=reference, spec=AlignmentJobSpec.model_validate(spec))
        (self.root / f"{job}.json").write_text(config.model_dump_json(by_alias=True, exclude_none=True))
        self._call(job, "prepare")
        for stage in stages:
            self._call(job, "train", "--stage", stage["name"], "--attempt", "1")
        layout = JobLayout(self.root, reference)
        return {stage["name"]: layout.stage(stage["name"]).model for stage in stages}

    def _stage(
        self, name: str, method: Method, rows: Rows, options: dict[str, Any], job: str = "start"
    ) -> dict[str, Any]:
        path = f"data/{job}-{name}.jsonl"
        self.task.write_rows(self.root / path, rows)
        return {"name": name, "dataset": {"volume": {"path": path}}, method.value: options}

    def _call(self, job: str, *arguments: str) -> None:
        """Run the trainer's command line on the job.

        Raises:
            RuntimeError: it failed; the message has the end of its output.
        """
        progress, rendezvous = free_ports(2)
        environment = os.environ | {
            "ALIGNMENT_CONFIG": str(self.root / f"{job}.json"),
            "ALIGNMENT_WORKSPACE": str(self.root),
            "ALIGNMENT_TERMINATION_LOG": str(self.root / "termination.json"),
            "ALIGNMENT_PROGRESS_PORT": str(progress),
            "ALIGNMENT_RENDEZVOUS_PORT": str(rendezvous),
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "alignment_trainer", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = json.loads((self.root / "termination.json").read_text())
            raise RuntimeError(f"{job} {' '.join(arguments)}: {said}\n{(done.stdout + done.stderr)[-4000:]}")


def main(methods: Sequence[str] = ()) -> None:
    """Print a line for each method; exit with 1 if one does not learn, or learns from shuffled labels.

    Args:
        methods: names of the methods; all if there are none.
    """
    disable_progress_bar()
    set_verbosity_error()
    chosen = [Method(name) for name in methods] or list(RECIPES)
    print(f"Held-out mean before and after, and p of the rise (paired over customers); significant below {SIGNIFICANT}")
    print(f"  {'method':<8}{'held-out number':<28}{'before':>9}{'after':>9}{'p':>10}{'shuffled':>10}{'p':>10}{'s':>6}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        failed = [method.value for method in chosen if not show(bench, method)]
    if failed:
        raise SystemExit(f"not as it should be: {', '.join(failed)}")


def show(bench: Bench, method: Method) -> bool:
    """Print the method's line; whether it is as it should be."""
    recipe, requests = RECIPES[method], bench.task.held_out
    start = bench.start(recipe.start)
    began = time.monotonic()
    trained = bench.train(method)
    before, true, shuffled = (
        measures.by_customer(requests, recipe.number(model, requests))
        for model in (start, trained[TRUE], trained[SHUFFLED])
    )
    p_true, p_shuffled = measures.p_value(before, true), measures.p_value(before, shuffled)
    print(
        f"  {method.value:<8}{recipe.unit:<28}{before.mean():>9.3f}{true.mean():>9.3f}{p_true:>10.1e}"
        f"{shuffled.mean():>10.3f}{p_shuffled:>10.1e}{time.monotonic() - began:>6.0f}",
        flush=True,
    )
    return p_true < SIGNIFICANT <= p_shuffled


if __name__ == "__main__":
    main(sys.argv[1:])
