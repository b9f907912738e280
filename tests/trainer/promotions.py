"""A job in a workspace whose evaluation is over, as promotions find it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alignment_api.contract import JobLayout, JobReference, RunConfig
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import AlignmentJobSpec, DataStatus, GateStatus
from alignment_api.v1alpha1.evaluation import Generation
from alignment_trainer.attempt_record import AttemptRecord
from alignment_trainer.completion import list_files, write_marker
from alignment_trainer.evaluation.results import (
    RESULTS,
    CandidateResult,
    EvaluationResults,
    MetricResult,
    ModelResult,
    Number,
    Tally,
)
from alignment_trainer.models.export import ADAPTER_FOLDER, ModelMarker, weights_digest
from alignment_trainer.prepared import Prepared

JOB = JobReference(namespace="team", name="assistant", uid="0123456789abcdef")
COMMIT = "c0ffee" * 6 + "0123"
BASE = f"cache/hub/models--org--base/snapshots/{COMMIT}"
BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)
TRAINED, CHECKED = "sft", "check"


def save_export(folder: Path) -> None:
    """Files like those of a model and its adapter, for tests that load none."""
    import numpy
    from safetensors.numpy import save_file

    (folder / ADAPTER_FOLDER).mkdir()
    for path, seed in ((folder / "model.safetensors", 1), (folder / ADAPTER_FOLDER / "adapter_model.safetensors", 2)):
        save_file({"weight": numpy.random.default_rng(seed).random(50_000, numpy.float32)}, path)
    for name, content in (
        ("config.json", {"model_type": "llama", "dtype": "float32"}),
        ("tokenizer.json", {}),
        (f"{ADAPTER_FOLDER}/adapter_config.json", {"base_model_name_or_path": "/workspace/cache"}),
    ):
        (folder / name).write_text(json.dumps(content))


def save_adapter(base: Path, folder: Path) -> None:
    """What a stage with an adapter exports: the merged model and, in ``adapter/``, the adapter alone."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(3)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    model.save_pretrained(folder / ADAPTER_FOLDER)
    (folder / ADAPTER_FOLDER / "README.md").unlink()
    model.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


class FinishedJob:
    """A job of a stage that trained an adapter and one that evaluated it.

    Args:
        workspace: root of its volume.
        base: folder of the model it started from, which it had from the hub.
        model: folder with what its stage exported.
    """

    def __init__(self, workspace: Path, base: Path, model: Path, job: JobReference = JOB) -> None:
        self.layout = JobLayout(workspace, job)
        self.trained = self.layout.stage(TRAINED)
        self.checked = self.layout.stage(CHECKED)
        if not (workspace / BASE).exists():
            shutil.copytree(base, workspace / BASE)
        shutil.copytree(model, self.trained.model)
        self.complete_model()
        self.write_results()
        self._write_attempts()
        self._write_data()

    def config(self, *to: dict[str, Any], **spec: Any) -> RunConfig:
        """The job's configuration, that promotes to these places."""
        stages: list[dict[str, Any]] = [
            {
                "name": TRAINED,
                "dataset": {"huggingFace": {"name": "org/pairs"}},
                "sft": {},
                "adapter": {"lora": {"rank": 4}},
            },
            {
                "name": CHECKED,
                "dataset": {"heldOutFromStage": TRAINED},
                "evaluate": {
                    "candidate": {"fromStage": TRAINED},
                    "baseline": {"huggingFace": {"repository": "org/base"}},
                    "judges": [{"name": "form", "heuristic": {}}],
                    "gates": [{"metric": "winRate", "atLeast": 0.55, "confidence": 0.9}],
                },
            },
        ]
        promotion = {"to": list(to), "artifact": spec.pop("artifact", "model")}
        content = {
            "model": {"huggingFace": {"repository": "org/base"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "stages": stages,
            "promotion": promotion,
        }
        return RunConfig(job=self.layout.job, spec=AlignmentJobSpec.model_validate(content | spec))

    def complete_model(self) -> None:
        """Write the completion marker of what the stage exported."""
        folder = self.trained.model
        files = list_files(folder)
        write_marker(folder, ModelMarker(files=files, digest=weights_digest(folder)))

    def write_results(self, *, passed: bool = True, gates: int = 1, path: str | None = None) -> None:
        """Write what the evaluation found; ``path`` is of a candidate that no stage made."""
        gate = GateStatus(
            metric="winRate", judge="form", passed=passed, value=0.71, lower=0.6, upper=0.8, confidence=0.9,
            at_least=0.55, samples=40,
        )  # fmt: skip
        number = Number(value=0.71, lower=0.6, upper=0.8)
        model = self.layout.relative(self.trained.model)
        candidate = CandidateResult(
            name="candidate",
            path=path or model,
            adapter_path=f"{model}/{ADAPTER_FOLDER}" if path is None else None,
            digest=weights_digest(self.trained.model) if path is None else None,
            response_tokens=4000,
            chosen=True,
            passed=passed,
            metrics=[
                MetricResult(metric="winRate", of="form", own=number, samples=40),
                MetricResult(metric="kl", problem="the baseline | gave no probabilities"),
            ],
            gates=[gate] * gates,
            tallies=[Tally(judge="form", wins=26, ties=5, losses=9)],
        )
        results = EvaluationResults(
            stage=CHECKED, attempt=1, prompts=40, pairs=0, generation=Generation(), engine="transformers", processes=1,
            baseline=ModelResult(name="baseline", path=BASE, response_tokens=3000), candidates=[candidate],
            judges=[], costs=[], seconds=12, tokens=7000,
        )  # fmt: skip
        self.checked.report.mkdir(parents=True, exist_ok=True)
        (self.checked.report / RESULTS).write_text(results.model_dump_json(by_alias=True))

    def _write_attempts(self) -> None:
        for minutes, stage, number, code in ((0, TRAINED, 1, 75), (5, TRAINED, 2, 0), (10, CHECKED, 1, 0)):
            attempt = self.layout.stage(stage).attempt(number)
            AttemptRecord(
                started_at=BEGAN + timedelta(minutes=minutes), ended_at=BEGAN + timedelta(minutes=minutes + 4),
                nodes=1, processes_per_node=1, gpus_per_node=0, exit_code=ExitCode(code),
            ).write(attempt)  # fmt: skip
            if stage == TRAINED:
                options = {"learning_rate": {"value": 2e-4, "by": "default"}}
                resolved = {"seed": 42, "options": options, "versions": {"torch": "2.13.0", "trl": "1.16.0"}}
                attempt.resolved.write_text(json.dumps(resolved))

    def _write_data(self) -> None:
        for split in ("train", "eval"):
            folder = self.trained.data / split
            folder.mkdir(parents=True)
            (folder / "data-00000.arrow").write_text(f"rows to {split}")
        numbers = DataStatus(rows=60, train_rows=50, eval_rows=10, invalid_rows=0, truncated_rows=3, tokens=900)
        model = self.layout.relative(self.trained.model)
        Prepared(
            models={
                TRAINED: {"model": BASE},
                CHECKED: {"evaluate.candidate": model, "evaluate.baseline": BASE},
            },
            data={TRAINED: numbers},
        ).save(self.layout)
