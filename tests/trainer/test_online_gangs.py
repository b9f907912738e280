"""Reward models and services on ZeRO-3 gangs: their scores are what is optimized, and their failure ends the gang."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method

from ..ports import free_port
from . import tiny
from .conftest import TRAINING, Workspace, stage_of
from .method_runs import ONE_PROCESS, TWO_PROCESSES
from .plain_rewards import prompt_rows

Answer = Callable[[dict[str, Any]], list[Any]]
ONLINE = {"generations": 4, "maxCompletionLength": 12}
STEPS = 3


@contextmanager
def service(answer: Answer) -> Iterator[str]:
    """A reward service that answers requests by ``answer``; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps({"rewards": answer(body)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/score"
    finally:
        server.shutdown()
        server.server_close()


def save_classifier(folder: Path, base: Path) -> None:
    """An untrained reward model with the tokenizer of ``base``."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def direct_scores(folder: Path, conversations: list[list[dict[str, str]]]) -> list[float]:
    """What transformers alone says of the conversations."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for messages in conversations:
        inputs = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            scores.append(model(**inputs).logits[0, 0].item())
    return scores


@pytest.mark.timeout(300)
def test_reward_models_and_a_service(workspace: Workspace) -> None:
    import pyarrow.parquet

    save_classifier(workspace.root / "models/judge", workspace.root / "models/tiny")
    workspace.add_stage_data("reward", tiny.preference_rows(8))
    workspace.add_stage_data("grpo", prompt_rows(6))
    seen: list[str] = []

    def answer(body: dict[str, Any]) -> list[float]:
        seen.extend(body["columns"]["answer"])
        return [len(text) / 100 for text in body["completions"]]

    training = TRAINING | {"globalBatchSize": 8, "maxSteps": STEPS}
    with service(answer) as url:
        rewards = [
            {"name": "trained", "rewardModel": {"fromStage": "reward"}},
            {"name": "given", "weight": 0.5, "rewardModel": {"volume": {"path": "models/judge"}}},
            {"name": "served", "weight": 2.0, "http": {"url": url}},
        ]
        stages = [
            stage_of(Method.REWARD, training=TRAINING | {"maxSteps": 2}, runtime=ONE_PROCESS),
            stage_of(
                Method.GRPO,
                training=training,
                grpo=ONLINE | {"rewards": rewards},
                trainerArgs={"log_completions": True},
                runtime=TWO_PROCESSES,
            ),
        ]
        job = workspace.write_job({"stages": stages})
        for stage in ("reward", "grpo"):
            summary = workspace.run(job, stage)
            assert summary.exit_code == ExitCode.OK, summary.message

    last = workspace.metrics("grpo")[-1]
    table = pyarrow.parquet.read_table(next(workspace.root.rglob(f"completions_{STEPS:05d}.parquet"))).to_pydict()
    conversations = [prompt + turns for prompt, turns in zip(table["prompt"], table["completion"], strict=True)]
    models = {"trained": workspace.layout.stage("reward").model, "given": workspace.root / "models/judge"}
    for name, folder in models.items():
        assert table[name] == pytest.approx(direct_scores(folder, conversations), rel=1e-4, abs=1e-5)
        assert len(set(table[name])) > 1
    assert table["served"] == pytest.approx([len(messages[-1]["content"]) / 100 for messages in conversations])
    total = [a + 0.5 * b + 2 * c for a, b, c in zip(table["trained"], table["given"], table["served"], strict=True)]
    assert last["reward"] == pytest.approx(fmean(total), rel=1e-4)
    assert set(seen) == {str(number) for number in range(6)}, "columns of the dataset reach the service"


@pytest.mark.timeout(300)
def test_a_reward_that_fails_in_training_ends_the_gang(workspace: Workspace) -> None:
    workspace.add_stage_data("rloo", prompt_rows(6))
    asked = threading.Semaphore(3)  # the second batch of one of the Pods finds no good answer left

    def answer(body: dict[str, Any]) -> list[Any]:
        return [0.5 if asked.acquire(blocking=False) else "excellent", *[0.5] * (len(body["completions"]) - 1)]

    with service(answer) as url:
        rewards = [{"name": "served", "http": {"url": url}}]
        stage = stage_of(
            Method.RLOO, training=TRAINING | {"maxSteps": 20}, rloo={**ONLINE, "generations": 2, "rewards": rewards}
        )
        job = workspace.write_job({"runtime": {"nodes": 2, "communication": {"interface": "lo"}}, "stages": [stage]})
        port = free_port()
        pods = [workspace.start(job, "rloo", rank=rank, rendezvous=port) for rank in range(2)]
        failed, lost = sorted((pod.wait() for pod in pods), key=lambda end: end.exit_code != ExitCode.FUNCTION_ERROR)

    assert failed.exit_code == ExitCode.FUNCTION_ERROR, (failed.message, lost.message)
    assert "reward 'served'" in failed.message
    assert "'excellent'" in failed.message
    assert "prompt 'say " in failed.message
    assert failed.problems[0].field == "spec.stages[0].rloo.rewards[0].http"
    assert failed.progress is not None
    assert failed.progress.step < 20
    assert lost.exit_code == ExitCode.COMMUNICATION_ERROR, lost.message
