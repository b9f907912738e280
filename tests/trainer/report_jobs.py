"""Workspaces of jobs that have run, as the trainer leaves them, for the tests of the job's report."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alignment_api.contract import JobLayout, JobReference, Progress, RunConfig, StageLayout, Summary, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import AlignmentJobSpec, GateStatus
from alignment_api.v1alpha1.evaluation import Generation
from alignment_trainer.attempt_record import AttemptRecord, reason_of
from alignment_trainer.evaluation.results import (
    RESPONSES,
    RESULTS,
    Agreement,
    CandidateResult,
    ChangedPrompt,
    Cost,
    EvaluationResults,
    JudgeResult,
    MetricResult,
    ModelResult,
    Number,
    Tally,
)
from alignment_trainer.launch import evidence
from alignment_trainer.launch.masking import Mask

JOB = JobReference(namespace="team", name="support-assistant", uid="0123456789abcdef")
BEGAN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
PREFERENCES = {"huggingFace": {"name": "Anthropic/hh-rlhf"}, "format": "hhRlhf", "evalFraction": 0.02}
SPEC: dict[str, Any] = {
    "model": {"huggingFace": {"repository": "meta-llama/Llama-3.1-8B"}},
    "workspace": {"persistentVolumeClaim": {"claimName": "alignment"}},
    "runtime": {"nodes": 2, "processesPerNode": 8, "resources": {"limits": {"nvidia.com/gpu": 8}}},
    "stages": [
        {"name": "sft", "dataset": {"volume": {"path": "data/demonstrations.jsonl"}}, "sft": {}},
        {"name": "reward", "model": {"fromStage": "sft"}, "dataset": PREFERENCES, "reward": {}},
        {"name": "dpo", "model": {"fromStage": "sft"}, "dataset": PREFERENCES, "dpo": {}},
        {"name": "simpo", "model": {"fromStage": "sft"}, "dataset": PREFERENCES, "simpo": {}},
        {
            "name": "check",
            "dataset": {"heldOutFromStage": "reward"},
            "evaluate": {
                "candidates": [
                    {"name": "dpo", "model": {"fromStage": "dpo"}},
                    {"name": "simpo", "model": {"fromStage": "simpo"}},
                ],
                "baseline": {"fromStage": "sft"},
                "judges": [{"name": "reward", "rewardModel": {"fromStage": "reward"}}],
                "gates": [{"metric": "winRate", "atLeast": 0.55, "confidence": 0.95}],
            },
        },
    ],
    "promotion": {
        "to": [{"volume": {"path": "models/assistant"}}, {"s3": {"bucket": "models", "prefix": "support/assistant"}}]
    },
}


@dataclass
class Job:
    """A job and its workspace."""

    config: RunConfig
    layout: JobLayout

    @classmethod
    def on(cls, workspace: Path, spec: Mapping[str, Any] | None = None) -> Job:
        """A job of which nothing has run yet."""
        config = RunConfig(job=JOB, spec=AlignmentJobSpec.model_validate(spec or SPEC))
        layout = JobLayout(workspace=workspace, job=JOB)
        layout.root.mkdir(parents=True)
        return cls(config, layout)

    def stage(self, name: str) -> StageLayout:
        return self.layout.stage(name)

    def attempt(
        self,
        stage: str,
        number: int,
        *,
        minutes: tuple[float, float],
        steps: range,
        total: int,
        exit_code: int | None = ExitCode.OK,
        message: str = "",
        resumed_from: int | None = None,
        metrics: Sequence[str] = ("loss", "grad_norm", "learning_rate"),
    ) -> None:
        """An attempt that ran from one minute after the job's beginning to another; None: it was lost."""
        own = self.stage(stage).attempt(number)
        own.root.mkdir(parents=True)
        draw = random.Random(f"{stage}{number}")
        with own.metrics.open("w") as file:
            for step in steps:
                share = (step - steps.start) / max(1, len(steps) * steps.step)
                time = BEGAN + timedelta(minutes=minutes[0] + share * (minutes[1] - minutes[0]))
                values = {name: value_at(name, step, total, draw) for name in metrics}
                file.write(json.dumps({"time": time.isoformat(), "step": step} | values) + "\n")
        progress = Progress(
            stage=stage,
            attempt=number,
            phase=TrainerPhase.TRAINING,
            step=steps[-1] if steps else 0,
            total_steps=total,
            tokens=8192 * (steps[-1] if steps else 0),
            updated_at=BEGAN,
        )
        record = AttemptRecord(
            started_at=BEGAN + timedelta(minutes=minutes[0]), nodes=2, processes_per_node=8, gpus_per_node=8
        )
        if exit_code is not None:
            summary = Summary(exit_code=exit_code, message=message, progress=progress)
            record = record.ended(summary).model_copy(update={"ended_at": BEGAN + timedelta(minutes=minutes[1])})
            assert record.reason == reason_of(exit_code)
            if exit_code != ExitCode.OK:
                evidence.keep(own.evidence, 0, summary, "the end of the output", {}, Mask(()))
        record.write(own)
        resolved = {
            "seed": 42,
            "resumedFrom": resumed_from or 0,
            "versions": {"torch": "2.9.0", "trl": "1.16.0", "transformers": "5.1.0"},
            "options": {
                "learning_rate": {"value": 5e-07, "by": "training.learningRate"},
                "beta": {"value": 0.1, "by": "dpo.beta"},
                "adam_epsilon": {"value": 1e-08, "by": "trl"},
            },
        }
        own.resolved.write_text(json.dumps(resolved))

    def model(self, stage: str) -> None:
        """The stage's model, complete."""
        folder = self.stage(stage).model
        folder.mkdir(parents=True)
        marker = {"files": {"model.safetensors": {"size": 16_060_522_000}}, "digest": "sha256:" + "ab" * 32}
        (folder / "complete.json").write_text(json.dumps(marker))

    def data(self, stage: str, **values: Any) -> None:
        """The stage's data report."""
        folder = self.stage(stage).report
        folder.mkdir(parents=True, exist_ok=True)
        report = {
            "stage": stage,
            "source": "Anthropic/hh-rlhf, split train",
            "format": "hhRlhf",
            "sources": [],
            "rows": 160_800,
            "trainRows": 157_000,
            "evalRows": 3_216,
            "invalidRows": 12,
            "droppedRows": 0,
            "duplicateRows": 240,
            "tokens": 38_412_551,
            "truncatedRows": 1_204,
            "leakedRows": 3,
            "chosenLongerFraction": 0.57,
            "limits": [
                {"field": "maxDuplicateFraction", "counts": "rows that repeat an earlier one", "rows": 240}
                | {"of": 160_788, "fraction": 0.001493, "limit": 0.01, "examples": ["row 7"]},
                {"field": "maxTruncatedFraction", "counts": "rows longer than maxLength", "rows": 1204}
                | {"of": 160_788, "fraction": 0.007488, "examples": []},
            ],
            "dropped": [{"reason": "the chosen response is empty", "rows": 12, "examples": ["row 12"]}],
            "samples": [],
        }
        (folder / "data.json").write_text(json.dumps(report | values))

    def evaluation(self, results: EvaluationResults, records: Sequence[Mapping[str, Any]]) -> None:
        """What the evaluation found."""
        folder = self.stage(results.stage).report
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULTS).write_text(results.model_dump_json(by_alias=True, exclude_none=True))
        (folder / RESPONSES).write_text("".join(json.dumps(record) + "\n" for record in records))


