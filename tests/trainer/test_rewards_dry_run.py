"""Rewards in Prepare: tried on the stage's own prompts, and every problem told before there is a gang."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from alignment_trainer.exceptions import ConfigurationError, FunctionError, UnavailableError
from alignment_trainer.prepared import Prepared
from alignment_trainer.rewards import dry_run, python

from ..ports import free_port
from .conftest import Workspace
from .reward_terms import online_stage
from .test_evaluation_run import save_reward_model
from .test_prepare import refused, run, sft

ROWS = [{"prompt": f"What is {i} plus {i}?", "answer": str(2 * i), "level": i} for i in range(12)]
CODE = {
    "good.py": "def reward(completions, answer): return [float(a == b) for a, b in zip(completions, answer)]",
    "short.py": "def reward(completions): return [1.0]",
    "nan.py": "def reward(completions): return [float('nan') if not text else 1 for text in completions]",
    "raises.py": "def reward(completions, level): return [n / len(text) for n, text in zip(level, completions)]",
    "hangs.py": "def reward(**_):\n  while True: pass",
    "sameness.py": "def reward(completions): return [0.5] * len(completions)",
}


@pytest.fixture(autouse=True)
def config_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "CONFIG_MAPS_MOUNT", tmp_path / "maps")
    (tmp_path / "maps" / "code").mkdir(parents=True)
    for name, text in CODE.items():
        (tmp_path / "maps" / "code" / name).write_text(text)


def code(name: str, key: str | None = None, **term: Any) -> dict[str, Any]:
    return {"name": name, "python": {"configMap": "code", "key": key or f"{name}.py"}, **term}


def grpo(*terms: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "name": "grpo",
        "dataset": {"inline": {"rows": rows or ROWS}},
        "grpo": {"rewards": list(terms), "maxCompletionLength": 16},
        "training": {"globalBatchSize": 8},
    }


def test_sound_rewards_are_tried_and_noted(workspace: Workspace) -> None:
    terms = [
        code("good"),
        {"name": "exact", "exactAnswer": {}},
        {"name": "maths", "mathAnswer": {}},
        {"name": "short", "length": {"maxTokens": 8}},
        code("sameness"),
    ]
    run(workspace, [grpo(*terms)])
    noted = json.loads((workspace.layout.stage("grpo").report / "rewards.json").read_text())
    assert len(noted["responses"]) == 24
    answered, evasive, empty = noted["responses"][:3]
    assert answered["prompt"] == f"What is {int(answered['response']) // 2} plus {int(answered['response']) // 2}?"
    assert empty["response"] == ""
    assert all(answered["rewards"][name] == 1 for name in ("good", "exact", "maths"))
    assert all(entry["rewards"][name] == 0 for name in ("good", "exact", "maths") for entry in (evasive, empty))
    assert evasive["rewards"]["short"] < 0
    warnings = {entry["name"]: entry["warning"] for entry in noted["rewards"]}
    assert "gives 0.5 to answer-like, evasive and empty responses alike" in warnings.pop("sameness")
    assert set(warnings.values()) == {None}


def test_every_problem_of_every_reward_is_told_at_once(workspace: Workspace) -> None:
    terms = [
        code("short"),
        code("good"),
        code("nan"),
        code("raises"),
        code("hangs", timeoutSeconds=2),
        {"name": "column", "exactAnswer": {"column": "solution"}},
        code("twice", "short.py"),
    ]
    second = {**grpo(code("absent", "nan.py")), "name": "other"}
    problems = refused(FunctionError, workspace, [grpo(*terms), second])
    path = "spec.stages[0].grpo.rewards"
    assert {field: message.split(" (batch")[0] for field, message in problems.items()} == {
        f"{path}[0].python": "reward 'short' returned 1 rewards for 24 responses: return one for each, or None",
        f"{path}[2].python": "reward 'nan' returned nan, which is no finite number",
        f"{path}[3].python": "reward 'raises' raised ZeroDivisionError: division by zero; raises.py line 1, in reward: "
        f"{CODE['raises.py']}; raises.py line 1, in <listcomp>: {CODE['raises.py']}",
        f"{path}[4].python": "reward 'hangs' takes longer than 2 seconds",
        f"{path}[5].exactAnswer": "reward 'column' needs a column 'solution', which the dataset lacks; its columns: "
        "answer, level",
        f"{path}[6].python": "reward 'twice' returned 1 rewards for 24 responses: return one for each, or None",
        "spec.stages[1].grpo.rewards[0].python": "reward 'absent' returned nan, which is no finite number",
    }
    for message in (problems[f"{path}[2].python"], problems[f"{path}[3].python"]):
        assert re.search(r"row 3: prompt 'What is (\d+) plus \1\?', response ''", message)


def test_a_service_that_is_down_is_unavailable(workspace: Workspace) -> None:
    term = {"name": "far", "http": {"url": f"http://127.0.0.1:{free_port()}"}, "timeoutSeconds": 1}
    problems = refused(UnavailableError, workspace, [grpo(term)])
    assert "got no answer" in problems["spec.stages[0].grpo.rewards[0].http"]
    # What the user must change decides first.
    assert len(refused(FunctionError, workspace, [grpo(term, code("short"))])) == 2


def test_a_missing_key_is_told_beside_wrong_data(workspace: Workspace) -> None:
    stages = [
        sft([{"question": "no known columns"}]),
        grpo(code("missing"), {"name": "b", "jsonSchema": {"schema": {"type": 1}}}),
    ]
    problems = refused(ConfigurationError, workspace, stages)
    assert "no key 'missing.py'; its keys: good.py, hangs.py" in problems["spec.stages[1].grpo.rewards[0].python"]
    assert "is no JSON Schema" in problems["spec.stages[1].grpo.rewards[1].jsonSchema"]
    assert any(field.startswith("spec.stages[0].dataset") for field in problems)


def test_a_reward_model_is_checked_without_being_loaded(workspace: Workspace) -> None:
    folder = workspace.root / "models" / "scorer"
    folder.mkdir()
    save_reward_model(folder)
    of = {name: {"name": name, "rewardModel": {"volume": {"path": f"models/{name}"}}} for name in ("scorer", "tiny")}
    # Weights that cannot be read do no harm.
    (folder / "model.safetensors").write_bytes(b"")
    run(workspace, [grpo(of["scorer"])])
    assert Prepared.load(workspace.layout).models["grpo"]["grpo.rewards[0].rewardModel"] == "models/scorer"
    workspace.layout.prepared.unlink()
    problems = refused(ConfigurationError, workspace, [grpo(of["scorer"], of["tiny"])])
    assert list(problems) == ["spec.stages[0].grpo.rewards[1].rewardModel"]
    assert "is LlamaForCausalLM, which scores nothing" in problems["spec.stages[0].grpo.rewards[1].rewardModel"]


def test_without_rows_rewards_are_only_built(tmp_path: Path) -> None:
    stage = online_stage([code("hangs"), code("missing")])
    (error,) = dry_run(stage, "spec.stages[0]", [], None, tmp_path)
    assert "no key 'missing.py'" in str(error)
    assert not (tmp_path / "rewards.json").exists()
