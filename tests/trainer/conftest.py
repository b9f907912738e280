"""Jobs on a workspace in a temporary folder, run by the real command line with real training processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import JobLayout, JobReference, RunConfig, Summary, TrainerPhase
from alignment_api.v1alpha1 import AlignmentJobSpec, Method, uses
from alignment_trainer.run_files import RunFiles

from ..ports import free_port
from . import tiny
from .promotions import FinishedJob, save_export
from .supervised import progress

# Steps of tiny models are shorter than dealing them out to threads; read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

JOB = JobReference(namespace="team", name="tiny", uid="0123456789abcdef")
TRAINING = {
    "globalBatchSize": 4,
    "microBatchSize": 2,
    "maxSteps": 4,
    "learningRate": 1e-3,
    "schedule": "constant",
    "warmupRatio": 0,
    "gradientCheckpointing": False,
    "loggingSteps": 1,
    "checkpoint": {"everySteps": 2, "keep": 2},
}


def training_pids(supervisor: int) -> list[int]:
    """The training processes below a supervisor."""
    children = [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]
    found = []
    for pid in children:
        if b"alignment_trainer.run\0--stage" in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"-m\0", b""):
            found.append(pid)
        found += training_pids(pid)
    return found


@dataclass
class Pod:
    """One supervisor with its training processes."""

    process: subprocess.Popen[bytes]
    termination_log: Path
    output: Path
    progress_port: int

    def wait(self, timeout: float = 240) -> Summary:
        """The termination message, once the process has ended with the exit code it names."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(self.output.read_text()[-4000:]) from None
        summary = Summary.model_validate_json(self.termination_log.read_text())
        assert summary.exit_code == code, self.output.read_text()[-4000:]
        return summary

    def stop(self) -> None:
        """Tell the Pod to stop, as the kubelet does."""
        self.process.send_signal(signal.SIGTERM)


