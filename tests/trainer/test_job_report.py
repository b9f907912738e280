"""The job's report from workspaces: whole, empty, torn, hostile and huge."""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import Problem
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import ModelStatus, PromotionResult
from alignment_trainer import job_report
from alignment_trainer.evaluation.results import ChangedPrompt, EvaluationResults
from alignment_trainer.job_report.collect import collect
from alignment_trainer.job_report.model import Attempt, JobReport, StageReport, State
from alignment_trainer.job_report.stages import Bounds
from alignment_trainer.job_report.writing import MAX_BOTH, MAX_PAGE

from .report_jobs import PREFERENCE_METRICS, SPEC, Job, record, results_of, whole_job

PROMOTED = PromotionResult(
    candidate="simpo",
    model=ModelStatus(path="models/assistant", digest="sha256:" + "cd" * 32),
    locations=["models/assistant", "s3://models/support/assistant/cdcd"],
)


def report_of(job: Job, **options: Any) -> JobReport:
    return collect(job.config, job.layout, Bounds(), datetime.now(UTC), **options)


def stage_of(report: JobReport, name: str) -> StageReport:
    return next(stage for stage in report.stages if stage.name == name)


def written(job: Job, **options: Any) -> tuple[str, JobReport]:
    """The page and the numbers, as they lie in the workspace."""
    assert job_report.write(job.config, job.layout, **options) is not None
    return job.layout.report.read_text(), JobReport.model_validate_json(job.layout.report_numbers.read_bytes())


