"""PID 1 of a trainer Pod: starts the training processes, answers for them, and says how they ended.

It imports no torch, so it answers within a second and holds little memory.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alignment_api.contract import JobLayout, Progress, RunConfig, Summary, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_api.v1alpha1.runtime import DeepSpeed

from .. import checkpoints, device
from ..attempt import Attempt
from ..attempt_record import AttemptRecord
from ..device import Device
from ..environment import Environment
from ..exceptions import ConfigurationError
from ..files import write_atomically
from ..run_files import RunFiles
from . import accelerate_config, child_environment, evidence, http, machine, processes
from .accelerate_config import LOCAL_HOST, Rendezvous
from .bounded import done_within
from .ending import ChildEnd, summarize
from .masking import Mask
from .output import OutputTail
from .published import Publication, publish, write_report
from .stacks import StackDumps
from .stopping import StopWatch

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.1
_KILL_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 2.0
_EVIDENCE_SECONDS: Final = 10.0
_OOM_EVENTS: Final = Path("/sys/fs/cgroup/memory.events")


def supervise(config: RunConfig, environment: Environment, attempt: Attempt, host: str | None) -> Summary:
    """Run this Pod's share of a stage to its end.

    Args:
        config: the whole job, the stage in the shape of the attempt.
        environment: the Pod's paths, rank and ports.
        attempt: the attempt.
        host: name of rank 0's Pod; None for a gang of one Pod.

    Raises:
        DeviceError: the node shows no GPUs though the Pod asked for some.
        ConfigurationError: the gang has no rendezvous host, or the machine cannot do what the stage asks.
    """
    stage = config.spec.stage(attempt.stage)
    runtime = gang_runtime(stage, config.spec.runtime_of(stage))
    hardware = device.detect()
    machine.check(stage, runtime, hardware)
    if runtime.nodes > 1 and host is None:
        raise ConfigurationError(f"a gang of {runtime.nodes} Pods needs --rendezvous-host")
    layout = JobLayout(workspace=environment.workspace, job=config.job)
    own = layout.stage(attempt.stage).attempt(attempt.number)
    rendezvous = Rendezvous(host or LOCAL_HOST, environment.rendezvous_port, environment.machine_rank)
    mask = Mask.of(os.environ)
    with tempfile.TemporaryDirectory(prefix="alignment-", ignore_cleanup_errors=True) as folder:
        files = RunFiles(Path(folder))
        files.write_progress(
            Progress(
                stage=attempt.stage, attempt=attempt.number, phase=TrainerPhase.LOADING, updated_at=datetime.now(UTC)
            )
        )
        publication = Publication()
        server = http.serve(environment.progress_port, files, own.metrics, publication)
        try:
            write_configuration(files, runtime, rendezvous, hardware)
            variables = child_environment.child_environment(
                os.environ, runtime, hardware, files.root, child_environment.read_routes()
            )
            command = accelerate_config.command(files.accelerate_config, runtime, attempt)
            stop = StopWatch(files, saves=stage.method is not Method.EVALUATE)
            record = AttemptRecord.begun(runtime, hardware)
            leads = environment.machine_rank == 0
            with stop.heeding_signals():
                if leads:
                    _kept("the attempt's record", lambda: record.write(own))
                end = run_child(command, variables, files, stop, mask)
                summary = mask.summary(summarize(end, files.read_progress()))

                def keep_evidence() -> None:
                    if summary.exit_code == ExitCode.STORAGE_ERROR:
                        with suppress(OSError):
                            checkpoints.discard_incomplete(own)  # the evidence may need the space
                    if leads:
                        record.ended(summary).write(own)
                    if summary.exit_code != ExitCode.OK:
                        evidence.keep(own.evidence, environment.machine_rank, summary, end.tail, end.stacks, mask)

                _kept("the evidence", keep_evidence)
                if leads and not stop.requested and summary.exit_code != ExitCode.PREEMPTED:
                    report = write_report(config, layout)
                    if report is not None:
                        # The Pod of a failed gang that ends first is taken for the cause: this one must not be late.
                        if summary.exit_code == ExitCode.OK or runtime.nodes == 1:
                            publish(report, files, publication, stopped=lambda: stop.requested)
                        summary = summary.model_copy(update={"report": report.path})
            return summary
        finally:
            server.shutdown()


def _kept(what: str, keep: Callable[[], None]) -> None:
    """Write to the volume, which may hang, perhaps as the processes did; how they ended is said nevertheless."""
    if not done_within(_EVIDENCE_SECONDS, keep):
        _log.warning("%s could not be kept in %g s", what, _EVIDENCE_SECONDS)


def gang_runtime(stage: Stage, runtime: Runtime) -> Runtime:
    """How the processes of a stage are started; evaluation partitions nothing, so it needs no DeepSpeed."""
    if stage.method is not Method.EVALUATE:
        return runtime
    return runtime.model_copy(update={"deepspeed": DeepSpeed(zero_stage=0)})


def write_configuration(files: RunFiles, runtime: Runtime, rendezvous: Rendezvous, hardware: Device) -> None:
    """Write the configuration files of accelerate and DeepSpeed."""
    config = accelerate_config.accelerate_config(runtime, rendezvous, hardware, files.deepspeed_config)
    write_atomically(files.accelerate_config, json.dumps(config, indent=2))
    write_atomically(files.deepspeed_config, json.dumps(accelerate_config.deepspeed_config(runtime), indent=2))


def run_child(command: list[str], variables: dict[str, str], files: RunFiles, stop: StopWatch, mask: Mask) -> ChildEnd:
    """Run the launcher until it ends, or until it has had its time after a request to stop.

    Args:
        command: what to run.
        variables: its whole environment.
        files: run folder, in which the request to stop is left and outcomes are found.
        stop: told when the Pod is to stop.
        mask: what its output must not show.
    """
    processes.become_subreaper()
    files.supervisor.write_text(str(os.getpid()))
    oom_kills = count_oom_kills()
    child = subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    output = OutputTail(child.stdout, sys.stdout.buffer, mask)
    stacks = StackDumps(files, child.pid)
    try:
        while child.poll() is None:
            processes.reap_orphans(child.pid)
            if stop.is_over():
                _log.warning("the training processes have not stopped in time: %s", stop.why())
                stacks.take()
                break
            # After such a line NCCL ends its process within moments: it is not slept over.
            if output.collective_timeout.wait(_POLL_SECONDS) or files.stacks_request.exists():
                output.collective_timeout.clear()
                if not files.stacks_taken.exists():
                    stacks.take()
    finally:
        _kill_all(child)
    output.drain(_DRAIN_SECONDS)
    return ChildEnd(
        return_code=-signal.SIGKILL if child.returncode is None else child.returncode,
        outcomes=files.read_outcomes(),
        tail=output.text(),
        oom_kills=count_oom_kills() - oom_kills,
        told_to_stop=stop.requested,
        stacks=stacks.texts,
        where=stacks.where(),
    )


def count_oom_kills() -> int:
    """Processes of this container that the kernel killed for lack of memory so far."""
    try:
        events = dict(line.split() for line in _OOM_EVENTS.read_text().splitlines())
    except OSError:  # not cgroup v2
        return 0
    return int(events.get("oom_kill", "0"))


def _kill_all(child: subprocess.Popen[bytes]) -> None:
    """End the launcher and what it left behind: its workers have sessions of their own.

    Processes that wait for a volume that hangs cannot be killed; they are not waited for.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while processes.descendants() and time.monotonic() < deadline:
        processes.signal_all(signal.SIGKILL)
        child.poll()
        processes.reap_orphans(child.pid)
        time.sleep(_POLL_SECONDS / 10)
    with suppress(subprocess.TimeoutExpired):
        child.wait(timeout=0)
