"""AlignmentJobs, Jobs and Pods as tests need them, in the form in which the API server returns them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from alignment_operator.planning.observed import Settings

EPOCH = datetime(2026, 11, 20, 12, tzinfo=UTC)
SETTINGS = Settings(trainer_image="registry.example.com/alignment-trainer:0.1.0")
UID = "0b7f2c1e-8d3a-4c5b-9f10-2a3b4c5d6e7f"


def at(seconds: float) -> datetime:
    """The instant that many seconds after the tests' beginning of time."""
    return EPOCH + timedelta(seconds=seconds)


def timestamp(instant: datetime) -> str:
    """As the API server writes it."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def inline_rows() -> dict[str, Any]:
    return {"inline": {"rows": [{"prompt": "p", "chosen": "c", "rejected": "r"}]}, "evalFraction": 0.1}


def pipeline_spec(**fields: Any) -> dict[str, Any]:
    """SFT, then DPO and a reward model from it, then an evaluation of both."""
    return {
        "model": {"volume": {"path": "models/tiny"}},
        "workspace": {"persistentVolumeClaim": {"claimName": "alignment"}},
        "runtime": {"nodes": 2, "resources": {"limits": {"cpu": "1"}}},
        "stages": [
            {
                "name": "sft",
                "dataset": {"volume": {"path": "data/sft.jsonl"}},
                "sft": {},
                "training": {"globalBatchSize": 8},
            },
            {
                "name": "reward",
                "model": {"fromStage": "sft"},
                "dataset": inline_rows(),
                "reward": {},
                "training": {"globalBatchSize": 8},
            },
            {
                "name": "dpo",
                "model": {"fromStage": "sft"},
                "dataset": inline_rows(),
                "dpo": {},
                "training": {"globalBatchSize": 8},
            },
            {
                "name": "check",
                "dataset": {"heldOutFromStage": "dpo"},
                "evaluate": {
                    "candidate": {"fromStage": "dpo"},
                    "baseline": {"fromStage": "sft"},
                    "judges": [{"name": "scorer", "rewardModel": {"fromStage": "reward"}}],
                    "gates": [{"metric": "winRate", "atLeast": 0.55}],
                },
            },
        ],
        **fields,
    }


def alignment_job(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """An AlignmentJob that was just created."""
    return {
        "apiVersion": "alignment.dev/v1alpha1",
        "kind": "AlignmentJob",
        "metadata": {
            "name": "assistant",
            "namespace": "team-a",
            "uid": UID,
            "generation": 1,
            "creationTimestamp": timestamp(EPOCH),
            **metadata,
        },
        "spec": pipeline_spec() if spec is None else spec,
    }


def pod(
    name: str = "pod-0",
    phase: str = "Running",
    *,
    labels: dict[str, str] | None = None,
    terminated: dict[str, Any] | None = None,
    waiting: dict[str, Any] | None = None,
    started: datetime | None = None,
    conditions: list[dict[str, Any]] | None = None,
    deletion: datetime | None = None,
    **status: Any,
) -> dict[str, Any]:
    """A Pod; its container is in the one state that is given."""
    state: dict[str, Any] = {}
    if terminated is not None:
        state = {"terminated": terminated}
    elif waiting is not None:
        state = {"waiting": waiting}
    elif phase == "Running":
        state = {"running": {"startedAt": timestamp(started or EPOCH)}}
    metadata: dict[str, Any] = {"name": name, "namespace": "team-a", "labels": labels or {}}
    if deletion is not None:
        metadata["deletionTimestamp"] = timestamp(deletion)
    return {
        "metadata": metadata,
        "spec": {"nodeName": "node-1"},
        "status": {
            "phase": phase,
            "conditions": conditions or [],
            "containerStatuses": [{"name": "trainer", "image": "trainer:1", "state": state}] if state else [],
            **status,
        },
    }
