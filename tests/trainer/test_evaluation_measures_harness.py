"""Tasks of the LM Evaluation Harness: scores against plain computations and against the harness itself."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
import torch
import yaml
from lm_eval.api.group import AggMetricConfig, Group
from lm_eval.api.registry import get_aggregation
from lm_eval.evaluator import evaluate
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.evaluation import HarnessTask
from alignment_trainer.evaluation.language_model import LanguageModel
from alignment_trainer.evaluation.measurement import Transform
from alignment_trainer.evaluation.measures import harness
from alignment_trainer.evaluation.measures.harness.asking import wrapped
from alignment_trainer.evaluation.measures.harness.building import Built
from alignment_trainer.evaluation.measures.harness.refusals import Refused
from alignment_trainer.evaluation.measures.harness.scoring import scoring_of
from alignment_trainer.evaluation.measures.units import Unit
from alignment_trainer.exceptions import ConfigurationError, DataError, UnavailableError

from . import harness_tasks
from .hub_server import running

FIELD = "spec.stages[0].evaluate.measures.tasks[0]"


@pytest.fixture
def layout(tmp_path: Path) -> JobLayout:
    return JobLayout(workspace=tmp_path, job=JobReference(namespace="team", name="job", uid="0123456789"))


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LanguageModel:
    return LanguageModel(str(tiny_model), Tokenizer(), "cpu")


@pytest.fixture(scope="module")
def written(tiny_model: Path) -> list[str]:
    """What the tiny model writes after each question of `harness_tasks`, in at most five tokens of one line."""
    tokenizer, plain = AutoTokenizer.from_pretrained(tiny_model), AutoModelForCausalLM.from_pretrained(tiny_model)
    answers = []
    for row in harness_tasks.rows():
        ids = tokenizer(f"say {row['word']}", return_tensors="pt")["input_ids"]
        output = plain.generate(ids, max_new_tokens=5, do_sample=False)[0, ids.shape[1] :]
        answers.append(tokenizer.decode(output, skip_special_tokens=True).split("\n")[0])
    return answers


def task(**fields: Any) -> HarnessTask:
    return HarnessTask.model_validate({"name": "mine", "task": "colours", "folder": "tasks"} | fields)


def prepared(layout: JobLayout, settings: HarnessTask) -> harness.Questions:
    """The questions as a gang has them."""
    harness.prepare(settings, layout.stage("check"), layout, FIELD, {})
    return harness.Questions.load(settings, layout.stage("check"), FIELD)


def score(questions: harness.Questions, model: LanguageModel, batch_size: int = 4) -> list[Unit]:
    return questions.score(wrapped(model, batch_size), range(len(questions)))


def log_likelihood(folder: Path, context: str, continuation: str) -> float:
    """Of a continuation after a context, in nats."""
    tokenizer, plain = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    before, ids = tokenizer(context)["input_ids"], tokenizer(context + continuation)["input_ids"]
    assert ids[: len(before)] == before
    with torch.no_grad():
        scores = plain(torch.tensor([ids])).logits[0].log_softmax(-1)
    return math.fsum(scores[i - 1, ids[i]].item() for i in range(len(before), len(ids)))


class TestScores:
    """Numbers of own tasks."""

    def test_multiple_choice(self, layout: JobLayout, tiny_model: Path, model: LanguageModel) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        likelihoods = [
            [log_likelihood(tiny_model, f"say {row['word']}", f" {choice}") for choice in row["choices"]]
            for row in harness_tasks.rows()
        ]
        best = [max(range(3), key=own.__getitem__) for own in likelihoods]
        by_length = [
            max(range(3), key=lambda i: own[i] / len(row["choices"][i]))
            for own, row in zip(likelihoods, harness_tasks.rows(), strict=True)
        ]
        gold = [row["gold"] for row in harness_tasks.rows()]
        expected = {
            None: [float(a == b) for a, b in zip(best, gold, strict=True)],
            "acc_norm": [float(a == b) for a, b in zip(by_length, gold, strict=True)],
            "brier_score": [
                sum((math.exp(x) / sum(map(math.exp, own)) - (i == right)) ** 2 for i, x in enumerate(own))
                for own, right in zip(likelihoods, gold, strict=True)
            ],
        }
        for metric, values in expected.items():
            found = score(prepared(layout, task(**({"metric": metric} if metric else {}))), model)
            assert [unit[0] for unit in found] == pytest.approx(values, abs=1e-4)
            assert {unit[1] for unit in found} == {1}
            assert json.loads(json.dumps(found)) == found
        assert 0 < sum(expected[None]) < 13
        assert expected[None] != expected["acc_norm"]

    def test_written_answers(self, layout: JobLayout, model: LanguageModel, written: list[str]) -> None:
        harness_tasks.save(layout.workspace / "tasks", [w if i % 3 else f"{w}?" for i, w in enumerate(written)])
        questions = prepared(layout, task(task="writing"))
        found = score(questions, model)
        assert [unit[0] for unit in found] == [float(i % 3 > 0) for i in range(13)]
        assert found == score(questions, model, batch_size=1)
        assert questions.summary().longest_answer == 5

    def test_perplexity_of_words(self, layout: JobLayout, tiny_model: Path, model: LanguageModel) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        questions = prepared(layout, task(task="rolling"))
        found = questions.measurement("new", score(questions, model), score(questions, model))
        assert found.transform is Transform.EXP
        assert found.own is not None
        texts = [f"say {row['word']} and {row['choices'][0]}" for row in harness_tasks.rows()]
        # The first token is asked for after the one that ends texts, for want of one that begins them.
        expected = [-log_likelihood(tiny_model, "<|end|>", text) for text in texts]
        assert list(found.own.numerators) == pytest.approx(expected, abs=1e-3)
        assert list(found.own.denominators) == [len(text.split()) for text in texts]

    @pytest.mark.parametrize("few_shot", [0, 3])
    def test_they_are_those_that_the_harness_reports(
        self, layout: JobLayout, model: LanguageModel, few_shot: int
    ) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        config = {**harness_tasks.CHOICE, "num_fewshot": few_shot}
        files = {split: str(layout.workspace / "tasks" / f"{name}.jsonl") for split, name in (
            ("test", "questions"), ("train", "examples"),
        )}  # fmt: skip
        own = lm_eval.tasks.TaskManager(include_defaults=False).load(
            [config | {"dataset_kwargs": {"data_files": files, "cache_dir": str(layout.cache)}}]
        )
        for each in own["tasks"].values():
            each.set_fewshot_seed(1234)
        reported = evaluate(wrapped(model, 4), own, bootstrap_iters=0)["results"]["colours"]
        for metric in ("acc", "acc_norm", "brier_score"):
            found = score(prepared(layout, task(metric=metric, fewShot=few_shot)), model)
            assert sum(unit[0] for unit in found) / 13 == pytest.approx(reported[f"{metric},none"], abs=1e-5)

    def test_any_part_of_the_questions_in_any_order(self, layout: JobLayout, model: LanguageModel) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        questions = prepared(layout, task(metric="brier_score", fewShot=2))
        together = score(questions, model)
        parts = {n: questions.score(wrapped(model, 2), [n])[0] for n in (7, 0, 12)}
        assert all(unit == pytest.approx(together[n], abs=1e-5) for n, unit in parts.items())

    def test_forward_passes_are_as_small_as_memory_is(
        self, layout: JobLayout, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        questions = prepared(layout, task(metric="brier_score", fewShot=2))
        sizes: list[int] = []

        def note(_: Any, inputs: tuple[torch.Tensor], __: Any) -> None:
            sizes.append(inputs[0].numel())

        hook = model.model.register_forward_hook(note)
        at_once, largest = score(questions, model, batch_size=64), max(sizes)
        sizes.clear()
        monkeypatch.setattr("alignment_trainer.evaluation.measures.harness.asking._MOST_LOGITS", 320 * 100)
        little_by_little = score(questions, model, batch_size=64)
        hook.remove()
        assert max(sizes) < largest / 4
        for one, other in zip(at_once, little_by_little, strict=True):
            assert one == pytest.approx(other, abs=1e-5)

    def test_a_limit(self, layout: JobLayout) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        assert len(prepared(layout, task(limit=4))) == 4

    def test_what_prepare_left_is_enough(self, layout: JobLayout, model: LanguageModel) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        first = score(prepared(layout, task()), model)
        for path in (layout.workspace / "tasks").iterdir():
            path.unlink()
        assert score(prepared(layout, task()), model) == first, "neither Prepare nor a gang needs the folder again"

    def test_questions_that_came_out_otherwise(self, layout: JobLayout) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        prepared(layout, task())
        summary = layout.stage("check").data / "tasks" / "mine" / "questions.json"
        summary.write_text(json.dumps(json.loads(summary.read_text()) | {"digest": "0" * 64}))
        with pytest.raises(ConfigurationError, match="otherwise each time"):
            harness.Questions.load(task(), layout.stage("check"), FIELD)


class TestGroups:
    """Scores of several tasks together."""

    @pytest.fixture
    def built(self, layout: JobLayout) -> Built:
        """A group of two tasks, of 13 questions and of 4."""
        harness_tasks.save(layout.workspace / "tasks")
        lines = (layout.workspace / "tasks" / "questions.jsonl").read_text().splitlines(keepends=True)
        (layout.workspace / "tasks" / "few.jsonl").write_text("".join(lines[:4]))
        root = str(layout.workspace / "tasks")
        tasks = []
        for name, file in (("all", "questions"), ("few", "few")):
            options = {"data_files": {"test": f"{root}/{file}.jsonl"}, "cache_dir": str(layout.cache)}
            config = {**harness_tasks.CHOICE, "task": name, "fewshot_split": None, "dataset_kwargs": options}
            tasks += lm_eval.tasks.TaskManager(include_defaults=False).load([config])["tasks"].values()
        return Built(tasks, Group("both"))

    @pytest.mark.parametrize("by_size", [True, False])
    def test_the_mean_is_that_of_the_group(self, built: Built, model: LanguageModel, by_size: bool) -> None:
        assert built.group is not None
        built.group.aggregate_metric_list = [AggMetricConfig("acc", weight_by_size=by_size)]
        for each in built.tasks:
            built.group.add(each)
        found = score(harness.Questions(built, task(metric="acc"), FIELD), model)
        mean = sum(unit[0] for unit in found) / sum(unit[1] for unit in found)
        loaded = {"tasks": {each.task_name: each for each in built.tasks}, "groups": {"both": built.group}}
        reported = evaluate(wrapped(model, 4), loaded, bootstrap_iters=0)
        assert mean == pytest.approx(reported["groups"]["both"]["acc,none"])
        each = [reported["results"][name]["acc,none"] for name in ("all", "few")]
        assert each[0] != each[1]

    def test_a_group_without_a_score(self, built: Built) -> None:
        with pytest.raises(Refused, match="both has no score of its own, not acc: name another metric or one of its"):
            scoring_of(built, None)


def refused(layout: JobLayout, settings: HarnessTask) -> str:
    """Why Prepare refuses a task."""
    with pytest.raises(ConfigurationError) as caught:
        harness.prepare(settings, layout.stage("check"), layout, FIELD, {"tiny": 256})
    (problem,) = caught.value.problems
    assert problem.field == f"{FIELD}.task"
    assert not list((layout.stage("check").data / "tasks").glob("*")), "nothing is left that looks like a task"
    return problem.message


class TestOwnTasksThatAreRefused:
    """Code, files elsewhere and mistakes."""

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"process_docs": "!function utils.process"}, r"names the Python function utils.process \(process_docs\)"),
            ({"metric_list": [{"metric": "!function utils.m"}]}, r"function utils.m \(metric_list\[0\].metric\)"),
            ({"class": "some.Class"}, "sets class"),
            ({"generation_kwargs": {"custom_generate": "x/y", "until": []}}, "sets generation_kwargs.custom_generate"),
            ({"unsafe_code": True}, "runs what the model answers as a program"),
            ({"metric_list": [{"metric": "someone/evil"}]}, "scored by someone/evil, which would be downloaded"),
            ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "downloaded and run as code"),
            ({"include": "../outside.yaml"}, "includes ../outside.yaml does not lie in the task's folder"),
            ({"include": "/etc/passwd"}, "does not lie in the task's folder"),
            ({"include": "none.yaml"}, "none.yaml does not exist"),
            ({"include": "colours.yaml"}, "which includes it"),
            ({"dataset_kwargs": {"data_files": {"test": "/etc/passwd"}}}, "does not lie in the task's folder"),
            ({"dataset_kwargs": {"data_files": {"test": "link.jsonl"}}}, "does not lie in the task's folder"),
            ({"dataset_kwargs": {"data_files": {"test": "none.jsonl"}}}, "none.jsonl does not exist"),
            ({"dataset_kwargs": {"data_files": {"test": "https://x.y/z.jsonl"}}}, "does not exist"),
            ({"dataset_kwargs": {}}, "data_files must name the json files"),
            ({"dataset_kwargs": {"field": "x"}}, "may not have field"),
            ({"dataset_path": "/etc"}, "'/etc' is neither a dataset on the hub nor"),
            ({"dataset_path": "org/x", "dataset_kwargs": {"data_files": "/etc/passwd"}}, "does not lie in the dataset"),
            ({"doc_to_text": "{{ ''.__class__.__mro__ }}"}, "SecurityError"),
            ({"doc_to_text": "{{ unknown }}"}, "'unknown' is undefined"),
            ({"doc_to_txt": "x"}, "unexpected keyword argument 'doc_to_txt'"),
            ({"test_split": "validation"}, "KeyError: 'validation'"),
            ({"output_type": "singing"}, "invalid output_type 'singing'"),
        ],
    )
    def test_what_is_in_them(self, layout: JobLayout, change: dict[str, Any], words: str) -> None:
        folder = layout.workspace / "tasks"
        harness_tasks.save(folder)
        (layout.workspace / "outside.yaml").write_text("task: outside")
        (layout.workspace / "outside.jsonl").write_text("{}")
        (folder / "link.jsonl").symlink_to(layout.workspace / "outside.jsonl")
        text = yaml.safe_dump(harness_tasks.CHOICE | change)
        (folder / "colours.yaml").write_text(re.sub(r"'(!function [^']*)'", r"\1", text))
        assert re.search(words, refused(layout, task())), refused(layout, task())

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"task": "colour"}, "tasks has no task 'colour', but colours, rolling, writing; did you mean colours?"),
            ({"folder": "nowhere"}, "nowhere is no folder in the workspace volume"),
            ({"metric": "f1"}, "colours has no metric 'f1': name one of acc, acc_norm, brier_score"),
            ({"metric": "acc,strict"}, "there is no filter 'strict': name one of none"),
            ({"task": "writing", "fewShot": 20}, "the questions of writing cannot be made"),
        ],
    )
    def test_what_is_asked_of_them(self, layout: JobLayout, fields: dict[str, Any], words: str) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        assert words in refused(layout, task(**fields))

    def test_functions_of_included_files(self, layout: JobLayout) -> None:
        folder = layout.workspace / "tasks"
        harness_tasks.save(folder)
        (folder / "base.yaml").write_text("process_results: !function utils.run\n")
        (folder / "utils.py").write_text("raise SystemExit('it was run')")
        (folder / "colours.yaml").write_text(yaml.safe_dump(harness_tasks.CHOICE | {"include": "base.yaml"}))
        assert "Python function utils.run" in refused(layout, task())

    def test_a_metric_that_is_no_mean(self, layout: JobLayout) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        metrics = [{"metric": "f1", "aggregation": "f1"}, {"metric": "acc", "aggregation": "mean"}]
        changed = harness_tasks.CHOICE | {"metric_list": metrics}
        (layout.workspace / "tasks" / "colours.yaml").write_text(yaml.safe_dump(changed))
        assert "f1 is not a mean over questions, so it has no interval: name another: acc" in refused(layout, task())
        assert len(prepared(layout, task(metric="acc"))) == 13

    def test_examples_for_a_task_that_wants_none(self, layout: JobLayout) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        changed = harness_tasks.CHOICE | {"num_fewshot": 0}
        (layout.workspace / "tasks" / "colours.yaml").write_text(yaml.safe_dump(changed))
        assert "remove fewShot" in refused(layout, task(fewShot=2))

    def test_answers_longer_than_a_model_can_take(self, layout: JobLayout) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        changed = harness_tasks.WRITING | {"generation_kwargs": {"until": ["\n"], "max_gen_toks": 256}}
        (layout.workspace / "tasks" / "writing.yaml").write_text(yaml.safe_dump(changed))
        with pytest.raises(ConfigurationError, match="write up to 256 tokens, and tiny takes 256 with the question"):
            harness.prepare(task(task="writing"), layout.stage("check"), layout, FIELD, {"tiny": 256})

    def test_data_that_cannot_be_read(self, layout: JobLayout) -> None:
        harness_tasks.save(layout.workspace / "tasks")
        (layout.workspace / "tasks" / "questions.jsonl").write_text('{"word": \n')
        with pytest.raises((ConfigurationError, DataError)) as caught:
            harness.prepare(task(), layout.stage("check"), layout, FIELD, {})
        assert caught.value.problems[0].field == f"{FIELD}.task"


class TestTasksOfTheHarness:
    """Found by name; those that cannot be run."""

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("arc_eazy", "the harness has no task 'arc_eazy'; did you mean arc_easy"),
            ("ai2_arc", "is a tag of several tasks, which have no score together: name one: arc_challenge, arc_easy"),
            ("humaneval", "runs what the model answers as a program"),
            ("squadv2", "squadv2 is a Python class of the harness"),
        ],
    )
    def test_refused(self, layout: JobLayout, name: str, words: str) -> None:
        assert words in refused(layout, HarnessTask(name="mine", task=name))

    def test_an_unreachable_hub(self, layout: JobLayout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        with pytest.raises(UnavailableError) as caught:
            harness.prepare(HarnessTask(name="arc", task="arc_easy"), layout.stage("check"), layout, FIELD, {})
        (problem,) = caught.value.problems
        assert problem.field == f"{FIELD}.task"
        assert "dataset allenai/ai2_arc" in problem.message


PREPARE = """
import socket, sys
from pathlib import Path

