"""Groups of responses must fill the batches of GRPO and RLOO."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.validation import validate_spec

REWARDS = [{"name": "short", "length": {"maxTokens": 64}}]


def problems(
    generations: int, batch: int, micro: int, processes: int, method: str = "grpo", **arguments: Any
) -> dict[str, str]:
    """Field -> message of what is wrong with a stage of such a batch."""
    spec = AlignmentJobSpec.model_validate(
        {
            "model": {"volume": {"path": "models/base"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "workspace"}},
            "runtime": {"processesPerNode": processes},
            "stages": [
                {
                    "name": "online",
                    "dataset": {"volume": {"path": "prompts.jsonl"}},
                    "training": {"globalBatchSize": batch, "microBatchSize": micro},
                    "trainerArgs": arguments,
                    method: {"generations": generations, "rewards": REWARDS},
                }
            ],
        }
    )
    return {problem.field.removeprefix("spec.stages[0]."): problem.message for problem in validate_spec(spec)}


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_group_that_does_not_fill_the_batch(method: str) -> None:
    assert problems(8, 20, 1, 4, method) == {
        "training.globalBatchSize": f"20 responses are not a multiple of {method}.generations 8 and of microBatchSize "
        "1 x nodes 1 x processesPerNode 4 = 4: use 16 or 24, or change one of the factors"
    }


def test_groups_may_span_processes() -> None:
    assert problems(8, 64, 2, 8) == {}


@given(st.integers(2, 12), st.integers(1, 100), st.integers(1, 4), st.integers(1, 6))
def test_the_sizes_that_are_proposed_are_right(generations: int, batch: int, micro: int, processes: int) -> None:
    found = problems(generations, batch, micro, processes)
    fits = batch % generations == 0 and batch % (micro * processes) == 0
    assert (found == {}) is fits
    if not fits:
        proposal = re.search(r"use (\d+)(?: or (\d+))?,", found["training.globalBatchSize"])
        assert proposal is not None
        for size in filter(None, proposal.groups()):
            assert problems(generations, int(size), micro, processes) == {}


def test_a_generation_batch_of_the_users_own_holds_whole_groups() -> None:
    assert problems(8, 16, 1, 2, generation_batch_size=64) == {}
    found = problems(8, 16, 1, 2, generation_batch_size=60)
    assert found["trainerArgs.generation_batch_size"].endswith("use 56 or 64")


def test_groups_of_held_out_prompts_fill_the_evaluation_batch() -> None:
    assert problems(8, 16, 2, 2, num_generations_eval=1) == {}
    assert problems(8, 16, 2, 2, num_generations_eval=8, per_device_eval_batch_size=4) == {}
    found = problems(8, 16, 2, 2, num_generations_eval=8)
    assert found["trainerArgs.num_generations_eval"] == (
        "groups of 8 responses do not fill per_device_eval_batch_size 2 x 2 processes: use 1, or set "
        "per_device_eval_batch_size to 4"
    )
