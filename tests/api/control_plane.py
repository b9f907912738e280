"""A real etcd, API server and controller manager on free loopback ports: no nodes, no root, ready in seconds."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ports import free_ports

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_START_SECONDS = 180


class ApiError(Exception):
    """The API server answered with an error.

    Attributes:
        status: HTTP status code.
        message: the API server's message.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message


# Every write, also those that were refused, with who sent it.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
}


@dataclass
class Program:
    """A program that runs, and can be ended and started again.

    Attributes:
        log: file that its output is appended to.
        command: it and its arguments.
    """

    log: Path
    command: tuple[str | Path, ...]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        environment = {**os.environ, "KUBE_FEATURE_WatchListClient": "false"}
        with self.log.open("ab") as output:
            command = [str(part) for part in self.command]
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it."""
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane.

    Attributes:
        url: of the API server.
        authority: certificate file of the API server's authority.
        token: bearer token of an administrator.
        directory: where logs and kubeconfigs lie.
        api_server: its process.
    """

    url: str
    authority: Path
    token: str
    directory: Path
    api_server: Program

    @property
    def audit_log(self) -> Path:
        """What the API server recorded of all writes."""
        return self.directory / "audit.jsonl"

    def wait_ready(self) -> None:
        """Wait until the API server answers."""
        _wait_ready(self)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        token: str | None = None,
    ) -> dict[str, Any]:
        """Send one request, as the administrator unless another ``token`` is given.

        Raises:
            ApiError: the answer is not a success.
        """
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token or self.token}", "Content-Type": content_type},
        )
        context = ssl.create_default_context(cafile=str(self.authority))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=30) as response:
                answer: dict[str, Any] = json.loads(response.read() or b"{}")
                return answer
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            with suppress(ValueError, KeyError):
                text = json.loads(text)["message"]
            raise ApiError(error.code, text) from None

    def apply(self, manifest: dict[str, Any], path: str, manager: str = "test") -> dict[str, Any]:
        """Apply ``manifest`` server-side at ``path``, without force."""
        return self.request("PATCH", f"{path}?fieldManager={manager}", manifest, content_type=APPLY)

    def kubeconfig(self, name: str = "admin", token: str | None = None, through: str | None = None) -> Path:
        """A kubeconfig file for the administrator or the owner of ``token``.

        Args:
            through: address of a proxy to go through, which must be plain HTTP.
        """
        path = self.directory / f"{name}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        if through is not None:
            cluster = {"server": through}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": name, "user": {"token": token or self.token}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
                    "current-context": "test",
                }
            )
        )
        return path


@contextmanager
def running_control_plane(directory: Path, kube: Path) -> Iterator[ControlPlane]:
    """Start a control plane and end it with the context.

    Args:
        directory: for data, certificates and logs; must be empty.
        kube: the program that is all Kubernetes components.
    """
    etcd_port, peer_port, api_port, controllers_port = free_ports(4)
    etcd = f"http://127.0.0.1:{etcd_port}"
    peer = f"http://127.0.0.1:{peer_port}"
    certificates = directory / "certificates"
    token = secrets.token_hex(16)
    tokens = directory / "tokens.csv"
    tokens.write_text(f'{token},admin,admin,"system:masters"\n')
    policy = directory / "audit-policy.json"
    policy.write_text(json.dumps(_AUDIT_POLICY))
    service_accounts = directory / "service-accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", service_accounts, "2048"], check=True, capture_output=True)
    store = Program(
        directory / "etcd.log",
        (
            "etcd",
            f"--data-dir={directory / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ),
    )
    api_server = Program(
        directory / "kube-apiserver.log",
        (
            kube,
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={api_port}",
            f"--cert-dir={certificates}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={service_accounts}",
            f"--service-account-signing-key-file={service_accounts}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={directory / 'audit.jsonl'}",
            # Debian's etcd 3.4 cannot report a watch's progress, which a streamed list waits for.
            "--feature-gates=WatchList=false",
        ),
    )
    plane = ControlPlane(f"https://127.0.0.1:{api_port}", certificates / "apiserver.crt", token, directory, api_server)
    controllers = Program(
        directory / "kube-controller-manager.log",
        (
            kube,
            "kube-controller-manager",
            f"--kubeconfig={plane.kubeconfig()}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={controllers_port}",
            f"--cert-dir={certificates}",
            f"--service-account-private-key-file={service_accounts}",
            # With the default rates it takes seconds until the default ServiceAccounts exist.
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
        ),
    )
    with ExitStack() as running:
        for program in (store, api_server):
            program.start()
            running.callback(program.stop)
        _wait_ready(plane)
        controllers.start()
        running.callback(controllers.stop)
        yield plane


def _wait_ready(plane: ControlPlane) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            plane.request("GET", "/api/v1/namespaces/default")
            return
        except (ApiError, OSError) as error:
            if time.monotonic() > deadline:
                log = (plane.directory / "kube-apiserver.log").read_text()[-2000:]
                raise TimeoutError(f"the API server is not ready: {error}\n{log}") from error
        time.sleep(0.1)
