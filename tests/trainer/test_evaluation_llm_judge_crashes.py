"""Processes that are killed while they ask a judge, and writers of the same ruling."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alignment_trainer.evaluation.judges.budget import Ledger, Spent, spent
from alignment_trainer.evaluation.judges.verdict_cache import VerdictCache
from alignment_trainer.evaluation.judges.verdicts import Choice, Ruling

from . import judge_client
from .judge_endpoint import Log, longer, serving, verdict

KEY = "0" * 64


@pytest.mark.parametrize("paid_before", [1, 37])
def test_a_process_that_is_killed_pays_twice_for_what_was_under_way_at_most(tmp_path: Path, paid_before: int) -> None:
    needed = 2 * judge_client.COUNT
    with serving() as server:
        server.always = verdict(longer, seconds=0.05)
        command = [sys.executable, "-m", judge_client.__name__, server.url, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            end = time.monotonic() + 60
            while server.log.paid < paid_before and process.poll() is None and time.monotonic() < end:
                time.sleep(0.001)
            process.kill()
            assert process.stderr is not None
            said = process.stderr.read().decode()
        assert process.returncode == -9, said
        first = settled(server.log)
        assert paid_before <= first < needed
        kept = len(list((tmp_path / "verdicts").rglob("*.json")))
        outcomes = judge_client.ask(server.url, tmp_path, attempt=2)
        second = server.log.paid - first
    assert outcomes == [1, 0] * (judge_client.COUNT // 2)
    assert second == needed - kept
    assert first + second <= needed + judge_client.CONCURRENCY
    used = spent(tmp_path / "spent")
    # What was noted may not have been sent; what was sent was noted.
    assert first + second <= used.calls <= first + second + judge_client.CONCURRENCY
    assert used.rulings <= needed


def settled(log: Log) -> int:
    """What was paid, once the requests of a client that is gone have come to their end."""
    time.sleep(0.2)
    return log.paid


def put(folder: Path, number: int) -> None:
    ruling = Ruling(Choice.A, f"{number} " * 1000)
    for _ in range(10):
        VerdictCache(folder).put(KEY, ruling, "judge")


def test_concurrent_writers_leave_a_whole_ruling(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(put, tmp_path, number) for number in range(3)]
        read = 0
        while not all(writer.done() for writer in writers):
            ruling = VerdictCache(tmp_path).get(KEY)
            if ruling is not None:
                read += 1
                assert len(set(ruling.reason.split())) == 1
        for writer in writers:
            writer.result()
    assert read > 0
    assert len(list(tmp_path.rglob("*.*"))) == 1


def test_a_torn_ledger_counts_what_is_whole(tmp_path: Path) -> None:
    first = Ledger(tmp_path, attempt=1)
    first.note(Spent(calls=1))
    first.note(Spent(tokens_in=100, tokens_out=10, rulings=1))
    first.close()
    path = tmp_path / "attempt-1.jsonl"
    path.write_text(path.read_text() + '{"calls": 1}\n{"tokens_in": 5')
    (tmp_path / "attempt-2.jsonl").write_text('\x00\x00\n[]\n"x"\n{"calls": "many"}\n{"calls": 3}\n')
    again = Ledger(tmp_path, attempt=1)
    assert again.total == Spent(calls=5, tokens_in=100, tokens_out=10, rulings=1)
    again.note(Spent(calls=1))
    again.sync()
    again.close()
    assert spent(tmp_path).calls == 6
    assert spent(tmp_path / "nowhere") == Spent()