def text_of(page: str) -> str:
    """What a reader sees of a page, without its tags and style."""

    class Text(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.parts: list[str] = []
            self.hidden = 0

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.hidden += tag == "style"

        def handle_endtag(self, tag: str) -> None:
            self.hidden -= tag == "style"

        def handle_data(self, data: str) -> None:
            if not self.hidden:
                self.parts.append(data)

    parser = Text()
    parser.feed(page)
    return " ".join(" ".join(parser.parts).split())


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A pipeline that ran to its end."""
    return whole_job(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def page(job: Job) -> str:
    return written(job, promotion=PROMOTED)[0]


def test_the_page_shows_what_the_job_came_to(page: str) -> None:
    text = text_of(page)
    for words in (
        "support-assistant Succeeded",
        "simpo: 3 of 3 gates hold",
        "dpo does not pass 2 of 3 gates",
        "attempt 1 was lost without a word, with its Pod or node (20 steps were done again)",
        "attempt 2 failed with CommunicationError: rank 3: a collective timed out after 1800 s",
        "jobs/team/support-assistant-01234567/dpo/attempts/2/evidence",
        "attempt 3 went on from step 390 (CommunicationError)",
        "12 of 160800 rows are invalid",
        "the task's data is not in the workspace",
        "Happy to help!",
        "it is warmer and says what to do next",
        "snapshots/d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
        "torch 2.9.0",
        "https://in-toto.io/Statement/v1",
        "s3://models/support/assistant/cdcd",
        "learning_rate 5e-07",
    ):
        assert words in text


def test_cost_and_lost_steps_are_those_of_the_attempts(job: Job) -> None:
    report = report_of(job)
    dpo = stage_of(report, "dpo")
    minutes = 14 + 14 + 19  # the lost attempt is over by the time that the next one begins
    assert dpo.cost.gpu_hours == pytest.approx(minutes / 60 * 2 * 8)
    assert dpo.cost.node_hours == pytest.approx(minutes / 60 * 2)
    assert (dpo.cost.restarts, dpo.cost.lost_steps) == (2, 20 + 10)
    assert [(each.attempt, each.step) for each in dpo.restarts] == [(2, 180), (3, 390)]
    assert report.cost.gpu_hours == pytest.approx(sum(stage.cost.gpu_hours for stage in report.stages))
    assert report.cost.tokens == 3 * 8192 * 600 + 8192 * 200 + 517 * 240


def test_each_step_is_in_the_curves_once(job: Job) -> None:
    for curve in stage_of(report_of(job), "dpo").curves:
        for series in curve.series:
            steps = [step for step, _ in series.points]
            assert steps == sorted(set(steps))
            assert (steps[0], steps[-1], series.reports) == (2, 600, 300)


def test_the_job_is_done_once_its_model_is_promoted(job: Job) -> None:
    assert report_of(job).state is State.RUNNING
    report = report_of(job, promotion=PROMOTED)
    assert report.state is State.SUCCEEDED
    assert {node.state for node in report.graph.nodes if node.id.startswith("promotion")} == {State.SUCCEEDED}


def test_samples_are_the_most_changed_prompts_and_random_others(job: Job) -> None:
    evaluation = stage_of(report_of(job), "check").evaluation
    assert evaluation is not None
    changed = [sample for sample in evaluation.samples if sample.chosen_as == "changed"]
    drawn = [sample for sample in evaluation.samples if sample.chosen_as == "random"]
    assert [sample.prompt_number for sample in changed] == list(range(10))
    assert len({sample.prompt_number for sample in drawn} - set(range(10))) == 10
    assert [response.model for response in changed[0].responses] == ["baseline", "simpo", "dpo"]
    again = stage_of(report_of(job), "check").evaluation
    assert again is not None
    assert again.samples == evaluation.samples


def test_what_is_written_is_what_is_given_away(job: Job) -> None:
    result = job_report.write(job.config, job.layout)
    assert result is not None
    assert gzip.decompress(result.page) == job.layout.report.read_bytes()
    assert gzip.decompress(result.numbers) == job.layout.report_numbers.read_bytes()
    assert result.path == "jobs/team/support-assistant-01234567/report.html"
    assert not list(job.layout.root.glob(".*"))


def test_pods_of_parallel_stages_do_not_write_into_each_others_files(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed: list[str] = []
    replace = os.replace

    def note(source: Path, target: Path) -> None:
        renamed.append(source.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    for pod in ("gang-a-0", "gang-b-0"):
        monkeypatch.setattr(socket, "gethostname", lambda pod=pod: pod)
        assert job_report.write(job.config, job.layout) is not None
    assert len(renamed) == len(set(renamed)) == 4


def test_a_job_of_ordinary_size_takes_less_than_a_second(job: Job) -> None:
    began = time.process_time()
    assert job_report.write(job.config, job.layout) is not None
    assert time.process_time() - began < 1


def test_writing_loads_none_of_the_training_stack() -> None:
    code = (
        "import sys, alignment_trainer.job_report, alignment_trainer.launch.supervisor\n"
        "print(*{'torch', 'transformers', 'datasets', 'numpy', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_job_of_which_nothing_ran_has_a_report(tmp_path: Path) -> None:
    job = Job.on(tmp_path)
    page, report = written(job)
    assert report.state is State.WAITING
    assert {stage.state for stage in report.stages} == {State.WAITING}
    assert "Nothing is known of it yet" in page
    assert report.cost.node_hours == 0


def test_what_prepare_found_wrong_is_told(tmp_path: Path) -> None:
    job = Job.on(tmp_path)
    problem = Problem(field="spec.stages[2].dataset", message="3 of 10 rows are invalid")
    page, report = written(job, problems=[problem])
    assert report.state is State.FAILED
    assert "spec.stages[2].dataset: 3 of 10 rows are invalid" in text_of(page)


def test_a_running_attempt_has_cost_something_already(tmp_path: Path) -> None:
    job = Job.on(tmp_path)
    job.attempt("sft", 1, minutes=(0, 10), steps=range(1, 11), total=100, exit_code=None)
    report = report_of(job)
    sft = stage_of(report, "sft")
    assert (report.state, sft.state, sft.attempts[0].ended_at) == (State.RUNNING, State.RUNNING, None)
    assert sft.cost.gpu_hours > 0
    assert report.ended_at is None


@pytest.mark.parametrize(
    ("exit_code", "state", "reason"),
    [
        (ExitCode.STOPPED_BY_GUARD, State.FAILED, "StoppedByGuard"),
        (ExitCode.PREEMPTED, State.STOPPED, "Preempted"),
        (137, State.FAILED, "ProcessKilled"),
    ],
)
def test_how_an_attempt_ended(tmp_path: Path, exit_code: int, state: State, reason: str) -> None:
    job = Job.on(tmp_path)
    job.attempt("sft", 1, minutes=(0, 9), steps=range(1, 9), total=99, exit_code=exit_code, message="words of its own")
    report = report_of(job)
    (attempt,) = stage_of(report, "sft").attempts
    assert (attempt.state, attempt.reason, attempt.message) == (state, reason, "words of its own")
    assert attempt.evidence == "jobs/team/support-assistant-01234567/sft/attempts/1/evidence"
    assert report.state is state


def test_an_attempt_of_an_old_release_without_a_record(tmp_path: Path) -> None:
    job = Job.on(tmp_path)
    job.attempt("sft", 1, minutes=(0, 60), steps=range(1, 61), total=60)
    job.stage("sft").attempt(1).record.unlink()
    job.model("sft")
    (attempt,) = stage_of(report_of(job), "sft").attempts
    assert isinstance(attempt, Attempt)
    assert (attempt.state, attempt.last_step, attempt.nodes, attempt.gpus_per_node) == (State.SUCCEEDED, 60, 2, 8)


GARBAGE = (
    b"",
    b"{",
    b"\x00\xff\xfe",
    b"[]",
    b"null",
    b'{"models": 3, "options": [], "limits": {}, "files": 1}',
    b"[" * 10**5,
)


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_torn_files_cost_no_more_than_what_they_held(tmp_path: Path, garbage: bytes) -> None:
    job = whole_job(tmp_path, steps=40, prompts=12)
    torn = [path for path in job.layout.root.rglob("*") if path.is_file()]
    assert len(torn) > 25
    for path in torn:
        path.write_bytes(garbage)
    page, report = written(job)
    assert "support-assistant" in page
    assert len(report.stages) == 5


def test_any_one_file_may_be_missing_or_cut_off(tmp_path: Path) -> None:
    job = whole_job(tmp_path, steps=20, prompts=4)
    for path in [path for path in job.layout.root.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        for left in (None, content[: len(content) // 2]):
            path.unlink()
            if left is not None:
                path.write_bytes(left)
            page, _ = written(job)
            assert page.rstrip().endswith("</html>")
            path.write_bytes(content)


def test_a_report_that_cannot_be_written_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = Job.on(tmp_path)
    job.layout.report.mkdir()
    assert job_report.write(job.config, job.layout) is None
    assert "the report could not be written" in caplog.text


CANARY = "<script>alert(1)</script>'\"><img src=https://evil.example/x onerror=alert(2)>{{ 7*7 }}\u202e\x00\ud800&lt;"
TAGS_OF_OURS = 2_000


def canaries(value: Any) -> Any:
    """``value`` with the canary at the end of each of its texts that a user can decide."""
    if isinstance(value, str):
        return value + CANARY
    if isinstance(value, dict):
        return {name: canaries(member) for name, member in value.items()}
    return [canaries(member) for member in value] if isinstance(value, list) else value


def hostile_job(workspace: Path) -> Job:
    """A job of which every text that comes from users, models, data or judges tries to break out of the page."""
    spec = json.loads(json.dumps(SPEC))
    spec["runtime"]["image"] = f"registry.example/<b>{CANARY[:40]}"
    job = Job.on(workspace, spec)
    job.attempt(
        "dpo",
        1,
        minutes=(0, 9),
        steps=range(1, 40),
        total=99,
        exit_code=ExitCode.FUNCTION_ERROR,
        message="<script>alert(1)</script>" * 20,
        metrics=("loss", "eval_loss", "<script>alert(3)</script>", '"><img src=x onerror=alert(4)>'),
    )
    own = job.stage("dpo").attempt(1)
    for path in (*own.evidence.glob("ending-*.json"), own.resolved):
        content = json.loads(path.read_text())
        kept = {key: content[key] for key in ("class", "time", "exitCode") if key in content}
        path.write_text(json.dumps(canaries(content) | kept))
    job.data("dpo", source=CANARY, format=CANARY, dropped=[{"rows": 1, "reason": CANARY}])
    job.data("simpo", limits=[{"field": CANARY, "counts": CANARY, "rows": 1, "of": 2, "fraction": 0.5, "limit": 0.1}])
    (job.stage("sft").model).mkdir(parents=True)
    (job.stage("sft").model / "complete.json").write_text(json.dumps({"digest": CANARY, "files": {}}))
    job.layout.prepared.write_text(json.dumps({"models": {CANARY: {CANARY: CANARY}}}))
    job.layout.lineage.write_text(json.dumps({CANARY: [CANARY]}))
    results = results_of(6)
    bad = CANARY.encode("utf-8", "replace").decode()
    candidates = [
        candidate.model_copy(
            update={
                "metrics": [m.model_copy(update={"of": bad, "problem": bad}) for m in candidate.metrics],
                "tallies": [t.model_copy(update={"judge": bad}) for t in candidate.tallies],
                "gates": [
                    g.model_copy(update={"metric": bad[:64], "value": None, "message": bad}) for g in candidate.gates
                ],
            }
        )
        for candidate in results.candidates
    ]
    judges = [judge.model_copy(update={"name": bad, "problems": [bad]}) for judge in results.judges]
    results = results.model_copy(update={"candidates": candidates, "judges": judges, "problems": [bad], "engine": bad})
    records = [record(number) for number in range(6)]
    for line in records:
        line["prompt"] = canaries(line["prompt"])
        line["responses"] = {name: canaries(answer) for name, answer in line["responses"].items()}
        line["judges"] = {
            judge + CANARY: {"scores": {}, "outcomes": {"dpo": 1.0, CANARY: 0.0}, "reasons": {"dpo": CANARY}}
            for judge in line["judges"]
        }
    job.evaluation(results, records)
    return job


class Structure(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")]


def test_no_text_of_anybody_becomes_a_part_of_the_page(tmp_path: Path) -> None:
    page, _ = written(
        hostile_job(tmp_path), problems=[Problem(field="x", message=CANARY.encode("utf-8", "replace").decode())]
    )
    structure = Structure()
    structure.feed(page)
    assert "script" not in structure.tags
    assert "img" not in structure.tags
    assert not {name for name in structure.attributes if name.startswith("on")}
    assert all(address.startswith(("#", "data:,")) for address in structure.addresses)
    assert page.count("&lt;script&gt;alert(1)") > 40
    assert "{{ 7*7 }}" in page
    assert "\x00" not in page
    assert "\u202e" not in page


def test_the_page_of_a_good_job_asks_for_nothing(page: str) -> None:
    structure = Structure()
    structure.feed(page)
    assert not {"script", "img", "iframe", "object", "embed", "form", "base"} & set(structure.tags)
    assert all(address.startswith(("#", "data:,")) for address in structure.addresses)
    assert "url(http" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def huge_job(workspace: Path) -> Job:
    """As many stages as there can be, each with many metrics and steps, and evaluations of eight candidates whose texts
    cannot be compressed."""
    names = [f"stage-{number}" for number in range(8)]
    trainings = [{"name": name, "dataset": {"volume": {"path": "data/x.jsonl"}}, "sft": {}} for name in names]
    candidates = [{"name": name, "model": {"fromStage": name}} for name in names]
    evaluate = SPEC["stages"][-1]["evaluate"] | {"candidates": candidates, "baseline": {"fromStage": names[0]}}
    evaluate["judges"] = [{"name": "form", "heuristic": {}}]
    evaluations = [
        {"name": f"check-{number}", "dataset": {"volume": {"path": "data/x.jsonl"}}, "evaluate": evaluate}
        for number in range(8)
    ]
    job = Job.on(workspace, SPEC | {"stages": [*trainings, *evaluations]})
    for name in names:
        metrics = [f"rewards/function-{number}/mean" for number in range(20)]
        job.attempt(name, 1, minutes=(0, 600), steps=range(1, 401), total=400, metrics=metrics)
    results = results_of(20)
    draw = random.Random(0)
    unpredictable = "".join(map(chr, draw.choices(range(0x4E00, 0x9FFF), k=200_000)))

    def noise() -> str:
        begin = draw.randrange(190_000)
        return unpredictable[begin : begin + 6000]

    for stage in evaluations:
        own = [
            results.candidates[0].model_copy(
                update={"name": name, "changed": [ChangedPrompt(prompt=n, similarity=0) for n in range(10)]}
            )
            for name in names
        ]
        records = [
            {
                "prompt": [{"role": "user", "content": noise()}],
                "responses": {name: {"text": noise(), "tokens": 1} for name in ["baseline", *names]},
            }
            for _ in range(20)
        ]
        found: EvaluationResults = results.model_copy(update={"stage": stage["name"], "candidates": own})
        job.evaluation(found, records)
    return job


def test_the_largest_job_has_a_report_that_can_be_kept_and_served(tmp_path: Path) -> None:
    job = huge_job(tmp_path)
    began = time.process_time()
    result = job_report.write(job.config, job.layout)
    assert time.process_time() - began < 20
    assert result is not None
    assert len(result.page) <= MAX_PAGE
    assert len(result.page) + len(result.numbers) <= MAX_BOTH


def test_a_history_of_any_length_is_read_in_bounded_time(tmp_path: Path) -> None:
    job = Job.on(tmp_path)
    job.attempt("sft", 1, minutes=(0, 10), steps=range(1, 3), total=2_000_000, metrics=PREFERENCE_METRICS)
    with job.stage("sft").attempt(1).metrics.open("w") as file:
        for step in range(1, 400_001):
            file.write(f'{{"time": "2026-03-01T08:00:00+00:00", "step": {step}, "loss": {1 / step:.9f}}}\n')
    began = time.process_time()
    (curve,) = stage_of(report_of(job), "sft").curves
    assert time.process_time() - began < 8
    steps = [step for step, _ in curve.series[0].points]
    assert (steps[0], steps[-1]) == (1, 400_000)
    assert len(steps) <= 400
