"""An evaluate stage on tiny models: numbers against plain computations, and a gang against a single process."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from alignment_api.contract import RunConfig
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import AlignmentJobSpec, CandidateStatus, GateStatus, Tokenizer
from alignment_api.v1alpha1.evaluation import Generation
from alignment_trainer import prepare
from alignment_trainer.data.rows import Role, message
from alignment_trainer.evaluation import language_model
from alignment_trainer.evaluation import stage as evaluation
from alignment_trainer.evaluation.language_model import LanguageModel
from alignment_trainer.evaluation.responses import unpacked
from alignment_trainer.evaluation.results import RESPONSES, RESPONSES_TABLE, EvaluationResults, MetricResult
from alignment_trainer.evaluation.status_metrics import status_metrics
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.models.reward_model import RewardModel
from alignment_trainer.run_files import RUN_FOLDER_VARIABLE

from . import judge_endpoint, tiny
from .conftest import JOB, Workspace, training_pids, workspace_in

STAGE = "check"
PROMPTS = [
    (message(Role.USER, "say red"),),
    (message(Role.SYSTEM, "be kind"), message(Role.USER, "say a much longer thing about the river")),
    (message(Role.USER, "go"),),
]
ANSWERS = ["kind red", "curt", "a happy garden of large clouds"]


def save_reward_model(folder: Path, labels: int = 1) -> None:
    """A reward model with random weights, as a reward stage would export it."""
    tokenizer = tiny.save_tokenizer(folder)
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_labels=labels, pad_token_id=tokenizer.pad_token_id, initializer_range=0.2,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)


def test_batched_log_probabilities_equal_plain_ones(tiny_model: Path) -> None:
    answered = [(p, (message(Role.ASSISTANT, a),)) for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    sums = LanguageModel(str(tiny_model), Tokenizer(), "cpu").log_probabilities(answered)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    for (prompt, answer), total in zip(answered, sums, strict=True):
        asked = tokenizer.apply_chat_template([*prompt], add_generation_prompt=True, tokenize=False)
        whole = tokenizer.apply_chat_template([*prompt, *answer], tokenize=False)
        start, ids = len(tokenizer(asked)["input_ids"]), tokenizer(whole, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            log_probabilities = model(ids).logits.log_softmax(-1)[0]
        expected = sum(log_probabilities[i - 1, ids[0, i]].item() for i in range(start, ids.shape[1]))
        assert total == pytest.approx(expected, abs=1e-3)


def test_batched_responses_equal_single_ones(tiny_model: Path) -> None:
    model = LanguageModel(str(tiny_model), Tokenizer(), "cpu")
    greedy = Generation(max_new_tokens=8)
    together = model.respond(PROMPTS, greedy, 0)
    assert together == [model.respond([prompt], greedy, 0)[0] for prompt in PROMPTS]
    assert all(answer.tokens == 8 or answer.finished for answer in together)


def test_sampling_depends_on_seed_and_batch_alone(tiny_model: Path) -> None:
    model = LanguageModel(str(tiny_model), Tokenizer(), "cpu")
    sampled = Generation(max_new_tokens=8, temperature=1.0, seed=3)
    assert model.respond(PROMPTS, sampled, 1) == model.respond(PROMPTS, sampled, 1)
    assert model.respond(PROMPTS, sampled, 1) != model.respond(PROMPTS, sampled, 2)


def test_batched_rewards_equal_single_ones(tmp_path: Path) -> None:
    save_reward_model(tmp_path)
    model = RewardModel(str(tmp_path), Tokenizer(), "cpu", "judge")
    answered = [[*p, message(Role.ASSISTANT, a)] for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    together = model.scores(answered)
    assert together == pytest.approx([model.scores([one])[0] for one in answered], abs=1e-5)
    assert len(set(together)) == 3


def test_a_classifier_of_several_labels_is_no_judge(tmp_path: Path) -> None:
    save_reward_model(tmp_path, labels=3)
    with pytest.raises(ConfigurationError, match="3 outputs"):
        RewardModel(str(tmp_path), Tokenizer(), "cpu", "judge")


def test_what_lies_before_the_responses_does_not_change_their_likelihood(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel(str(tiny_model), Tokenizer(), "cpu")
    rows = [model.row_of_tokens(prompt, [40 + i, 50, 60 + i][: i + 1]) for i, prompt in enumerate(PROMPTS)]
    together = model.likelihoods(rows)
    assert [found.tokens for found in together] == [1, 2, 3]
    monkeypatch.setattr(language_model, "_MOST_LOGITS", 1)  # one row at a time
    alone = model.likelihoods(rows)
    assert [a.log_probability for a in together] == pytest.approx([a.log_probability for a in alone], abs=1e-4)
    with torch.no_grad():
        for row, found in zip(rows, together, strict=True):
            log_probabilities = model.model(torch.tensor([row.ids])).logits.log_softmax(-1)[0]
            expected = sum(log_probabilities[i - 1, row.ids[i]].item() for i in range(row.start, len(row.ids)))
            assert found.log_probability == pytest.approx(expected, abs=1e-4)


def prepared_job(workspace: Workspace, judge_url: str) -> RunConfig:
    """A job of one evaluate stage on two processes, prepared: two candidates, of which one is the baseline itself."""
    volume = {name: {"volume": {"path": f"models/{name}"}} for name in ("tiny", "other", "reward")}
    rows = [
        {"prompt": f"say {word} {again}", "chosen": f"kind {word}", "rejected": "curt"}
        for word in tiny.WORDS
        for again in ("", "and now")
    ]
    texts = [{"text": f"the {one} {other} is near"} for one in tiny.WORDS for other in ("cloud", "garden")]
    spec = AlignmentJobSpec.model_validate(
        {
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "runtime": {"processesPerNode": 2},
            "stages": [
                {
                    "name": STAGE,
                    "dataset": {"inline": {"rows": rows}},
                    "evaluate": {
                        "candidates": [
                            {"name": "same", "model": volume["tiny"]},
                            {"name": "other", "model": volume["other"]},
                        ],
                        "baseline": volume["tiny"],
                        "generation": {"maxNewTokens": 24, "temperature": 1.0, "batchSize": 2},
                        "judges": [
                            {"name": "reward", "rewardModel": volume["reward"]},
                            {"name": "form", "heuristic": {}},
                            {"name": "long", "llm": {"url": judge_url, "model": "judge"}},
                        ],
                        "measures": {"texts": [{"name": "general", "inline": {"rows": texts}}]},
                        "gates": [
                            {"metric": "winRate", "judge": "long", "atLeast": 0.99, "confidence": 0.95},
                            {"metric": "kl", "atLeast": 1e-4},
                            {"metric": "perplexity", "measure": "general", "relativeToBaseline": "ratio", "atMost": 2},
                        ],
                    },
                }
            ],
        }
    )
    config = RunConfig(job=JOB, spec=spec)
    prepare.main(config, workspace.layout)
    return config


@dataclass(frozen=True)
class Evaluated:
    """A stage that ran to its end.

    Attributes:
        workspace: where it lies.
        config: the job.
        gates: what it decided.
        candidates: what it found of each, in short.
    """

    workspace: Workspace
    config: RunConfig
    gates: list[GateStatus]
    candidates: list[CandidateStatus]

    @property
    def results(self) -> EvaluationResults:
        return EvaluationResults.load(self.report)

    @property
    def report(self) -> Path:
        return self.workspace.layout.stage(STAGE).report

    @property
    def responses(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.report / RESPONSES).read_text().splitlines()]

    def metric(self, candidate: str, metric: str, of: str | None = None) -> MetricResult:
        (found,) = (each for each in self.results.candidates if each.name == candidate)
        (own,) = (each for each in found.metrics if (each.metric, each.of) == (metric, of))
        return own


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[tuple[Workspace, RunConfig]]:
    """A job that waits to be evaluated, and its judge."""
    root = tmp_path_factory.mktemp("prepared")
    with judge_endpoint.serving() as server, workspace_in(root, tiny_model) as workspace:
        tiny.save_model(_folder(workspace, "other"), seed=1)
        save_reward_model(_folder(workspace, "reward"))
        config = prepared_job(workspace, server.url)
        (root / "job.json").write_text(config.model_dump_json(by_alias=True))
        yield workspace, config


@pytest.fixture(scope="module")
def evaluated(prepared: tuple[Workspace, RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Evaluated by a gang of two processes, undisturbed."""
    workspace, config = prepared
    own = Workspace(tmp_path_factory.mktemp("undisturbed") / "workspace")
    shutil.copytree(workspace.root, own.root)
    summary = own.run(own.root / "job.json", STAGE)
    assert summary.exit_code == ExitCode.OK, summary.message
    assert summary.progress is not None
    assert summary.progress.step == summary.progress.total_steps > 0
    assert summary.gates is not None
    assert summary.candidates is not None
    found = Evaluated(own, config, summary.gates, summary.candidates)
    assert summary.progress.metrics == status_metrics(found.results)
    return found


