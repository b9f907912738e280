"""Where everything lies in the workspace volume.

::

    cache/                                   models and datasets from the hub, shared by all jobs
    cache/prepared/<digest>/                 prepared rows, shared by all stages of all jobs that need the same
    jobs/<namespace>/<name>-<uid8>/
        prepared.json                        written last by Prepare: resolved models and data of every stage
        report.html, report.json             the job's report, written anew at the end of every stage
        lineage.json                         the promoted model's lineage, an in-toto statement
        <stage>/data/                        prepared training and held-out rows
        <stage>/report/                      data report, evaluation report
        <stage>/evaluation/                  responses, scores and verdicts, which later attempts go on from
        <stage>/attempts/<n>/                all that attempt n writes while it runs
        <stage>/attempts/<n>/checkpoints/checkpoint-<step>/
        <stage>/model/                       the exported model, complete when complete.json is there
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .pod import JobReference

WORKSPACE_MOUNT: Final = Path("/workspace")

COMPLETION_MARKER: Final = "complete.json"
"""Name of the file that makes a checkpoint, model or data folder complete; it is written last, with digests."""


@dataclass(frozen=True)
class AttemptLayout:
    """Folders of one attempt at a stage."""

    root: Path

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def metrics(self) -> Path:
        """Every logged metric, JSON Lines."""
        return self.root / "metrics.jsonl"

    @property
    def resolved(self) -> Path:
        """The resolved configuration: every option with its final value and who decided it."""
        return self.root / "resolved.json"

    @property
    def record(self) -> Path:
        """When the attempt ran, on how many Pods, and how it ended."""
        return self.root / "attempt.json"

    @property
    def building(self) -> Path:
        """The model that is being exported; once complete it becomes the stage's."""
        return self.root / "model"

    @property
    def resharded(self) -> Path:
        """A checkpoint of a gang of another size, converted for this attempt; removed once it is loaded."""
        return self.root / "resharded"

    @property
    def evidence(self) -> Path:
        """What each Pod of an attempt that did not succeed left: end of the output, how it ended, stacks."""
        return self.root / "evidence"


@dataclass(frozen=True)
class StageLayout:
    """Folders of one stage."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def evaluation(self) -> Path:
        """What an evaluate stage has found so far, shared by its attempts."""
        return self.root / "evaluation"

    @property
    def model(self) -> Path:
        """The exported model: loadable as a whole (adapters merged); ``adapter/`` below it holds the adapter alone."""
        return self.root / "model"

    def attempt(self, number: int) -> AttemptLayout:
        """Folders of attempt ``number``, counted from 1."""
        return AttemptLayout(self.root / "attempts" / str(number))


@dataclass(frozen=True)
class JobLayout:
    """Folders of one job in a workspace mounted (or lying) at ``workspace``."""

    workspace: Path
    job: JobReference

    @property
    def cache(self) -> Path:
        return self.workspace / "cache"

    @property
    def prepared_cache(self) -> Path:
        """Prepared rows by a digest of all that decides them."""
        return self.cache / "prepared"

    @property
    def root(self) -> Path:
        return self.workspace / "jobs" / self.job.namespace / f"{self.job.name}-{self.job.uid[:8]}"

    @property
    def verdicts(self) -> Path:
        """Verdicts of language models by a digest of what decides them."""
        return self.cache / "verdicts"

    @property
    def report(self) -> Path:
        """The job's report for people; no stage can have a name with a dot."""
        return self.root / "report.html"

    @property
    def report_numbers(self) -> Path:
        """The job's report for programs."""
        return self.root / "report.json"

    @property
    def lineage(self) -> Path:
        """The promoted model's lineage."""
        return self.root / "lineage.json"

    @property
    def prepared(self) -> Path:
        return self.root / "prepared.json"

    def stage(self, name: str) -> StageLayout:
        """Folders of the stage called ``name``."""
        return StageLayout(self.root / name)

    def relative(self, path: Path) -> str:
        """``path`` relative to the workspace, as status shows it."""
        return path.relative_to(self.workspace).as_posix()
