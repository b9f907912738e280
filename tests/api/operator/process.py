"""The operator as a process of this machine, with no more rights than the chart gives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ...ports import free_port
from ..client import Kubectl
from ..control_plane import ControlPlane

CHART = Path(__file__).parents[3] / "charts" / "alignment-operator"
SYSTEM_NAMESPACE = "alignment-system"
_RELEASE = "alignment-operator"


def grant_rights(plane: ControlPlane, kubectl: Kubectl, helm: Path) -> Path:
    """Create the operator's ServiceAccount and roles from the chart; returns a kubeconfig with its token."""
    if kubectl.run("get", "namespace", SYSTEM_NAMESPACE).returncode:
        kubectl("create", "namespace", SYSTEM_NAMESPACE)
    arguments: list[str | Path] = [
        "template",
        _RELEASE,
        CHART,
        "--namespace",
        SYSTEM_NAMESPACE,
        "--values",
        CHART / "ci" / "values.yaml",
    ]
    for template in ("serviceaccount", "rbac"):
        arguments += ["--show-only", f"templates/{template}.yaml"]
    rendered = subprocess.run([helm, *arguments], check=True, capture_output=True, text=True)
    kubectl("apply", "--filename", "-", stdin=rendered.stdout)
    answer = plane.request(
        "POST",
        f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{_RELEASE}/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}},
    )
    return plane.kubeconfig("operator", answer["status"]["token"])


@dataclass
class OperatorProcess:
    """A running operator, or one that is started again after it was killed.

    Attributes:
        kubeconfig: whom it talks to, and as whom.
        log: file that its output is appended to.
        settings: environment variables.
    """

    kubeconfig: Path
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> OperatorProcess:
        """Start it and return when it is ready."""
        self.launch()
        wait_until("the operator is ready", self.ready)
        return self

    def launch(self) -> None:
        """Start it."""
        self.port = free_port()
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "TRAINER_IMAGE": "registry.example.com/alignment-trainer:test",
            "HTTP_PORT": str(self.port),
            **self.settings,
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alignment_operator"], env=environment, stdout=output, stderr=output
            )

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self._answers("readyz")

    def leads(self) -> bool:
        """Whether it says that it leads."""
        return "alignment_operator_leading 1.0" in self.metrics()

    @property
    def running(self) -> bool:
        """Whether its process has not ended."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        """Wait until it ends; returns its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def metrics(self) -> str:
        """What it shows to Prometheus."""
        return self.get("metrics")

    def lines(self) -> list[dict[str, str]]:
        """Its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _answers(self, path: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            return self.get(path) == "ok"
        except OSError:
            return False

    def get(self, path: str) -> str:
        """What it answers at ``path``; raises urllib's errors."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as response:
            answer: IO[bytes] = response
            return answer.read().decode()


def wait_until(what: str, check: Callable[[], object], seconds: float = 60) -> float:
    """Wait until ``check`` gives something true; returns how many seconds it took."""
    start = time.monotonic()
    while not check():
        assert time.monotonic() - start < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - start
