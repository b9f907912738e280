"""Promotion to an S3 store: a real server, on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pyarrow.fs import FileSelector, FileType

from alignment_api.contract import RunConfig, token_variable
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer.exceptions import ConfigurationError, TrainerError, UnavailableError
from alignment_trainer.promotion.run import promote

from ..ports import free_port
from .promotion_kills import promote_killed_at_every_request
from .promotions import FinishedJob
from .s3_server import ACCESS_KEY, REGION, SECRET_KEY, S3Server, running

FIELD = "spec.promotion.to[0].s3"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running(tmp_path_factory.mktemp("s3")) as server:
        server.put("models/other/file", b"not ours")
        yield server


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets as the operator hands them to the promotion."""
    for name, access, secret in (("right", ACCESS_KEY, SECRET_KEY), ("wrong", ACCESS_KEY, "guess")):
        for key, value in (("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)):
            monkeypatch.setenv(token_variable(SecretKeyReference(name=name, key=key)), value)


def place(endpoint: str, **options: Any) -> dict[str, Any]:
    given = {"bucket": "models", "prefix": "assistant/", "endpoint": endpoint, "region": REGION} | options
    given.setdefault("credentialsSecret", "right")
    return {"s3": {name: value for name, value in given.items() if value is not None}}


def newest(server: S3Server, prefix: str) -> dict[str, bytes]:
    """What a reader of a prefix gets: the files that `latest.json` names, which are as it says; none if it is not."""
    client = server.client()
    if client.get_file_info(f"models/{prefix}/latest.json").type is FileType.NotFound:
        return {}
    latest = json.loads(client.open_input_file(f"models/{prefix}/latest.json").readall())
    found = {}
    for name, entry in latest["files"].items():
        content = client.open_input_file(f"models/{prefix}/{latest['path']}/{name}").readall()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["size"], entry["sha256"])
        found[name] = content
    return found


def test_the_model_lies_below_its_digest_and_latest_names_it(job: FinishedJob, server: S3Server) -> None:
    promotion = promote(job.config(place(server.endpoint)), job.layout, 1).promotion
    assert promotion is not None
    files = newest(server, "assistant")
    assert files["model.safetensors"] == (job.trained.model / "model.safetensors").read_bytes()
    assert files["lineage.json"] == job.layout.lineage.read_bytes()
    latest = json.loads(server.client().open_input_file("models/assistant/latest.json").readall())
    assert promotion.locations == [f"s3://models/assistant/{latest['path']}"]
    below = server.client().get_file_info(FileSelector("models/assistant", recursive=True))
    objects = {info.path for info in below if info.type is FileType.File}
    folder = f"models/assistant/{latest['path']}"
    assert objects == {"models/assistant/latest.json", *(f"{folder}/{name}" for name in files)}


def test_what_is_damaged_there_is_written_again(job: FinishedJob, server: S3Server) -> None:
    where = place(server.endpoint, prefix="damaged")
    promotion = promote(job.config(where), job.layout, 1).promotion
    assert promotion is not None
    before = newest(server, "damaged")
    path = f"{promotion.locations[0].removeprefix('s3://')}/README.md"
    server.put(path, b"x" * len(before["README.md"]))  # of the same size
    promote(job.config(where), job.layout, 2)
    assert newest(server, "damaged") == before


def test_an_earlier_model_stays_where_it_is(job: FinishedJob, server: S3Server) -> None:
    where = place(server.endpoint, prefix="moved")
    first = promote(job.config(where), job.layout, 1).promotion
    second = promote(job.config(where, artifact="adapter"), job.layout, 1).promotion
    assert first is not None
    assert second is not None
    assert set(newest(server, "moved")) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "lineage.json",
    }  # fmt: skip
    kept = f"{first.locations[0].removeprefix('s3://')}/model.safetensors"
    assert server.client().get_file_info(kept).type is FileType.File


@pytest.mark.parametrize(
    ("options", "kind", "member", "message"),
    [
        ({"bucket": "nowhere"}, ConfigurationError, ".bucket", "has no bucket nowhere: make it"),
        ({"credentialsSecret": "wrong"}, ConfigurationError, ".credentialsSecret", "refuses the credentials in Secret"),
        ({"credentialsSecret": "none"}, ConfigurationError, ".credentialsSecret", "has no key AWS_ACCESS_KEY_ID"),
        ({"credentialsSecret": None}, ConfigurationError, ".credentialsSecret", "set credentialsSecret"),
        ({"region": "mars-1"}, ConfigurationError, ".region", "expects another region"),
        ({"endpoint": f"http://127.0.0.1:{free_port()}"}, UnavailableError, ".endpoint", "cannot be reached"),
        ({"endpoint": "http://127.0.0.1:1/path"}, ConfigurationError, ".endpoint", "remove the path"),
    ],
)
def test_what_a_store_refuses_is_explained(
    job: FinishedJob,
    server: S3Server,
    options: dict[str, Any],
    kind: type[TrainerError],
    member: str,
    message: str,
) -> None:
    with pytest.raises(TrainerError) as caught:
        promote(job.config(place(**{"endpoint": server.endpoint} | options)), job.layout, 1)
    assert type(caught.value) is kind, caught.value
    assert [problem.field for problem in caught.value.problems] == [FIELD + member]
    assert message in caught.value.message
    assert "guess" not in str(caught.value)


def test_killed_at_every_request_readers_find_the_old_or_the_new_model(job: FinishedJob, server: S3Server) -> None:
    def config(port: int, number: int, **spec: Any) -> RunConfig:
        return job.config(place(f"http://127.0.0.1:{port}", prefix=f"killed-{number}"), **spec)

    def files(number: int) -> dict[str, bytes]:
        return newest(server, f"killed-{number}")

    assert promote_killed_at_every_request(config, files, server.port, job.layout) > 20
