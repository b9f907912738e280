"""Pods give the job's report away over HTTP, and wait for whoever fetches it, but not for ever."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

import pytest

from alignment_api.contract import REPORT_WAIT_VARIABLE, Problem, Progress, Summary, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method
from alignment_trainer import job_report
from alignment_trainer.exceptions import ConfigurationError, Preempted
from alignment_trainer.job_report.model import JobReport, State
from alignment_trainer.launch import http, published
from alignment_trainer.launch.published import NUMBERS, PAGE, Publication, publish
from alignment_trainer.launch.reported import reported, serving
from alignment_trainer.run_files import RunFiles

from ..ports import free_port
from . import tiny
from .conftest import Workspace, stage_of
from .report_jobs import Job
from .supervised import progress


def fetched(port: int, path: str) -> HTTPResponse:
    response = urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
    assert isinstance(response, HTTPResponse)
    return response


def numbers_at(port: int) -> JobReport:
    return JobReport.model_validate_json(gzip.decompress(fetched(port, NUMBERS).read()))


@contextmanager
def in_background(action: object) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=action, daemon=True)  # type: ignore[arg-type]
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job.on(tmp_path / "workspace")


@pytest.fixture
def publication() -> Publication:
    return Publication()


@pytest.fixture
def port(files: RunFiles, publication: Publication) -> Iterator[int]:
    server = http.serve(0, files, files.root / "none", publication)
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_the_report_is_announced_served_and_waited_for(
    job: Job, files: RunFiles, publication: Publication, port: int
) -> None:
    report = job_report.write(job.config, job.layout)
    assert report is not None
    for path in (PAGE, NUMBERS):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetched(port, path)

    def give() -> None:
        publish(report, files, publication, stopped=lambda: False, variables={REPORT_WAIT_VARIABLE: "60"})

    with in_background(give) as giving:
        while (said := Progress.model_validate_json(fetched(port, "/progress").read())).report is None:
            time.sleep(0.02)
        page = fetched(port, PAGE)
        body = page.read()
        assert page.headers["Content-Encoding"] == "gzip"
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert gzip.decompress(body) == job.layout.report.read_bytes()
        assert said.report == hashlib.sha256(gzip.decompress(body)).hexdigest()[:16]
        time.sleep(0.2)
        assert giving.is_alive()  # the numbers are still wanted
        assert numbers_at(port).job == job.config.job
        assert said.step == 3  # the rest of the progress is as it was


@pytest.mark.parametrize(("variables", "seconds"), [({}, 0), ({REPORT_WAIT_VARIABLE: "0.5"}, 0.5)])
def test_nobody_is_waited_for_longer_than_asked(
    job: Job, files: RunFiles, publication: Publication, variables: dict[str, str], seconds: float
) -> None:
    report = job_report.write(job.config, job.layout)
    assert report is not None
    began = time.monotonic()
    publish(report, files, publication, stopped=lambda: False, variables=variables)
    assert seconds <= time.monotonic() - began < seconds + 0.5


def test_a_pod_that_is_told_to_stop_waits_no_longer(job: Job, files: RunFiles, publication: Publication) -> None:
    report = job_report.write(job.config, job.layout)
    assert report is not None
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    publish(report, files, publication, stopped=stop.is_set, variables={REPORT_WAIT_VARIABLE: "60"})
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1e9", ""])
def test_a_wait_that_makes_no_sense_is_none(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert published.wait_seconds({REPORT_WAIT_VARIABLE: text}) == 0
    assert f"{REPORT_WAIT_VARIABLE} is {text!r}" in caplog.text


def test_a_volume_that_hangs_does_not_hold_the_pod(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "_WRITE_SECONDS", 0.2)
    monkeypatch.setattr(job_report, "write", lambda *_, **__: time.sleep(5))
    began = time.monotonic()
    assert published.write_report(job.config, job.layout) is None
    assert time.monotonic() - began < 2


def test_a_command_names_its_report(job: Job) -> None:
    summary = reported(lambda: Summary(exit_code=ExitCode.OK), job.config, job.layout)
    assert summary.report == job.layout.relative(job.layout.report)
    assert job.layout.report.exists()


def test_a_command_that_fails_tells_why_in_the_report_without_secrets(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNMENT_SECRET_01", "hf_secretsecret")

    def fail() -> Summary:
        raise ConfigurationError("wrong", [Problem(field="spec.model", message="the hub refuses hf_secretsecret")])

    with pytest.raises(ConfigurationError):
        reported(fail, job.config, job.layout)
    report = JobReport.model_validate_json(job.layout.report_numbers.read_bytes())
    assert report.state is State.FAILED
    assert report.problems == [Problem(field="spec.model", message="the hub refuses ***")]
    assert "hf_secretsecret" not in job.layout.report.read_text()


def test_a_command_that_is_told_to_stop_writes_none(job: Job) -> None:
    def stop() -> Summary:
        raise Preempted("told to stop")

    with pytest.raises(Preempted):
        reported(stop, job.config, job.layout)
    assert not job.layout.report.exists()


def test_a_promotion_serves_its_report_as_a_gang_does(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPORT_WAIT_VARIABLE, "60")
    port = free_port()
    summaries: list[Summary] = []

    def promote() -> None:
        action = lambda: Summary(exit_code=ExitCode.OK)  # noqa: E731
        summaries.append(reported(action, job.config, job.layout, serving(port, "promote", 2)))

    with in_background(promote):
        said = until_announced(port)
        assert (said.stage, said.attempt, said.phase) == ("promote", 2, TrainerPhase.FINISHED)
        assert fetched(port, PAGE).status == 200
        assert numbers_at(port).job == job.config.job
    assert summaries[0].report == job.layout.relative(job.layout.report)


def test_a_port_that_is_taken_costs_no_promotion(job: Job, port: int, caplog: pytest.LogCaptureFixture) -> None:
    action = lambda: Summary(exit_code=ExitCode.OK)  # noqa: E731
    assert reported(action, job.config, job.layout, serving(port, "promote", 1)).report is not None
    assert f"cannot be served at port {port}" in caplog.text


def until_announced(port: int, timeout: float = 120) -> Progress:
    """The progress of a Pod, once it speaks of a report."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            said = Progress.model_validate_json(fetched(port, "/progress").read())
        except OSError:
            said = progress(TrainerPhase.LOADING)
        if said.report is not None:
            return said
        time.sleep(0.1)
    raise AssertionError("no report was announced")


