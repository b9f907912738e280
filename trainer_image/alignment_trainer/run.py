"""One training process, started by ``accelerate launch``: runs its share of a stage and says how it ended."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from alignment_api.contract import JobLayout, RunConfig
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method

from . import device, storage
from .attempt import Attempt
from .environment import Environment
from .exceptions import TrainerError
from .failures.classify import is_collective_timeout, of_exception
from .lean_imports import without_bitsandbytes, without_garbage_collection
from .run_files import Outcome, RunFiles

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage and end the process.

    The process ends at once, without waiting for threads or peers: after a failure, destructors of process groups may
    wait for processes that no longer answer.
    """
    parser = argparse.ArgumentParser(prog="python -m alignment_trainer.run", description=__doc__)
    Attempt.add_arguments(parser)
    attempt = Attempt.of(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    faulthandler.enable()  # a crash, or NCCL's abort after a timeout, leaves its stacks in the output
    files = RunFiles.of_this_process()
    rank = int(os.environ.get("RANK", "0"))
    files.enlist(rank)
    try:
        environment = Environment.read()
        config = attempt.applied_to(environment.load_config())
        with storage.explained(environment.workspace):
            outcome = _run_stage(config, environment.workspace, attempt, rank)
    except Exception as error:
        traceback.print_exc()
        cause = of_exception(error)
        problems = list(error.problems) if isinstance(error, TrainerError) else []
        outcome = Outcome(
            rank=rank, exit_code=cause.exit_code, time=time.time(), message=cause.message, problems=problems
        )
    files.write_outcome(outcome)
    if is_collective_timeout(outcome.message):
        files.wait_for_stacks()  # once this process has ended, the launcher ends the one it waited for
    sys.stdout.flush()
    sys.stderr.flush()
    # A preempted process ends like one that finished: the launcher would kill its peers on any other code.
    os._exit(ExitCode.OK if outcome.exit_code is ExitCode.PREEMPTED else outcome.exit_code)


def _run_stage(config: RunConfig, workspace: Path, attempt: Attempt, rank: int) -> Outcome:
    stage = config.spec.stage(attempt.stage)
    layout = JobLayout(workspace=workspace, job=config.job)
    if stage.adapter is None or stage.adapter.quantization is None:
        without_bitsandbytes()
    if stage.method is Method.EVALUATE:
        with without_garbage_collection():
            from .distributed import join_gang
            from .evaluation import stage as evaluation

        join_gang(device.detect(), config.spec.runtime_of(stage))
        decision = evaluation.run(config, layout, stage, attempt.number)
        return Outcome(
            rank=rank,
            exit_code=ExitCode.OK,
            time=time.time(),
            gates=decision.gates,
            candidates=decision.candidates,
        )
    with without_garbage_collection():
        from .train import train

    return train(config, layout, stage, attempt)


if __name__ == "__main__":
    main()
