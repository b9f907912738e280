"""Prompts that a stage cannot use are refused by Prepare; and their order goes on where it was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import RunConfig
from alignment_api.v1alpha1 import AlignmentJobSpec, Method, Stage
from alignment_trainer import prepare
from alignment_trainer.exceptions import DataError
from alignment_trainer.methods import prompts

from .conftest import JOB, Workspace, stage_of
from .plain_rewards import REWARDS, prompt_rows

PATH = "spec.stages[0]"


def stage(method: Method = Method.GRPO, batch: int = 8, **member: Any) -> Stage:
    online = {"rewards": REWARDS, **member}
    return Stage.model_validate(stage_of(method, training={"globalBatchSize": batch}, **{method.value: online}))


def problems(of: Stage, rows: list[dict[str, Any]], folder: Path, model: Path) -> dict[str, str]:
    """Field -> message."""
    from datasets import Dataset
    from transformers import AutoTokenizer

    Dataset.from_list(rows).save_to_disk(str(folder / "train"))
    (folder / "complete.json").write_text("{}")
    tokenizer = AutoTokenizer.from_pretrained(str(model))
    return {problem.field: problem.message for problem in prompts.problems(of, folder, tokenizer, model, PATH)}


def test_good_prompts(tmp_path: Path, tiny_model: Path) -> None:
    assert problems(stage(generations=4, maxCompletionLength=64), prompt_rows(2), tmp_path, tiny_model) == {}


@pytest.mark.parametrize(("method", "member", "needed"), [(Method.GRPO, {"generations": 4}, 4), (Method.PPO, {}, 16)])
def test_fewer_prompts_than_a_batch_takes(
    method: Method, member: dict[str, Any], needed: int, tmp_path: Path, tiny_model: Path
) -> None:
    online = stage(method, batch=16, maxCompletionLength=64, **member)
    assert problems(online, prompt_rows(3), tmp_path, tiny_model) == {
        f"{PATH}.training.globalBatchSize": f"a batch takes {needed} prompts, and there are 3: make it smaller, or add "
        "prompts"
    }


def test_columns_that_reward_functions_would_not_get(tmp_path: Path, tiny_model: Path) -> None:
    rows = [row | {"completion": "right", "answer": "right"} for row in prompt_rows(2)]
    found = problems(stage(generations=4, maxCompletionLength=64), rows, tmp_path, tiny_model)
    assert list(found) == [f"{PATH}.dataset.columns"]
    assert "such as {the_completion: completion}" in found[f"{PATH}.dataset.columns"]


def test_prompts_that_leave_no_room_for_a_response(tmp_path: Path, tiny_model: Path) -> None:
    rows = prompt_rows(4)
    rows[1]["prompt"] = [{"role": "user", "content": "red " * 50}]
    found = problems(stage(generations=4, maxCompletionLength=200), rows, tmp_path, tiny_model)
    message = found[f"{PATH}.grpo.maxCompletionLength"]
    assert message.startswith("1 of the prompts, the longest of 103 tokens, leave no room for responses of 200 tokens ")
    assert "context of 256: set it to 153 or less" in message


def test_prepare_refuses_them(workspace: Workspace) -> None:
    spec = AlignmentJobSpec.model_validate(
        {
            "model": {"volume": {"path": "models/tiny"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "stages": [
                {
                    "name": "online",
                    "dataset": {"inline": {"rows": [{"prompt": "say red", "images": "none"}]}},
                    "training": {"globalBatchSize": 8},
                    "grpo": {"generations": 4, "maxCompletionLength": 256, "rewards": REWARDS},
                }
            ],
        }
    )
    with pytest.raises(DataError) as refused:
        prepare.main(RunConfig(job=JOB, spec=spec), workspace.layout)
    assert {problem.field for problem in refused.value.problems} == {
        f"{PATH}.training.globalBatchSize",
        f"{PATH}.dataset.columns",
        f"{PATH}.grpo.maxCompletionLength",
    }


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_order_of_prompts_goes_on_in_a_later_epoch(shuffle: bool) -> None:
    from trl.trainer.utils import RepeatSampler

    from alignment_trainer.methods.rollouts import EpochOrder

    def sampler() -> Any:
        return RepeatSampler(range(7), mini_repeat_count=2, batch_size=3, repeat_count=2, shuffle=shuffle, seed=5)

    uninterrupted = sampler()
    epochs = [list(uninterrupted) for _ in range(3)]
    for epoch, expected in enumerate(epochs):
        resumed = EpochOrder(sampler(), lambda epoch=epoch: epoch)  # type: ignore[misc]
        assert list(resumed) == expected
        assert len(resumed) == len(expected)
