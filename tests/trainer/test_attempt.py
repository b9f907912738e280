"""The shape of an attempt, from the container's arguments to what its processes read; whole steps on every gang."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from alignment_api.contract import RunConfig
from alignment_api.v1alpha1 import AlignmentJobSpec, Method
from alignment_trainer.attempt import Attempt
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.launch.accelerate_config import Rendezvous, accelerate_config
from alignment_trainer.training_arguments import gradient_accumulation_steps

from .conftest import JOB, TRAINING, stage_of

ATTEMPTS = [
    Attempt("sft", 1),
    Attempt("sft", 7, nodes=1),
    Attempt("sft", 2, micro_batch_size=1, resumes=True),
    Attempt("sft", 3, nodes=1, micro_batch_size=1, resumes=True),
]


@pytest.fixture
def config() -> RunConfig:
    spec = {
        "model": {"volume": {"path": "models/tiny"}},
        "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
        "runtime": {"nodes": 2},
        "stages": [stage_of(Method.SFT, training=TRAINING | {"globalBatchSize": 8})],
    }
    return RunConfig(job=JOB, spec=AlignmentJobSpec.model_validate(spec))


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_processes_are_told_what_the_container_was(attempt: Attempt) -> None:
    parser = argparse.ArgumentParser()
    Attempt.add_arguments(parser)
    assert Attempt.of(parser.parse_args(attempt.arguments())) == attempt


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_the_global_batch_stays(config: RunConfig, attempt: Attempt) -> None:
    spec = attempt.applied_to(config).spec
    stage = spec.stage("sft")
    runtime, training = spec.runtime_of(stage), stage.training
    processes = (attempt.nodes or 2) * runtime.processes_per_node
    launcher = accelerate_config(runtime, Rendezvous("host", 1, 0), Device(Accelerator.CPU, 1), Path("deepspeed.json"))
    assert launcher["num_processes"] == processes
    assert training.micro_batch_size == (attempt.micro_batch_size or 2)
    assert training.micro_batch_size * processes * gradient_accumulation_steps(training, runtime) == 8


def test_an_impossible_shape_is_refused(config: RunConfig) -> None:
    with pytest.raises(ConfigurationError, match="--micro-batch-size: 0 is not a positive number"):
        Attempt("sft", 1, micro_batch_size=0).applied_to(config)


@pytest.mark.parametrize("rows", [5, 16, 18])
def test_steps_have_the_same_rows_on_every_gang(rows: int) -> None:
    """Rows of each step of two epochs, for gangs of different sizes and micro batches."""
    from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler
    from torch.utils.data import BatchSampler

    from alignment_trainer.whole_steps import WholeSteps

    def steps(processes: int, micro_batch: int) -> list[list[int]]:
        order = WholeSteps(SeedableRandomSampler(range(rows), data_seed=7), 8)
        shards = [
            BatchSamplerShard(BatchSampler(order, micro_batch, drop_last=False), processes, process)
            for process in range(processes)
        ]
        found: list[list[int]] = []
        for epoch in range(2):
            order.set_epoch(epoch)
            taken = []
            for shard in shards:
                taken.append(list(shard))
                order.set_epoch(epoch)
            drawn = [row for batches in zip(*taken, strict=True) for batch in batches for row in batch]
            found += [sorted(drawn[start : start + 8]) for start in range(0, len(drawn), 8)]
        return found

    expected = steps(1, 8)
    assert all(len(step) == 8 for step in expected)
    assert len(expected) == 2 * -(-rows // 8)
    assert {row for step in expected for row in step} == set(range(rows))
    for processes, micro_batch in [(1, 1), (1, 4), (2, 2), (2, 4), (4, 1), (4, 2), (8, 1)]:
        assert steps(processes, micro_batch) == expected