@dataclass
class Workspace:
    """A workspace volume and the jobs on it; what Pods say is kept in ``outputs``, or else on the volume too."""

    root: Path
    pods: list[Pod] = field(default_factory=list)
    outputs: Path | None = None

    @property
    def layout(self) -> JobLayout:
        return JobLayout(workspace=self.root, job=JOB)

    def add_stage_data(
        self, stage: str, rows: list[dict[str, Any]], held_out: list[dict[str, Any]] | None = None
    ) -> None:
        """Write rows where Prepare leaves them."""
        from datasets import Dataset

        data = self.layout.stage(stage).data
        Dataset.from_list(rows).save_to_disk(str(data / "train"))
        if held_out:
            Dataset.from_list(held_out).save_to_disk(str(data / "eval"))

    def write_job(self, spec: dict[str, Any]) -> Path:
        """Write the job's configuration and what Prepare would have found for its stages."""
        parsed = AlignmentJobSpec.model_validate(
            {"model": {"volume": {"path": "models/tiny"}}, "workspace": {"persistentVolumeClaim": {"claimName": "w"}}}
            | spec
        )
        config = RunConfig(job=JOB, spec=parsed)
        path = self.root / f"job-{len(list(self.root.glob('job-*')))}.json"
        path.write_text(config.model_dump_json(by_alias=True, exclude_none=True))
        models = {}
        for stage in parsed.stages:
            folders = {"model": "models/tiny"}
            for use in uses.models(stage):
                source, volume = use.source.from_stage, use.source.volume
                if source is not None:
                    folders[use.field] = self.layout.relative(self.layout.stage(source).model)
                elif volume is not None:
                    folders[use.field] = volume.path
            models[stage.name] = folders
        self.layout.root.mkdir(parents=True, exist_ok=True)
        self.layout.prepared.write_text(json.dumps({"models": models}))
        return path

    def start(
        self,
        job: Path,
        stage: str,
        *,
        attempt: int = 1,
        rank: int = 0,
        rendezvous: int | None = None,
        arguments: Sequence[str] = (),
        **variables: str,
    ) -> Pod:
        """Start one Pod of a gang; ``rendezvous`` is the port of a gang of several, ``arguments`` are further ones."""
        number = len(self.pods)
        log = (self.outputs or self.root) / f"termination-{number}"
        output = (self.outputs or self.root) / f"output-{number}.txt"
        port = free_port()
        environment = os.environ | {
            "ALIGNMENT_CONFIG": str(job),
            "ALIGNMENT_WORKSPACE": str(self.root),
            "ALIGNMENT_TERMINATION_LOG": str(log),
            "ALIGNMENT_PROGRESS_PORT": str(port),
            "ALIGNMENT_RENDEZVOUS_PORT": str(rendezvous or free_port()),
            "JOB_COMPLETION_INDEX": str(rank),
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
        }
        command = [sys.executable, "-m", "alignment_trainer", "train", "--stage", stage, "--attempt", str(attempt)]
        command += arguments
        if rendezvous:
            command += ["--rendezvous-host", "127.0.0.1"]
        with output.open("wb") as file:
            process = subprocess.Popen(
                command, env=environment | variables, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        pod = Pod(process, log, output, port)
        self.pods.append(pod)
        return pod

    def run(self, job: Path, stage: str, **options: Any) -> Summary:
        """Run a gang of one Pod to its end."""
        return self.start(job, stage, **options).wait()

    def metrics(self, stage: str, attempt: int = 1) -> list[dict[str, Any]]:
        """The history of an attempt, one entry for each report."""
        lines = self.layout.stage(stage).attempt(attempt).metrics.read_text().splitlines()
        return [json.loads(line) for line in lines]

    def keep_checkpoints(self, stage: str, attempt: int) -> None:
        """Let an attempt remove none of its checkpoints, not even at its end: the next one seems to have begun."""
        self.layout.stage(stage).attempt(attempt + 1).root.mkdir(parents=True)

    def wait_for_step(self, stage: str, step: int, attempt: int = 1, timeout: float = 120) -> None:
        """Wait until an attempt has reported a step."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            path = self.layout.stage(stage).attempt(attempt).metrics
            if path.exists() and any(entry["step"] >= step for entry in self.metrics(stage, attempt)):
                return
            time.sleep(0.05)
        raise AssertionError(f"step {step} was not reached; {self.pods[-1].output.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Llama and its tokenizer."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    folder.mkdir()
    tiny.save_model(folder)
    return folder


@contextmanager
def workspace_in(root: Path, model: Path) -> Iterator[Workspace]:
    """A workspace that holds the tiny model; its Pods are ended with it."""
    shutil.copytree(model, root / "models" / "tiny")
    volume = Workspace(root)
    try:
        yield volume
    finally:
        for pod in volume.pods:
            if pod.process.poll() is None:
                pod.process.kill()


@pytest.fixture
def workspace(tmp_path: Path, tiny_model: Path) -> Iterator[Workspace]:
    """A workspace for one test."""
    with workspace_in(tmp_path, tiny_model) as volume:
        yield volume


def stage_of(method: Method, **overrides: Any) -> dict[str, Any]:
    """A stage named after its method, on rows that are already prepared."""
    stage = {
        "name": method.value,
        "dataset": {"inline": {"rows": [{"prepared": "already"}]}},
        "training": TRAINING,
        method.value: {},
    }
    return stage | overrides


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Signal handlers as they were, after what a process does to them at its end."""
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture
def files(tmp_path: Path, own_signals: None) -> RunFiles:
    """The run folder of a Pod that is training, supervised by the test's own process."""
    root = tmp_path / "run"
    root.mkdir()
    run_files = RunFiles(root)
    run_files.write_progress(progress(TrainerPhase.TRAINING))
    return run_files


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a stage with an adapter exports, but for what makes a model of it."""
    folder = tmp_path_factory.mktemp("exported")
    save_export(folder)
    return folder


@pytest.fixture
def job(tmp_path: Path, exported: Path) -> FinishedJob:
    """A job whose evaluation is over, to be promoted."""
    return FinishedJob(tmp_path, exported, exported)
