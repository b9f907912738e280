"""Process handling of the supervisor, with small real children; what they train plays no part here."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from alignment_api.contract import MAX_SUMMARY_BYTES, Problem, Progress, Summary, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_trainer.exceptions import DataError, Preempted
from alignment_trainer.launch import http, processes, stopping
from alignment_trainer.launch.termination import run_to_summary, write_summary
from alignment_trainer.run_files import RunFiles

from .supervised import progress, run, terminate_soon


def test_output_passes_through_and_its_end_explains_a_failure(
    files: RunFiles, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    summary = run("print('step 1'); raise SystemExit('the disk: No space left on device')", files)
    assert summary.exit_code == ExitCode.STORAGE_ERROR
    assert "No space left" in summary.message
    assert b"step 1" in capfdbinary.readouterr().out


def test_an_orphaned_worker_does_not_outlive_its_launcher(files: RunFiles) -> None:
    worker = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
    began = time.monotonic()
    summary = run(f"{worker} start_new_session=True); raise SystemExit(3)", files)
    assert time.monotonic() - began < 10
    assert summary.exit_code == ExitCode.INTERNAL_ERROR
    assert processes.descendants() == []


def test_a_killed_launcher_is_reported_as_what_it_is(files: RunFiles) -> None:
    summary = run("import os; os.kill(os.getpid(), 9)", files)
    assert summary.exit_code == 128 + signal.SIGKILL
    assert "SIGKILL" in summary.message


def test_a_stop_while_loading_ends_at_once(files: RunFiles) -> None:
    files.write_progress(progress(TrainerPhase.LOADING))
    terminate_soon()
    began = time.monotonic()
    summary = run("import time; time.sleep(60)", files)
    assert time.monotonic() - began < 5
    assert summary.exit_code == ExitCode.PREEMPTED


def test_a_stop_waits_for_the_checkpoint(files: RunFiles) -> None:
    terminate_soon(0.2)
    code = (
        "import pathlib, sys, time\n"
        f"root = pathlib.Path({str(files.root)!r})\n"
        "while not (root / 'stop').exists(): time.sleep(0.05)\n"
        "time.sleep(1)\n"
        "(root / 'outcome-0.json').write_text("
        '\'{"rank": 0, "exit_code": 75, "time": 1.0, "message": "stopped at step 4 after a checkpoint"}\')'
    )
    summary = run(code, files)
    assert summary.exit_code == ExitCode.PREEMPTED
    assert summary.message == "stopped at step 4 after a checkpoint"


def test_a_stop_does_not_wait_for_peers_that_are_gone(files: RunFiles) -> None:
    terminate_soon()
    began = time.monotonic()
    summary = run("import time\ndef step(): time.sleep(60)\nstep()", files)
    assert time.monotonic() - began < 20
    assert summary.exit_code == ExitCode.PREEMPTED
    assert "launcher in step (<string>:2)" in summary.message


def test_a_checkpoint_that_never_ends_does_not_outlast_the_grace_period(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "MAX_WAIT", 1.0)
    files.write_progress(progress(TrainerPhase.CHECKPOINTING))
    terminate_soon()
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    summary = run(code, files)
    assert summary.exit_code == ExitCode.PREEMPTED
    assert processes.descendants() == []


def test_http_serves_files_that_the_training_process_wrote(files: RunFiles, tmp_path: Path) -> None:
    history = tmp_path / "metrics.jsonl"
    history.write_text("".join(json.dumps({"step": step, "loss": 0.5}) + "\n" for step in range(20000)))
    server = http.serve(0, files, history)
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"

        def get(path: str) -> bytes:
            with urllib.request.urlopen(url + path, timeout=5) as response:
                return bytes(response.read())

        assert Progress.model_validate_json(get("/progress")).step == 3
        assert get("/healthz") == b"ok\n"
        lines = get("/history").splitlines()
        assert json.loads(lines[-1])["step"] == 19999
        assert json.loads(lines[0])["step"] > 0
        assert sum(map(len, lines)) <= http.MAX_HISTORY_BYTES
        assert 'alignment_trainer_step{attempt="1",stage="dpo"} 3.0' in get("/metrics").decode()
        assert 'name="loss"' in get("/metrics").decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get("/secrets")
        files.progress.unlink()
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get("/progress")
        assert get("/healthz") == b"ok\n"
    finally:
        server.shutdown()


def test_a_command_that_is_told_to_stop_says_where_it_was(own_signals: None) -> None:
    def stop(number: int, frame: object) -> None:
        raise Preempted("told to stop")

    def download_for_ever() -> Summary:
        terminate_soon(0.2)
        while True:
            time.sleep(0.1)

    signal.signal(signal.SIGTERM, stop)
    summary = run_to_summary(download_for_ever)
    assert summary.exit_code == ExitCode.PREEMPTED
    assert "; in download_for_ever (" in summary.message
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_an_error_becomes_a_summary_that_fits(tmp_path: Path, own_signals: None) -> None:
    def fail() -> Summary:
        problems = [Problem(field=f"row {row}", message="no prompt " * 50) for row in range(500)]
        raise DataError("500 rows are wrong", problems)

    log = tmp_path / "termination-log"
    write_summary(log, run_to_summary(fail))
    assert len(log.read_bytes()) <= MAX_SUMMARY_BYTES
    summary = Summary.model_validate_json(log.read_text())
    assert summary.exit_code == ExitCode.DATA_ERROR
    assert summary.problems[0].field == "row 0"
