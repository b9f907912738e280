"""Every job of bad_jobs.yaml ends in Prepare, with an error that names the field and the row, and no gang can start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_api.contract import RunConfig
from alignment_api.v1alpha1 import ONLINE_METHODS, AlignmentJobSpec, Method
from alignment_api.v1alpha1.validation import validate_spec
from alignment_trainer import exceptions, prepare

from .conftest import JOB, Workspace

_CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "bad_jobs.yaml").read_text())
_GOOD_ROWS = [{"prompt": f"say {number}", "chosen": f"kind {number}", "rejected": "curt"} for number in range(8)]

_ROOM = {method: {"maxCompletionLength": 16} for method in ONLINE_METHODS}  # in the tiny model's context


def _rows(method: Method) -> list[dict[str, str]]:
    """Rows that are sound for ``method``."""
    if method is Method.SFT:
        return [{"prompt": row["prompt"], "completion": row["chosen"]} for row in _GOOD_ROWS]
    if method in ONLINE_METHODS:
        return [{"prompt": row["prompt"]} for row in _GOOD_ROWS]
    return _GOOD_ROWS


def _spec(case: dict[str, Any]) -> AlignmentJobSpec:
    method = Method(case["method"])
    rows = case.get("rows", _rows(method))
    stage = {
        "name": method.value,
        "dataset": case.get("dataset", {"inline": {"rows": rows}}),
        "training": {"globalBatchSize": 8, "microBatchSize": 8},
        method.value: _ROOM.get(method, {}) | case.get("options", {}),
    }
    spec = {
        "model": {"volume": {"path": "models/tiny"}},
        "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
        "stages": [stage | case.get("stage", {})],
    }
    return AlignmentJobSpec.model_validate(spec | case.get("spec", {}))


def _write_files(workspace: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def config_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where Pods find ConfigMaps, for this process."""
    folder = tmp_path / "config-maps"
    monkeypatch.setattr("alignment_trainer.rewards.python.CONFIG_MAPS_MOUNT", folder)
    return folder


def test_there_are_at_least_sixty_cases_and_every_method_has_some() -> None:
    assert len({case["case"] for case in _CASES}) == len(_CASES) >= 60
    assert {case["method"] for case in _CASES} == {method.value for method in Method} - {"evaluate"}


@pytest.mark.parametrize("case", _CASES, ids=[case["case"] for case in _CASES])
def test_prepare_refuses(workspace: Workspace, config_maps: Path, case: dict[str, Any]) -> None:
    spec = _spec(case)
    assert validate_spec(spec) == [], "the operator would refuse it without Prepare"
    _write_files(workspace.root, case.get("files", {}))
    _write_files(config_maps, {"code/reward.py": case.get("code", "")})
    with pytest.raises(exceptions.TrainerError) as refused:
        prepare.main(RunConfig(job=JOB, spec=spec), workspace.layout)
    assert type(refused.value) is getattr(exceptions, case.get("kind", "DataError")), str(refused.value)
    messages = {problem.field: problem.message for problem in refused.value.problems}
    assert case["field"] in messages, messages
    for words in case["says"]:
        assert words in messages[case["field"]], messages
    assert not workspace.layout.prepared.exists()