def test_rank_0_stays_until_its_report_was_fetched(workspace: Workspace) -> None:
    workspace.add_stage_data("sft", tiny.conversation_rows(16))
    runtime = {"deepspeed": {"zeroStage": 0}}
    job = workspace.write_job({"stages": [stage_of(Method.SFT)], "runtime": runtime})
    pod = workspace.start(job, "sft", ALIGNMENT_REPORT_WAIT_SECONDS="120")
    said = until_announced(pod.progress_port)
    assert pod.process.poll() is None
    page = gzip.decompress(fetched(pod.progress_port, PAGE).read())
    numbers = numbers_at(pod.progress_port)
    summary = pod.wait(timeout=30)
    assert summary.exit_code == ExitCode.OK
    assert summary.report == workspace.layout.relative(workspace.layout.report)
    assert page == workspace.layout.report.read_bytes()
    assert said.report == hashlib.sha256(page).hexdigest()[:16]
    (sft,) = numbers.stages
    assert (numbers.state, sft.state, sft.step) == (State.SUCCEEDED, State.SUCCEEDED, 4)
    (attempt,) = sft.attempts
    assert (attempt.state, attempt.resumed_from, attempt.last_step, attempt.nodes) == (State.SUCCEEDED, 0, 4, 1)
    assert attempt.seconds > 0
    assert sft.cost.tokens > 0
    assert {"loss", "grad_norm", "learning_rate"} <= {curve.name for curve in sft.curves}
    assert sft.model is not None
    assert sft.settings["learning_rate"] == "0.001"
    assert {"torch", "trl"} <= sft.versions.keys()


def test_a_gang_that_failed_keeps_nobody_waiting(workspace: Workspace) -> None:
    """Were rank 0's Pod late, what its peers say of losing it would be taken for the cause."""
    runtime = {"nodes": 2, "deepspeed": {"zeroStage": 0}}
    job = workspace.write_job({"stages": [stage_of(Method.SFT)], "runtime": runtime})  # there are no rows
    port = free_port()
    pods = [
        workspace.start(job, "sft", rank=rank, rendezvous=port, ALIGNMENT_REPORT_WAIT_SECONDS="300")
        for rank in range(2)
    ]
    first = pods[0].wait(timeout=120)
    assert first.exit_code != ExitCode.OK
    assert first.report == workspace.layout.relative(workspace.layout.report)
    pods[1].wait(timeout=60)