def refuse(*arguments):
    raise AssertionError(f"importing needs no network: {arguments}")

functions = socket.socket.connect, socket.getaddrinfo
socket.socket.connect = socket.getaddrinfo = refuse
from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1.evaluation import HarnessTask
from alignment_trainer.evaluation.measures import harness
from alignment_trainer.evaluation.measures.harness.definition import Definition

Definition.of_harness("arc_easy").manager()
socket.socket.connect, socket.getaddrinfo = functions
layout = JobLayout(Path(sys.argv[1]), JobReference(namespace="team", name="job", uid="0123456789"))
harness.prepare(HarnessTask(name="arc", task="arc_easy", few_shot=2), layout.stage("check"), layout, "spec", {})
"""


def test_a_task_of_the_harness_with_data_from_a_hub(layout: JobLayout, model: LanguageModel) -> None:
    def lines(split: str, count: int) -> bytes:
        rows = [
            {
                "id": f"{split}{i}",
                "question": f"which is {row['word']} {i}?",
                "choices": {"text": row["choices"], "label": ["A", "B", "C"]},
                "answerKey": "ABC"[row["gold"]],
            }
            for i, row in enumerate(harness_tasks.rows()[:count])
        ]
        return "".join(json.dumps(row) + "\n" for row in rows).encode()

    sizes = {"train": 6, "validation": 3, "test": 9}
    card = "---\nconfigs:\n- config_name: ARC-Easy\n  data_files:\n" + "".join(
        f"  - split: {split}\n    path: ARC-Easy/{split}.jsonl\n" for split in sizes
    )
    files = {f"ARC-Easy/{split}.jsonl": lines(split, count) for split, count in sizes.items()}
    with running({"allenai/ai2_arc": {"README.md": f"{card}---\n".encode(), **files}}) as hub:
        home = layout.workspace / "home"
        variables = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}
        subprocess.run(
            [sys.executable, "-c", PREPARE, layout.workspace], env=os.environ | variables, check=True, timeout=300
        )
    # The hub is gone.
    settings = HarnessTask(name="arc", task="arc_easy", few_shot=2)
    found = score(harness.Questions.load(settings, layout.stage("check"), FIELD), model)
    assert len(found) == sizes["test"]
    assert all(unit in ([0.0, 1], [1.0, 1]) for unit in found)
    assert not list(home.rglob("*.arrow")), "data is kept in the workspace's cache"
    assert list(layout.cache.rglob("*.arrow"))


def test_the_aggregations_that_are_known_are_those_of_the_registry() -> None:
    from alignment_trainer.evaluation.measures.harness.scoring import _RATIOS

    names = ("mean", "nanmean", "perplexity", "weighted_perplexity", "bits_per_byte", "brier_score")
    assert set(_RATIOS) == {get_aggregation(name) for name in names}
