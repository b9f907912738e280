"""Dumps of stacks -> where processes are, in a line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alignment_trainer.failures import frames

SITE = "/opt/venv/lib/python3.11/site-packages"
WAITING = f"""Process 41: /opt/venv/bin/python3 -m alignment_trainer.run --stage dpo --attempt 1
Python v3.11.9 (/usr/local/bin/python3.11)

Thread 77 (idle): "Thread-1"
    wait (/usr/local/lib/python3.11/threading.py:331)
    run (/usr/local/lib/python3.11/threading.py:1045)
Thread 41 (idle): "MainThread"
    all_reduce ({SITE}/torch/distributed/distributed_c10d.py:2810)
    _exception_logger.<locals>.wrapper ({SITE}/torch/distributed/c10d_logger.py:83)
    greatest (/opt/alignment/alignment_trainer/distributed.py:39)
    on_step_end (/opt/alignment/alignment_trainer/callbacks/preemption.py:31)
    call_event ({SITE}/transformers/trainer_callback.py:560)
    <module> (<frozen runpy>:88)
"""
SPINNING = """Process 42: python3

Thread 42 (active+gil): "MainThread"
    spin (/scripts/hang.py:5)
    <module> (/scripts/hang.py:9)
"""
LOADING = f"""Process 43: python3

Thread 43 (idle): "MainThread"
    wait (/usr/local/lib/python3.11/threading.py:331)
    get (/usr/local/lib/python3.11/queue.py:180)
    _try_get_data ({SITE}/torch/utils/data/dataloader.py:1310)
    _BaseDataLoaderIter.__next__ ({SITE}/torch/utils/data/dataloader.py:741)
    get_batch_samples ({SITE}/transformers/trainer.py:5050)
"""


@pytest.mark.parametrize(
    ("dump", "place"),
    [
        (
            WAITING,
            "all_reduce < greatest (alignment_trainer/distributed.py:39) "
            "< on_step_end (alignment_trainer/callbacks/preemption.py:31)",
        ),
        (SPINNING, "spin (/scripts/hang.py:5) < <module> (/scripts/hang.py:9)"),
        (LOADING, "_BaseDataLoaderIter.__next__ < get_batch_samples (transformers/trainer.py:5050)"),
        (f"{SPINNING}\n{LOADING}", "spin (/scripts/hang.py:5) < <module> (/scripts/hang.py:9)"),
        ("Error: Permission denied", ""),
    ],
)
def test_place(dump: str, place: str) -> None:
    assert frames.place(frames.of_dump(dump)) == place


def test_faulthandlers_dump_shows_the_thread_that_was_interrupted() -> None:
    code = (
        "import faulthandler, sys, threading, time\n"
        "def idle(): time.sleep(60)\n"
        "def here(): faulthandler.dump_traceback(sys.stdout)\n"
        "threading.Thread(target=idle, daemon=True).start()\n"
        "here()\n"
    )
    dump = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "idle" in dump
    assert frames.place(frames.of_dump(dump)) == "here (<string>:3) < <module> (<string>:5)"


def test_processes_at_the_same_place_are_told_together_and_the_odd_one_first() -> None:
    dumps = {str(rank): WAITING for rank in range(8)} | {"1": SPINNING, "7": WAITING.replace("greatest", "asking")}
    where = frames.places(dumps, waiting_in="asking")
    assert where.startswith("rank 1 in spin (")
    assert "; ranks 0, 2-6 in all_reduce < greatest (" in where
    assert "7" not in where.replace("hang.py", "")
