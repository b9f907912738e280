"""A secret that no one may see: jobs that use it and go wrong as loudly as they can, and a search for it."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.cluster.layout import HOST_ADDRESS, LOGS, VOLUMES

from .harness import Cluster, example
from .namespace import Namespace, Object

SECRET = "canary"
_KINDS = (
    "alignmentjobs,jobs,pods,configmaps,events,services,endpointslices,networkpolicies,persistentvolumeclaims,"
    "deployments,replicasets,leases"
)

# Sound in Prepare; in a gang it says all it knows and fails.
MODEL_CODE = """
import os

from transformers import LlamaConfig, LlamaForCausalLM

if "ALIGNMENT_RUN_FOLDER" in os.environ:
    print("environment:", dict(os.environ), flush=True)
    print("service account mounted:", os.path.exists("/var/run/secrets"), flush=True)
    raise RuntimeError(f"environment: {dict(os.environ)}")


class CanaryConfig(LlamaConfig):
    model_type = "canary"


class CanaryForCausalLM(LlamaForCausalLM):
    config_class = CanaryConfig
"""
FUNCTION = """
import os


def reward(completions):
    raise RuntimeError(f"environment: {dict(os.environ)}")
"""


@dataclass
class Service:
    """A reward service on this machine.

    Attributes:
        url: its address, as Pods reach it.
        authorizations: what it was sent to prove who asks.
    """

    url: str = ""
    authorizations: set[str] = field(default_factory=set)


@contextmanager
def reward_service() -> Iterator[Service]:
    """A service that gives every completion its length as reward."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            service.authorizations.add(self.headers.get("Authorization", ""))
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps({"rewards": [len(text) for text in asked["completions"]]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((HOST_ADDRESS, 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    service.url = f"http://{HOST_ADDRESS}:{server.server_address[1]}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


def new_secret(namespace: Namespace) -> str:
    """Make the Secret; returns its value."""
    value = f"canary-{secrets.token_hex(16)}"
    namespace.run("create", "secret", "generic", SECRET, f"--from-literal=token={value}")
    code = {"reward.py": FUNCTION}
    namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SECRET}, "data": code})
    return value


def workspace_of(namespace: Namespace, claim: str) -> Path:
    """The directory that is the volume of a claim."""
    return VOLUMES / str(namespace.get("persistentvolumeclaim", claim)["spec"]["volumeName"])


def write_model(workspace: Path) -> str:
    """Write the tiny model with `MODEL_CODE` into the workspace; returns its path there."""
    folder = workspace / "models" / "canary"
    shutil.copytree(workspace / "models" / "tiny-llama", folder)
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "modeling.CanaryConfig", "AutoModelForCausalLM": "modeling.CanaryForCausalLM"}
    config |= {"model_type": "canary", "architectures": ["CanaryForCausalLM"], "auto_map": classes}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling.py").write_text(MODEL_CODE)
    for path in folder.rglob("*"):
        path.chmod(0o644)
    folder.chmod(0o755)
    return "models/canary"


def job(name: str, url: str, model: Object, *, python: bool = False) -> Object:
    """A GRPO job on one node that sends the secret to the reward service."""
    manifest = example("methods/grpo/tiny.yaml")
    manifest["metadata"]["name"] = name
    spec = manifest["spec"]
    spec["model"] = model
    spec["runtime"].update(nodes=1, deepspeed={"zeroStage": 0})
    rewards = [{"name": "service", "http": {"url": url, "tokenSecretRef": {"name": SECRET}}}]
    if python:
        rewards.append({"name": "loud", "python": {"configMap": SECRET}})
    spec["stages"][0]["grpo"]["rewards"] = rewards
    return manifest


def places_with(value: str, cluster: Cluster, pods: list[Object], workspaces: list[Path]) -> list[str]:
    """Everywhere that ``value`` can be read, but in the Secret itself.

    Looks at all objects of all namespaces, output of the operator and of ``pods``, files that jobs wrote into the
    workspaces, and what the cluster's own programs recorded.
    """
    needles = [value.encode(), base64.b64encode(value.encode()).rstrip(b"=")]
    found = []

    def look(where: str, content: bytes) -> None:
        if any(needle in content for needle in needles):
            found.append(where)

    look("objects", cluster.kubectl.run("get", _KINDS, "--all-namespaces", "--output=json").encode())
    for pod in (*pods, *Namespace("alignment-system", cluster.kubectl).items("pods")):
        name = pod["metadata"]["name"]
        output = cluster.kubectl.run("logs", name, namespace=pod["metadata"]["namespace"])
        assert output, f"{name} said nothing"
        look(f"output of {name}", output.encode())
    files = [path for workspace in workspaces for path in (workspace / "jobs").rglob("*")]
    for path in (*files, *LOGS.rglob("*")):
        if path.is_file():
            look(str(path), path.read_bytes())
    return found


def is_found_in_the_secret(value: str, namespace: Namespace) -> bool:
    """Whether a search finds the value where it is."""
    return base64.b64encode(value.encode()).decode().rstrip("=") in namespace.run("get", "secret", SECRET, "-o", "json")
