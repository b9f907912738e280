"""Promotion to an OCI registry: a real one, with logins, tokens and TLS, and others that misbehave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from alignment_api.contract import RunConfig, token_variable
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer.exceptions import ConfigurationError, StorageError, TrainerError, UnavailableError
from alignment_trainer.promotion.run import promote

from ..ports import free_port
from . import oci_server
from .local_servers import served
from .oci_server import PASSWORD, USER, OciServer
from .promotion_kills import promote_killed_at_every_request
from .promotions import FinishedJob

REPOSITORY = "models/assistant"
FIELD = "spec.promotion.to[0].oci"
STRING = {"type": "string"}
CONFIG = {
    "type": "object",
    "required": ["descriptor", "config", "modelfs"],
    "additionalProperties": False,
    "properties": {
        "descriptor": {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(("createdAt", "name", "family", "revision", "description"), STRING),
        },
        "config": {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(("architecture", "format", "precision"), STRING),
        },
        "modelfs": {
            "type": "object",
            "required": ["type", "diffIds"],
            "properties": {"type": {"const": "layers"}, "diffIds": {"type": "array", "minItems": 1}},
        },
    },
}
"""Of the schema of application/vnd.cncf.model.config.v1+json, the members that are used."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OciServer]:
    with oci_server.running(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets as the operator hands them to the promotion."""
    for name, user, password in (("right", USER, PASSWORD), ("wrong", USER, "guess")):
        for key, value in (("username", user), ("password", password)):
            monkeypatch.setenv(token_variable(SecretKeyReference(name=name, key=key)), value)


def place(host: str, **options: Any) -> dict[str, Any]:
    return {"oci": {"repository": f"{host}/{REPOSITORY}", "tag": "v1", "plainHttp": True, **options}}


def push(job: FinishedJob, *places: dict[str, Any], **spec: Any) -> str:
    """Where the artifact is."""
    promotion = promote(job.config(*places, **spec), job.layout, 1).promotion
    assert promotion is not None
    return promotion.locations[0]


def refusal(job: FinishedJob, where: dict[str, Any]) -> tuple[TrainerError, str]:
    """The error of a promotion, and the member of the place that it blames."""
    with pytest.raises(TrainerError) as caught:
        promote(job.config(where), job.layout, 1)
    (problem,) = caught.value.problems
    assert problem.field.startswith(FIELD)
    return caught.value, problem.field.removeprefix(FIELD)


def test_an_artifact_in_the_form_of_modelpack(job: FinishedJob, server: OciServer, exported: Path) -> None:
    location = push(job, place(server.host))
    address, _, digest = location.partition("@")
    assert address == f"oci://{server.host}/{REPOSITORY}"
    manifest = server.manifest(REPOSITORY, digest)
    assert manifest == server.manifest(REPOSITORY, "v1")
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    types = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in manifest["layers"]}
    assert types["model.safetensors"] == "application/vnd.cncf.model.weight.v1.raw"
    assert types["config.json"] == "application/vnd.cncf.model.weight.config.v1.raw"
    assert types["README.md"] == types["lineage.json"] == "application/vnd.cncf.model.doc.v1.raw"
    files = server.files(REPOSITORY, "v1")
    assert files["model.safetensors"] == (exported / "model.safetensors").read_bytes()
    assert files["lineage.json"] == job.layout.lineage.read_bytes()
    config = json.loads(server.get(f"{REPOSITORY}/blobs/{manifest['config']['digest']}").content)
    jsonschema.validate(config, CONFIG)
    assert config["modelfs"]["diffIds"] == [layer["digest"] for layer in manifest["layers"]]
    (lineage,) = (x for x in manifest["layers"] if x["annotations"]["org.cncf.model.filepath"] == "lineage.json")
    assert config["descriptor"]["revision"] == lineage["digest"]
    assert manifest["annotations"]["dev.alignment.lineage.digest"] == lineage["digest"]


def test_an_adapter_alone(job: FinishedJob, server: OciServer) -> None:
    push(job, place(server.host, tag="adapter"), artifact="adapter")
    assert set(server.files(REPOSITORY, "adapter")) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "lineage.json",
    }  # fmt: skip


def test_a_push_that_is_tried_again_ends_at_the_same_digest(job: FinishedJob, server: OciServer) -> None:
    assert push(job, place(server.host)) == push(job, place(server.host))


def test_the_tag_is_moved(job: FinishedJob, server: OciServer) -> None:
    first = push(job, place(server.host, tag="moved"))
    second = push(job, place(server.host, tag="moved"), artifact="adapter")
    assert first != second
    manifest = server.manifest(REPOSITORY, "moved")
    assert "adapter_model.safetensors" in {x["annotations"]["org.cncf.model.filepath"] for x in manifest["layers"]}
    assert server.manifest(REPOSITORY, first.partition("@")[2])  # what was there can still be had


def test_another_client_pulls_the_files(job: FinishedJob, server: OciServer, tmp_path: Path) -> None:
    import oras.client

    push(job, place(server.host, tag="pulled"))
    target = tmp_path / "pulled"
    client = oras.client.OrasClient(insecure=True)
    client.pull(target=f"{server.host}/{REPOSITORY}:pulled", outdir=str(target))
    assert (target / "model.safetensors").read_bytes() == (job.trained.model / "model.safetensors").read_bytes()
    assert (target / "lineage.json").read_bytes() == job.layout.lineage.read_bytes()


@pytest.mark.parametrize("way", ["login", "tokens"])
def test_registries_that_want_a_login(job: FinishedJob, tmp_path: Path, way: str) -> None:
    (tmp_path / "registry").mkdir()
    with oci_server.running(tmp_path / "registry", **{way: True}) as server:
        assert push(job, place(server.host, credentialsSecret="right")).startswith(f"oci://{server.host}/")
        for options, words in (
            ({"credentialsSecret": "wrong"}, "refuses the credentials in Secret wrong: correct them"),
            ({"credentialsSecret": "other"}, "Secret other has no key username: add it"),
            ({}, "without logging in: set credentialsSecret"),
        ):
            error, member = refusal(job, place(server.host, **options))
            assert type(error) is ConfigurationError
            assert words in error.message
            assert member == ".credentialsSecret"
            assert "guess" not in str(error)


def test_tls(job: FinishedJob, server: OciServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registry").mkdir()
    error, member = refusal(job, place(server.host, plainHttp=False))
    assert (type(error), member) == (ConfigurationError, ".plainHttp")
    assert "does not speak TLS" in error.message
    with oci_server.running(tmp_path / "registry", tls=True) as secure:
        error, member = refusal(job, place(secure.host, plainHttp=False))
        assert (type(error), member) == (ConfigurationError, ".repository")
        assert "is not trusted" in error.message
        assert "SSL_CERT_FILE (spec.prepare.podTemplate.env)" in error.message
        error, _ = refusal(job, place(secure.host))
        assert type(error) in (ConfigurationError, UnavailableError)
        monkeypatch.setenv("SSL_CERT_FILE", str(secure.trusted))
        assert push(job, place(secure.host, plainHttp=False)).startswith(f"oci://{secure.host}/")
        assert "model.safetensors" in secure.files(REPOSITORY, "v1")


def test_nobody_answers(job: FinishedJob) -> None:
    error, member = refusal(job, place(f"127.0.0.1:{free_port()}"))
    assert (type(error), member) == (UnavailableError, ".repository")
    assert "cannot be reached" in error.message


def answering(status: int, body: bytes = b"{}") -> type[BaseHTTPRequestHandler]:
    """A server that says one thing, whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(404 if self.command == "HEAD" and status != 200 else status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@pytest.mark.parametrize(
    ("status", "kind", "member"),
    [
        (202, ConfigurationError, ".repository"),
        (403, ConfigurationError, ".credentialsSecret"),
        (404, ConfigurationError, ".repository"),
        (405, ConfigurationError, ".repository"),
        (413, ConfigurationError, ""),
        (429, UnavailableError, ""),
        (503, UnavailableError, ""),
    ],
)
def test_what_a_registry_answers_decides_the_class(
    job: FinishedJob, status: int, kind: type[TrainerError], member: str
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering(status, b'{"errors": [{"code": "DENIED"}]}'))
    with served(server):
        error, found = refusal(job, place(f"127.0.0.1:{server.server_address[1]}"))
    assert (type(error), found) == (kind, member)
    assert str(status) in error.message or "is it a registry?" in error.message


def test_a_registry_that_gives_out_something_else_is_found_out(job: FinishedJob) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering(200, b'{"size": "wrong"}'))
    with served(server), pytest.raises(StorageError, match="has 17 bytes, not"):
        push(job, place(f"127.0.0.1:{server.server_address[1]}"))


def test_killed_at_every_request_the_tag_is_old_or_new(job: FinishedJob, server: OciServer) -> None:
    def config(port: int, number: int, **spec: Any) -> RunConfig:
        repository = f"127.0.0.1:{port}/killed/{number}"
        return job.config({"oci": {"repository": repository, "tag": "v1", "plainHttp": True}}, **spec)

    def files(number: int) -> dict[str, bytes]:
        return server.files(f"killed/{number}", "v1")

    port = int(server.host.partition(":")[2])
    assert promote_killed_at_every_request(config, files, port, job.layout) > 20
