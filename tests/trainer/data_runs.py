"""Preparing the data of one stage in a folder as workspace, for the tests of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from datasets import load_from_disk

from alignment_api.contract import JobLayout, JobReference, StageLayout
from alignment_api.v1alpha1 import DataStatus, Stage
from alignment_trainer.data.stage import prepare_stage
from alignment_trainer.exceptions import DataError

PATH = "spec.stages[0]"


@dataclass
class DataRun:
    """Prepares data as Prepare does for stage ``stage`` of a job."""

    root: Path
    tokenizer: Any
    uid: str = "0123456789abcdef"

    @property
    def layout(self) -> JobLayout:
        return JobLayout(self.root, JobReference(namespace="team", name="job", uid=self.uid))

    @property
    def folders(self) -> StageLayout:
        return self.layout.stage("stage")

    def write(self, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> dict[str, Any]:
        """Write rows to the workspace; the dataset that reads them."""
        (self.root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"volume": {"path": name}}

    def prepare(self, dataset: dict[str, Any], method: str = "dpo", **options: Any) -> DataStatus:
        """Prepare a stage of ``method``; its numbers."""
        stage = Stage.model_validate({"name": "stage", "dataset": dataset, method: options})
        status = prepare_stage(stage, self.tokenizer, self.layout, PATH)
        assert status is not None
        return status

    def refused(self, dataset: dict[str, Any], method: str = "dpo", **options: Any) -> dict[str, str]:
        """The problems with which the stage is refused, by field below the stage."""
        with pytest.raises(DataError) as caught:
            self.prepare(dataset, method, **options)
        assert not self.folders.data.exists()
        assert not list((self.root / "cache").rglob("*.building"))
        return {problem.field.removeprefix(f"{PATH}."): problem.message for problem in caught.value.problems}

    def rows(self, split: str = "train") -> Any:
        """A split as trainers open it."""
        return load_from_disk(str(self.folders.data / split))

    def report(self) -> dict[str, Any]:
        """The report's numbers."""
        values: dict[str, Any] = json.loads((self.folders.report / "data.json").read_text())
        return values

    def dropped(self) -> dict[str, list[str]]:
        """The reasons for each dropped row."""
        path = self.folders.report / "dropped.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return {record["row"]: record["reasons"] for record in map(json.loads, lines)}


def pairs(count: int, start: int = 0, **columns: Any) -> list[dict[str, Any]]:
    """Preference rows, all different."""
    return [
        {"prompt": f"question {i}", "chosen": f"kind answer {i}", "rejected": f"curt {i}", **columns}
        for i in range(start, start + count)
    ]
