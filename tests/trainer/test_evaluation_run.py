"""An evaluate stage on tiny models: numbers against plain computations, and a gang against a single process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from alignment_api.contract import RunConfig
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import AlignmentJobSpec, Tokenizer
from alignment_api.v1alpha1.evaluation import Generation
from alignment_trainer import prepare
from alignment_trainer.data.rows import Role, message
from alignment_trainer.evaluation import stage as evaluation
from alignment_trainer.evaluation.language_model import LanguageModel
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.models.reward_model import RewardModel
from alignment_trainer.run_files import RUN_FOLDER_VARIABLE

from . import tiny
from .conftest import JOB, Workspace

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


def prepared_job(workspace: Workspace) -> RunConfig:
    """A job of one evaluate stage on two processes, prepared."""
    volume = {name: {"volume": {"path": f"models/{name}"}} for name in ("tiny", "other", "reward")}
    rows = [{"prompt": f"say {word}", "chosen": f"kind {word}", "rejected": "curt"} for word in tiny.WORDS]
    spec = AlignmentJobSpec.model_validate(
        {
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "runtime": {"processesPerNode": 2},
            "stages": [
                {
                    "name": STAGE,
                    "dataset": {"inline": {"rows": rows}},
                    "evaluate": {
                        "candidate": volume["other"],
                        "baseline": volume["tiny"],
                        "generation": {"maxNewTokens": 6, "temperature": 1.0, "batchSize": 3},
                        "judges": [
                            {"name": "reward", "rewardModel": volume["reward"]},
                            {"name": "form", "heuristic": {}},
                        ],
                        "gates": [
                            {"metric": "winRate", "atLeast": 0.99, "confidence": 0.95},
                            {"metric": "preferenceAccuracy", "atLeast": 0.0},
                        ],
                    },
                }
            ],
        }
    )
    config = RunConfig(job=JOB, spec=spec)
    prepare.main(config, workspace.layout)
    return config


def read_responses(workspace: Workspace) -> list[dict[str, Any]]:
    lines = (workspace.layout.stage(STAGE).report / "responses.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def leave_half_a_report(workspace: Workspace) -> None:
    """What an attempt leaves that was cut off while it wrote; the next one starts again and takes nothing of it."""
    folder = workspace.layout.stage(STAGE).report
    folder.mkdir(exist_ok=True)
    (folder / "responses.jsonl").write_text('{"prompt": [{"role": "user", "cont')
    workspace.layout.stage(STAGE).attempt(1).root.mkdir(parents=True)


def test_a_gang_finds_what_one_process_finds(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.save_model(_folder(workspace, "other"), seed=1)
    save_reward_model(_folder(workspace, "reward"))
    config = prepared_job(workspace)
    job = workspace.root / "job.json"
    job.write_text(config.model_dump_json(by_alias=True))
    leave_half_a_report(workspace)
    together = workspace.run(job, STAGE, attempt=2)
    assert together.exit_code == ExitCode.OK, together.message
    responses = read_responses(workspace)

    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path))
    gates_alone = evaluation.run(config, workspace.layout, config.spec.stage(STAGE), attempt=3)
    for ours, theirs in zip(responses, read_responses(workspace), strict=True):
        # Threads of another number add in another order: scores may differ in the last bits.
        for side in ("candidate", "baseline"):
            for judge, scores in theirs["scores"].items():
                assert ours["scores"][judge][side] == pytest.approx(scores[side], abs=1e-4)
            assert ours[side] == theirs[side]
    assert len(responses) == len(tiny.WORDS)
    assert together.gates == gates_alone
    assert together.gates is not None
    assert [gate.passed for gate in together.gates] == [False, True]

    assert together.progress is not None
    metrics = together.progress.metrics
    wins = sum(line["scores"]["reward"]["candidate"] > line["scores"]["reward"]["baseline"] for line in responses)
    assert metrics["wins"] == metrics["reward/wins"] == wins
    assert metrics["wins"] + metrics["ties"] + metrics["losses"] == len(responses)
    assert together.gates[0].value == metrics["winRate"]
    assert together.progress.step == together.progress.total_steps > 0
    page = (workspace.layout.stage("check").report / "report.md").read_text()
    assert "**failed**: winRate by judge reward" in page


def _folder(workspace: Workspace, name: str) -> Path:
    folder = workspace.root / "models" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
