"""What is learned of processes that hang, before they are killed: real gangs, real collectives, real dumps."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method
from alignment_trainer.launch import stacks
from alignment_trainer.launch.ending import ChildEnd, summarize
from alignment_trainer.run_files import RunFiles

from ..ports import free_port
from .conftest import Workspace, stage_of
from .supervised import python, supervised

GANG = """
import datetime, os, pathlib, sys
import torch
import torch.distributed as dist
from alignment_trainer import run

def spin_forever():
    while True:
        pass

def one_spins(config, workspace, *_, rank=int(os.environ["RANK"])):
    dist.init_process_group("gloo")
    dist.all_reduce(torch.ones(1))  # both are there: from here on they need the same time
    gang = dist.new_group(timeout=datetime.timedelta(seconds=float(os.environ["GANG_TIMEOUT"])))
    (workspace / f"ready-{rank}").touch()
    if rank == 1:
        spin_forever()
    dist.all_reduce(torch.ones(1), group=gang)

run._run_stage = one_spins
run.main(["--stage", "sft", "--attempt", "1"])
"""


def gang_that_hangs(workspace: Workspace, files: RunFiles, timeout: int) -> ChildEnd:
    """Two processes under the real launcher, of which rank 1 never comes to a collective."""
    script = workspace.root / "gang.py"
    script.write_text(GANG)
    job = workspace.write_job({"stages": [stage_of(Method.SFT)]})
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    variables = {
        "ALIGNMENT_CONFIG": str(job),
        "ALIGNMENT_WORKSPACE": str(workspace.root),
        "GANG_TIMEOUT": str(timeout),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    command = [*launcher, "--master-port", str(free_port()), str(script)]
    return supervised(command, files, saves=False, **variables)


def stop_when(*paths: Path) -> None:
    """Tell this process to stop a moment after all ``paths`` exist."""

    def wait() -> None:
        while not all(path.exists() for path in paths):
            time.sleep(0.1)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def test_a_gang_that_is_stopped_while_it_hangs_tells_where_every_rank_is(workspace: Workspace, files: RunFiles) -> None:
    stop_when(workspace.root / "ready-0", workspace.root / "ready-1")
    end = gang_that_hangs(workspace, files, timeout=600)
    summary = summarize(end, None)
    assert summary.exit_code == ExitCode.PREEMPTED
    assert "rank 1 in spin_forever (" in summary.message
    assert "rank 0 in all_reduce < one_spins (" in summary.message
    assert set(end.stacks) == {"0", "1"}
    assert "MainThread" in end.stacks["0"]


def test_a_collective_that_times_out_names_the_rank_that_it_waited_for(workspace: Workspace, files: RunFiles) -> None:
    summary = summarize(gang_that_hangs(workspace, files, timeout=5), None)
    assert summary.exit_code == ExitCode.COMMUNICATION_ERROR
    assert "Timed out waiting 5000ms" in summary.message
    assert "; in all_reduce < one_spins (" in summary.message
    assert "rank 1 in spin_forever (" in summary.message
    assert "Timed out waiting 5000ms" in summary.output
    assert "torch/distributed/elastic" not in summary.output


NCCL_GANG = """
import os, subprocess, sys, time
from alignment_trainer.run_files import RunFiles

def spin_forever():
    time.sleep(600)

def rank():
    RunFiles.of_this_process().enlist(int(sys.argv[1]))
    if sys.argv[1] == "1":
        spin_forever()
    time.sleep(1)
    print("[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1580, OpType=ALLREDUCE)", flush=True)
    time.sleep(1)
    os.abort()

if len(sys.argv) > 1:
    rank()
ranks = [subprocess.Popen([sys.executable, __file__, str(rank)]) for rank in (0, 1)]
ranks[0].wait()
ranks[1].terminate()
sys.exit(f" exitcode  : {ranks[0].returncode} (pid: 1)")
"""


def test_a_rank_that_nccl_waited_for_is_looked_at_before_the_launcher_ends_it(tmp_path: Path, files: RunFiles) -> None:
    script = tmp_path / "gang.py"
    script.write_text(NCCL_GANG)
    summary = summarize(supervised([sys.executable, str(script)], files), None)
    assert summary.exit_code == ExitCode.COMMUNICATION_ERROR
    assert "SIGABRT" in summary.message
    assert "rank 1 in spin_forever (" in summary.message


RANK = """
import multiprocessing, time
from alignment_trainer.run_files import RunFiles

def read_row():
    time.sleep(600)

def wait_for_rows():
    time.sleep(600)

multiprocessing.get_context("fork").Process(target=read_row, daemon=True).start()
files = RunFiles.of_this_process()
files.enlist(3)
(files.root / "ready").touch()
wait_for_rows()
"""


def under_a_launcher(code: str) -> list[str]:
    """A launcher of one process, which runs ``code``."""
    return python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])")


def test_children_of_a_process_are_looked_at_too(files: RunFiles) -> None:
    stop_when(files.root / "ready")
    end = supervised(under_a_launcher(RANK), files, saves=False)
    assert end.where.startswith("rank 3 in wait_for_rows (")
    assert "read_row" in end.stacks["3"]


def test_where_nobody_may_look_into_a_process_it_writes_its_stacks_itself(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "_PY_SPY", Path("/nonexistent/py-spy"))
    stop_when(files.root / "ready")
    end = supervised(under_a_launcher(RANK), files, saves=False)
    assert end.where.startswith("rank 3 in wait_for_rows (")


def test_a_process_that_is_stopped_can_be_looked_at(files: RunFiles) -> None:
    stop_when(files.root / "ready")
    code = RANK.replace("\nwait_for_rows()", "\nimport os; os.kill(os.getpid(), 19)")
    end = supervised(under_a_launcher(code), files, saves=False)
    assert "<module>" in end.where
