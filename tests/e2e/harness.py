"""The test cluster with the operator installed, and the ways to hurt it."""

from __future__ import annotations

import json
import signal
import time
from copy import deepcopy
from functools import cache
from pathlib import Path

import yaml

from tests.cluster import install
from tests.cluster.kubectl import Kubectl
from tests.cluster.layout import CHECKOUT

from .namespace import Namespace, Object

# Everything the operator makes for a job, and its Pods.
_CHILDREN = "jobs,pods,services,configmaps,endpointslices"

# The training processes are the supervisor's grandchildren; killing one is what the kernel does when memory runs out.
# They are found by their command line, from inside the Pod, because process ids are the Pod's own there.
_SIGNAL_TRAINER = """
import os, pathlib, sys
for directory in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        command = (directory / "cmdline").read_bytes().split(b"\\0")
    except OSError:
        continue
    if b"alignment_trainer.run" in b" ".join(command) and b"launch" not in command and b"-c" not in command:
        os.kill(int(directory.name), int(sys.argv[1]))
        print("signalled", directory.name)
"""


class Cluster:
    """A running test cluster with the operator installed by Helm."""

    def __init__(self, target: install.Target) -> None:
        self.target = target
        self.kubectl: Kubectl = target.kubectl
        self.audit_log: Path = target.audit_log

    def namespace(self, name: str) -> Namespace:
        """A namespace with the restricted Pod security profile enforced."""
        install.namespace(self.target, name)
        return Namespace(name, self.kubectl)

    def operator_page(self, path: str) -> str:
        """What the operator's read-only HTTP answers, asked through the API server's proxy."""
        (operator,) = Namespace(install.OPERATOR_NAMESPACE, self.kubectl).items("pods")
        name = operator["metadata"]["name"]
        return self.kubectl.run(
            "get", "--raw", f"/api/v1/namespaces/{install.OPERATOR_NAMESPACE}/pods/{name}:8081/proxy/{path}"
        )

    def kill_operator(self) -> None:
        """Kill the operator's process without warning, and wait until another one runs."""
        operators = Namespace(install.OPERATOR_NAMESPACE, self.kubectl)
        before = {pod["metadata"]["uid"] for pod in operators.items("pods")}
        operators.run("delete", "pods", "--all", "--grace-period=0", "--force")
        deadline = time.monotonic() + 60
        while True:
            fresh = [pod for pod in operators.items("pods") if pod["metadata"]["uid"] not in before]
            if any(pod["status"].get("phase") == "Running" for pod in fresh):
                return
            assert time.monotonic() < deadline, "no new operator Pod"
            time.sleep(0.2)

    def kill_training_process(self, namespace: Namespace, pod: str) -> None:
        """Kill the training process of one Pod with SIGKILL, leaving its supervisor alive to tell."""
        _signal_trainer(namespace, pod, signal.SIGKILL)

    def hang_training_process(self, namespace: Namespace, pod: str) -> None:
        """Stop the training process of one Pod: its peers wait for it in a collective."""
        _signal_trainer(namespace, pod, signal.SIGSTOP)

    def wait_gone(self, namespace: Namespace, selector: str, timeout: float) -> list[str]:
        """Wait until no object with these labels is left; returns what is."""
        deadline = time.monotonic() + timeout
        while True:
            left = namespace.run("get", _CHILDREN, "-l", selector, "-o", "name").split()
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.5)


def _signal_trainer(namespace: Namespace, pod: str, number: signal.Signals) -> None:
    printed = namespace.run("exec", pod, "--", "python3", "-c", _SIGNAL_TRAINER, str(int(number)))
    assert "signalled" in printed, "no training process was found"


@cache
def _document(path: str) -> str:
    documents = yaml.safe_load_all((CHECKOUT / "examples" / path).read_text())
    return json.dumps(next(document for document in documents if document["kind"] == "AlignmentJob"))


def example(path: str) -> Object:
    """The AlignmentJob of an example manifest, free to be changed."""
    manifest: Object = json.loads(_document(path))
    return deepcopy(manifest)