def leave_half_a_report(workspace: Workspace) -> None:
    """What an attempt leaves that was cut off while it wrote; the next one takes nothing of it."""
    folder = workspace.layout.stage(STAGE).report
    folder.mkdir(exist_ok=True)
    (folder / RESPONSES).write_text('{"prompt": [{"role": "user", "cont')


def test_a_gang_finds_what_one_process_finds(
    prepared: tuple[Workspace, RunConfig], evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, config = prepared
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path))
    own = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.root, own.root)
    decision = evaluation.run(config, own.layout, config.spec.stage(STAGE), attempt=1)
    alone = Evaluated(own, config, decision.gates, decision.candidates)
    # Processes of other surroundings may add in another order: scores differ in the last bits.
    for ours, theirs in zip(evaluated.responses, alone.responses, strict=True):
        assert ours["responses"] == theirs["responses"]
        for name, score in ours["judges"]["reward"]["scores"].items():
            assert score == pytest.approx(theirs["judges"]["reward"]["scores"][name], abs=1e-4)
    for gate, other in zip(evaluated.gates, alone.gates, strict=True):
        assert gate.passed is other.passed
        assert gate.value == pytest.approx(other.value, abs=1e-4)
    assert [found.chosen for found in alone.candidates] == [False, True]


def test_a_killed_gang_goes_on_where_it_was(prepared: tuple[Workspace, RunConfig], evaluated: Evaluated) -> None:
    workspace, config = prepared
    job, store = workspace.root / "job.json", workspace.layout.stage(STAGE).evaluation
    pod = workspace.start(job, STAGE)
    deadline = time.monotonic() + 240
    while len(list(store.glob("responses-other-*/*.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    for pid in (*training_pids(pod.process.pid), pod.process.pid):  # as when the node is lost
        os.kill(pid, signal.SIGKILL)
    pod.process.wait()
    before, whole = batches(store), batches(evaluated.workspace.layout.stage(STAGE).evaluation)
    assert before
    assert before < whole
    leave_half_a_report(workspace)

    summary = workspace.run(job, STAGE, attempt=2)
    assert summary.exit_code == ExitCode.OK, summary.message
    assert batches(store, "2") == whole - before
    assert summary.gates == evaluated.gates
    assert summary.candidates == evaluated.candidates
    resumed = Evaluated(workspace, config, evaluated.gates, evaluated.candidates)
    for name in (RESPONSES, RESPONSES_TABLE):
        assert (resumed.report / name).read_bytes() == (evaluated.report / name).read_bytes()
    differing = {"attempt", "seconds", "costs"}
    assert resumed.results.model_dump(exclude=differing) == evaluated.results.model_dump(exclude=differing)
    assert summary.progress is not None
    assert summary.progress.step == summary.progress.total_steps > 0


def batches(root: Path, attempt: str = "*") -> set[tuple[str, int]]:
    """(part, number) of every whole batch in an evaluation's folder."""
    found = []
    for path in root.glob(f"*/{attempt}-*.jsonl"):
        for line in path.read_text().splitlines():
            with suppress(ValueError, KeyError):  # a torn line, and what a language model has cost
                found.append((path.parent.name, json.loads(line)["batch"]))
    assert len(found) == len(set(found)), "no batch is computed twice"
    return set(found)


def test_the_best_candidate_is_chosen(evaluated: Evaluated) -> None:
    results = evaluated.results
    assert results.chosen.name == "other"
    assert results.chosen.path == "models/other"
    assert results.chosen.passed is False
    assert [gate.passed for gate in results.chosen.gates] == [False, True, True]
    assert evaluated.gates == results.chosen.gates
    assert [(found.name, found.passed_gates, found.chosen) for found in evaluated.candidates] == [
        ("same", 1, False),
        ("other", 2, True),
    ]
    assert (results.prompts, results.pairs, results.engine, results.processes) == (26, 26, "transformers", 2)
    drawn = [answer["tokens"] for line in evaluated.responses for answer in line["responses"].values()]
    assert results.tokens == sum(drawn)


def test_status_gets_the_numbers_of_the_chosen_candidate(evaluated: Evaluated) -> None:
    metrics, tally = status_metrics(evaluated.results), evaluated.results.chosen.tallies[0]
    assert (metrics["wins"], metrics["ties"], metrics["losses"]) == (tally.wins, tally.ties, tally.losses)
    assert metrics["winRate"] == metrics["reward/winRate"] == evaluated.metric("other", "winRate", "reward").own.value
    assert metrics["kl"] == evaluated.metric("other", "kl").own.value
    assert metrics["perplexity/general/baseline"] > 0
    assert metrics["responseTokens/candidate"] == evaluated.metric("other", "responseTokens").own.value
    assert len(metrics) <= 64


def test_a_model_is_no_better_than_itself(evaluated: Evaluated) -> None:
    assert evaluated.metric("same", "kl").own.value == pytest.approx(0, abs=1e-6)
    assert evaluated.metric("same", "preferenceMargin").own.value == pytest.approx(0, abs=1e-5)
    assert evaluated.metric("same", "winRate", "reward").own.value == 0.5
    (same, _) = evaluated.results.candidates
    assert [(tally.wins, tally.ties, tally.losses) for tally in same.tallies] == [(0, 26, 0)] * 3
    assert same.changed == []


def test_verdicts_follow_from_scores_and_answers(evaluated: Evaluated) -> None:
    tallies = {tally.judge: tally for tally in evaluated.results.chosen.tallies}
    for judge in ("reward", "form"):
        scores = [line["judges"][judge]["scores"] for line in evaluated.responses]
        assert tallies[judge].wins == sum(score["other"] > score["baseline"] for score in scores)
        assert tallies[judge].losses == sum(score["other"] < score["baseline"] for score in scores)
    lengths = [
        [len(line["responses"][name]["text"].strip()) for name in ("other", "baseline")] for line in evaluated.responses
    ]
    assert tallies["long"].wins == sum(own > other for own, other in lengths)
    assert all("is better" in line["judges"]["long"]["reasons"]["other"] for line in evaluated.responses
               if line["judges"]["long"]["outcomes"]["other"] == 1)  # fmt: skip
    asked = evaluated.results.judges[2]
    assert asked.calls is not None
    assert asked.calls > 0
    assert len(evaluated.results.chosen.agreements) == 3


def test_divergence_and_perplexity_are_those_of_the_tokens_that_were_drawn(evaluated: Evaluated) -> None:
    """Against a plain computation from the tokens in the store."""
    sums: dict[str, float] = {}
    tokens = 0
    for name in ("other", "tiny"):
        folder = evaluated.workspace.root / "models" / name
        model = LanguageModel(str(folder), Tokenizer(), "cpu")
        store = evaluated.workspace.layout.stage(STAGE).evaluation
        found = 0.0
        tokens = 0
        drawn = {
            answer["text"]: unpacked(answer["token_ids"])
            for path in store.glob("responses-other-*/*.jsonl")
            for line in path.read_text().splitlines()
            for answer in json.loads(line)["results"]
        }
        for line in evaluated.responses:
            ids = drawn[line["responses"]["other"]["text"]]
            row = model.row_of_tokens(tuple(line["prompt"]), ids)
            with torch.no_grad():
                logits = model.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
            found += sum(logits[i - 1, row.ids[i]].item() for i in range(row.start, len(row.ids)))
            tokens += len(ids)
        sums[name] = found
    divergence = (sums["other"] - sums["tiny"]) / tokens
    assert evaluated.metric("other", "kl").own.value == pytest.approx(divergence, abs=1e-5)
    perplexity = evaluated.metric("other", "responsePerplexity").own.value
    assert perplexity == pytest.approx(math.exp(-sums["tiny"] / tokens), rel=1e-5)


def test_the_table_holds_what_the_lines_hold(evaluated: Evaluated) -> None:
    table = pq.read_table(str(evaluated.report / RESPONSES_TABLE)).to_pylist()
    assert [row["responses"] for row in table] == [line["responses"] for line in evaluated.responses]
    assert [row["prompt"] for row in table] == [line["prompt"] for line in evaluated.responses]
    for row, line in zip(table, evaluated.responses, strict=True):
        assert row["judges"]["reward"]["scores"] == line["judges"]["reward"]["scores"]
        assert row["judges"]["long"] == {key: value for key, value in line["judges"]["long"].items() if value}


def _folder(workspace: Workspace, name: str) -> Path:
    folder = workspace.root / "models" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