def value_at(name: str, step: int, total: int, draw: random.Random) -> float:
    """A metric as trainings show it."""
    share = step / max(1, total)
    if "loss" in name:
        return 0.69 * math.exp(-2.2 * share) + 0.12 + draw.gauss(0, 0.02)
    if name == "learning_rate":
        return 5e-7 * min(1.0, step / max(1, 0.1 * total)) * 0.5 * (1 + math.cos(math.pi * share))
    if name == "grad_norm":
        return 1.5 + abs(draw.gauss(0, 0.4)) + (6 if step == total // 3 else 0)
    if "accuracies" in name:
        return min(1.0, 0.5 + 0.3 * share + draw.gauss(0, 0.04))
    if "rejected" in name:
        return -1.6 * share + draw.gauss(0, 0.06)
    return 0.9 * share + draw.gauss(0, 0.05)


PREFERENCE_METRICS = (
    "loss",
    "eval_loss",
    "grad_norm",
    "learning_rate",
    "rewards/margins",
    "rewards/accuracies",
    "rewards/chosen",
    "rewards/rejected",
)


def whole_job(workspace: Path, *, steps: int = 600, prompts: int = 240) -> Job:
    """A pipeline that ran to its end: a restart after a lost node, one after a hung collective, two candidates."""
    job = Job.on(workspace)
    every = max(1, steps // 300)
    job.attempt("sft", 1, minutes=(4, 60), steps=range(every, steps + 1, every), total=steps)
    job.attempt("reward", 1, minutes=(61, 80), steps=range(5, 201, 5), total=200, metrics=("loss", "eval_loss"))
    third = steps // 3 // every * every
    options: dict[str, Any] = {"total": steps, "metrics": PREFERENCE_METRICS}
    job.attempt("dpo", 1, minutes=(82, 95), steps=range(every, third + 1, every), exit_code=None, **options)
    job.attempt(
        "dpo",
        2,
        minutes=(96, 110),
        steps=range(third - 9 * every, 2 * third + 1, every),
        resumed_from=third - 10 * every,
        exit_code=ExitCode.COMMUNICATION_ERROR,
        message="rank 3: a collective timed out after 1800 s; rank 11 in forward (model.py:88)",
        **options,
    )
    job.attempt(
        "dpo",
        3,
        minutes=(111, 130),
        steps=range(2 * third - 4 * every, steps + 1, every),
        resumed_from=2 * third - 5 * every,
        **options,
    )
    job.attempt("simpo", 1, minutes=(131, 170), steps=range(every, steps + 1, every), **options)
    job.attempt("check", 1, minutes=(171, 190), steps=range(prompts, prompts + 1), total=prompts, metrics=("winRate",))
    for stage in ("sft", "reward", "dpo", "simpo"):
        job.model(stage)
        job.data(stage)
    job.data("check", trainRows=0, evalRows=prompts)
    prepared = {
        "models": {
            "sft": {
                "model": "cache/models--meta-llama--Llama-3.1-8B/snapshots/d04e592bb4f6aa9cfee91e2e20afa771667e1d4b"
            },
            "dpo": {"model": job.layout.relative(job.stage("sft").model)},
        }
    }
    job.layout.prepared.write_text(json.dumps(prepared))
    job.evaluation(results_of(prompts), [record(number) for number in range(prompts)])
    job.layout.lineage.write_text(
        json.dumps(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": "model.safetensors", "digest": {"sha256": "ab" * 32}}],
                "predicateType": "https://slsa.dev/provenance/v1",
                "predicate": {"buildDefinition": {"externalParameters": {"job": "team/support-assistant"}}},
            }
        )
    )
    return job


def results_of(prompts: int) -> EvaluationResults:
    """What an evaluation of two candidates found, of which the second one passes."""

    def number(value: float, width: float) -> Number:
        return Number(value=value, lower=value - width, upper=value + width)

    def candidate(name: str, win_rate: float, *, chosen: bool) -> CandidateResult:
        gates = [
            GateStatus(
                metric="winRate",
                judge="reward",
                passed=win_rate - 0.06 >= 0.55,
                value=win_rate,
                lower=win_rate - 0.06,
                upper=win_rate + 0.06,
                confidence=0.95,
                at_least=0.55,
                samples=prompts,
            ),
            GateStatus(
                metric="perplexity",
                measure="wiki",
                relative_to_baseline="ratio",
                passed=True,
                value=1.012,
                lower=1.004,
                upper=1.02,
                at_most=1.05,
                samples=400,
            ),
            GateStatus(
                metric="kl", passed=chosen, value=0.031, lower=0.027, upper=0.034, at_most=0.05, samples=prompts
            ),
        ]
        metrics = [
            MetricResult(metric="winRate", of="reward", own=number(win_rate, 0.06), samples=prompts),
            MetricResult(metric="winRate", of="gpt", own=number(win_rate - 0.03, 0.07), samples=prompts - 5),
            MetricResult(
                metric="responseTokens",
                own=number(188.4, 9),
                baseline=number(141.2, 8),
                difference=number(47.2, 6),
                samples=prompts,
            ),
            MetricResult(
                metric="perplexity",
                of="wiki",
                own=number(8.91, 0.2),
                baseline=number(8.8, 0.2),
                difference=number(0.11, 0.02),
                samples=400,
            ),
            MetricResult(metric="task", of="arc", problem="the task's data is not in the workspace"),
        ]
        wins, ties = round(prompts * (win_rate - 0.05)), round(prompts * 0.1)
        return CandidateResult(
            name=name,
            path=f"jobs/team/support-assistant-01234567/{name}/model",
            response_tokens=188 * prompts,
            chosen=chosen,
            passed=all(gate.passed for gate in gates),
            metrics=metrics,
            gates=gates,
            tallies=[
                Tally(judge="reward", wins=wins, ties=ties, losses=prompts - wins - ties),
                Tally(judge="gpt", wins=wins - 8, ties=ties, losses=prompts - wins - ties + 3, without_verdict=5),
            ],
            agreements=[Agreement(judges=("reward", "gpt"), kappa=number(0.61, 0.08), samples=prompts - 5)],
            changed=[ChangedPrompt(prompt=number, similarity=number / prompts) for number in range(min(20, prompts))],
        )

    return EvaluationResults(
        stage="check",
        attempt=1,
        prompts=prompts,
        pairs=prompts,
        generation=Generation(),
        engine="transformers",
        processes=16,
        baseline=ModelResult(name="baseline", path="sft", response_tokens=141 * prompts),
        candidates=[candidate("dpo", 0.58, chosen=False), candidate("simpo", 0.66, chosen=True)],
        judges=[
            JudgeResult(name="reward", kind="rewardModel"),
            JudgeResult(
                name="gpt",
                kind="llm",
                calls=4 * prompts,
                tokens_in=583_112,
                tokens_out=28_892,
                reused=31,
                inconsistent=0.08,
                first_place=0.53,
            ),
        ],
        costs=[Cost(part="responses", items=3 * prompts, seconds=812.0)],
        seconds=1100.0,
        tokens=517 * prompts,
    )


_SENTENCES = (
    "You can return the order within 30 days of delivery. Open your account, choose the order and select Return.",
    "I am sorry that the parcel has not arrived. The carrier says that it left the depot on Monday.",
    "To reset the router, hold the small button on its back for ten seconds, until the light turns amber.",
    "Please do not share your password with anybody, not even with us. We will never ask for it.",
)


def record(number: int) -> dict[str, Any]:
    """One line of responses.jsonl."""
    draw = random.Random(number)
    base = " ".join(draw.sample(_SENTENCES, 2))
    better = base.replace("You can", "Of course, you can").replace("ten seconds", "about fifteen seconds")
    answers = {"baseline": base, "dpo": better, "simpo": f"Happy to help! {better} {draw.choice(_SENTENCES)}"}
    outcomes = {"dpo": draw.choice((0.0, 0.5, 1.0)), "simpo": draw.choice((0.5, 1.0))}
    return {
        "prompt": [
            {"role": "system", "content": "You are the support assistant of a shop."},
            {"role": "user", "content": f"Order {1000 + number}: where is my parcel, and can I still send it back?"},
        ],
        "responses": {
            name: {"text": text, "tokens": len(text) // 4, "finishReason": "stop"} for name, text in answers.items()
        },
        "judges": {
            "reward": {
                "scores": {"baseline": 0.4, "dpo": 0.6, "simpo": 1.3},
                "outcomes": outcomes,
                "reasons": {},
            },
            "gpt": {
                "scores": {},
                "outcomes": outcomes,
                "reasons": {"simpo": "candidate as A, better A: it is warmer and says what to do next", "dpo": None},
            },
        },
    }
