"""Promotion to a hub: the real client against a small server that takes commits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from alignment_api.contract import RunConfig, token_variable
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer.exceptions import ConfigurationError, StorageError, TrainerError, UnavailableError
from alignment_trainer.promotion.run import promote

from ..ports import free_port
from . import hub_repository
from .hub_repository import TOKEN, Hub
from .promotion_kills import promote_killed_at_every_request
from .promotions import FinishedJob

PLACE = {"huggingFace": {"repository": "org/assistant", "tokenSecretRef": {"name": "hub"}}}
FIELD = "spec.promotion.to[0].huggingFace"
NAMES = {"README.md", "config.json", "lineage.json", "model.safetensors", "tokenizer.json"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_repository.running() as server:
        use(monkeypatch, server.port)
        yield server


def use(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Let the client speak to a server on this machine, and send large files by the protocol of git."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets as the operator hands them to the promotion."""
    for name, value in (("hub", TOKEN), ("reader", "hf_reader_of_tests")):
        monkeypatch.setenv(token_variable(SecretKeyReference(name=name, key="token")), value)


def committed(hub: Hub, revision: str = "main") -> dict[str, bytes]:
    return hub.repositories["org/assistant"].at(revision) or {}


def refusal(job: FinishedJob, **options: Any) -> tuple[TrainerError, str]:
    """The error of a promotion, and the member of the place that it blames."""
    with pytest.raises(TrainerError) as caught:
        promote(job.config({"huggingFace": PLACE["huggingFace"] | options}), job.layout, 1)
    (problem,) = caught.value.problems
    return caught.value, problem.field.removeprefix(FIELD)


def test_one_commit_holds_the_model(job: FinishedJob, hub: Hub) -> None:
    promotion = promote(job.config(PLACE), job.layout, 1).promotion
    assert promotion is not None
    repository = hub.repositories["org/assistant"]
    head = repository.branches["main"]
    assert promotion.locations == [f"http://127.0.0.1:{hub.port}/org/assistant/tree/{head}"]
    assert repository.private
    assert len(repository.commits) == 2  # the hub's own, and this one
    files = committed(hub)
    assert set(files) >= NAMES
    assert "complete.json" not in files
    assert files["model.safetensors"] == (job.trained.model / "model.safetensors").read_bytes()
    assert files["lineage.json"] == job.layout.lineage.read_bytes()


def test_a_promotion_that_is_tried_again_makes_no_commit(job: FinishedJob, hub: Hub) -> None:
    first = promote(job.config(PLACE), job.layout, 1).promotion
    second = promote(job.config(PLACE), job.layout, 2).promotion
    assert first == second
    assert len(hub.repositories["org/assistant"].commits) == 2
    assert hub.sent == 1


def test_weights_of_an_earlier_model_go_with_the_commit_and_other_files_stay(job: FinishedJob, hub: Hub) -> None:
    repository = hub_repository.Repository(private=True)
    kept = {"LICENSE": b"free", ".gitattributes": b"*.safetensors filter=lfs"}
    stale = {"model-00001-of-00002.safetensors": b"1", "model.safetensors.index.json": b"{}", "pytorch_model.bin": b"2"}
    repository.commits["0" * 40] = kept | stale
    hub.repositories["org/assistant"] = repository
    promote(job.config(PLACE), job.layout, 1)
    assert NAMES | set(kept) <= set(committed(hub))
    assert not set(stale) & set(committed(hub))
    assert repository.commits["0" * 40] == kept | stale  # history keeps what it had


def test_another_branch_is_made(job: FinishedJob, hub: Hub) -> None:
    where = {"huggingFace": PLACE["huggingFace"] | {"revision": "next"}}
    promote(job.config(where, artifact="adapter"), job.layout, 1)
    assert committed(hub) == {}
    assert set(committed(hub, "next")) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "lineage.json",
    }  # fmt: skip


def test_a_file_that_the_repository_ignores_is_missed(job: FinishedJob, hub: Hub) -> None:
    repository = hub_repository.Repository(private=True)
    repository.commits["0" * 40] = {".gitignore": b"config.json"}
    hub.repositories["org/assistant"] = repository
    with pytest.raises(StorageError, match=r"lacks config\.json: see its \.gitignore"):
        promote(job.config(PLACE), job.layout, 1)


@pytest.mark.parametrize(
    ("word", "status", "kind", "member"),
    [
        ("create", 403, ConfigurationError, ".tokenSecretRef"),
        ("commit", 403, ConfigurationError, ".tokenSecretRef"),
        ("commit", 412, UnavailableError, ""),
        ("commit", 400, ConfigurationError, ".repository"),
        ("large", 403, ConfigurationError, ".tokenSecretRef"),
    ],
)
def test_what_a_hub_answers_decides_the_class(
    job: FinishedJob, hub: Hub, word: str, status: int, kind: type[TrainerError], member: str
) -> None:
    hub.fails[word] = status
    error, found = refusal(job)
    assert (type(error), found) == (kind, member)
    assert TOKEN not in str(error)


def test_a_token_that_may_not_write_is_named(job: FinishedJob, hub: Hub) -> None:
    error, member = refusal(job, tokenSecretRef={"name": "reader"})
    assert (type(error), member) == (ConfigurationError, ".tokenSecretRef")
    assert "refuses the token in Secret reader: it must be allowed to write to org/assistant" in error.message
    error, member = refusal(job, tokenSecretRef={"name": "none"})
    assert (type(error), member) == (ConfigurationError, ".tokenSecretRef")
    assert "Secret none has no key token: add it" in error.message


def test_nobody_answers(job: FinishedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, free_port())
    error, member = refusal(job)
    assert (type(error), member) == (UnavailableError, "")
    assert "the hub cannot be reached" in error.message


def test_killed_at_every_request_the_branch_is_old_or_new(
    job: FinishedJob, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(port: int, number: int, **spec: Any) -> RunConfig:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")  # for processes that are killed
        return job.config({"huggingFace": PLACE["huggingFace"] | {"repository": f"org/killed-{number}"}}, **spec)

    def files(number: int) -> dict[str, bytes]:
        repository = hub.repositories[f"org/killed-{number}"]
        assert len(repository.commits) <= 3
        return repository.at("main") or {}

    assert promote_killed_at_every_request(config, files, hub.port, job.layout) > 6
