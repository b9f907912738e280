"""Keys, certificates and kubeconfigs, new at each `up`, made with the openssl program."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .layout import API_URL, HOST_ADDRESS, KUBERNETES_SERVICE_ADDRESS, STATE, node_name
from .shell import output

DIRECTORY = STATE / "pki"
AUTHORITY = DIRECTORY / "authority.crt"
AUTHORITY_KEY = DIRECTORY / "authority.key"
SERVICE_ACCOUNT_KEY = DIRECTORY / "service-accounts.key"

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")


@dataclass(frozen=True)
class Identity:
    """Whom a certificate names: a user (common name) in a group, and the names that a server answers to."""

    file: str
    user: str
    group: str = ""
    server_names: tuple[str, ...] = ()

    @property
    def certificate(self) -> Path:
        """Return where its certificate lies."""
        return DIRECTORY / f"{self.file}.crt"

    @property
    def key(self) -> Path:
        """Return where its private key lies."""
        return DIRECTORY / f"{self.file}.key"


ADMIN = Identity("admin", "admin", "system:masters")
API_SERVER = Identity(
    "kube-apiserver",
    "kube-apiserver",
    server_names=(
        "IP:127.0.0.1",
        f"IP:{KUBERNETES_SERVICE_ADDRESS}",
        f"IP:{HOST_ADDRESS}",
        "DNS:localhost",
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        "DNS:kubernetes.default.svc.cluster.local",
    ),
)
API_SERVER_TO_KUBELET = Identity("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
FRONT_PROXY = Identity("front-proxy", "front-proxy-client")
CONTROLLER_MANAGER = Identity("kube-controller-manager", "system:kube-controller-manager")
SCHEDULER = Identity("kube-scheduler", "system:kube-scheduler")
PROXY = Identity("kube-proxy", "system:kube-proxy")
COREDNS = Identity("coredns", "test-cluster:coredns", "system:masters")  # saves one role binding at each start


def kubelet(number: int) -> Identity:
    """Return the identity of a node's kubelet."""
    return Identity(f"kubelet-{number}", f"system:node:{node_name(number)}", "system:nodes")


def create(identities: Iterable[Identity]) -> None:
    """Make the authority, the key that signs ServiceAccount tokens, and a certificate for each identity."""
    DIRECTORY.mkdir(parents=True, mode=0o700)
    output(["openssl", "req", "-x509", *_KEY, "-subj", "/CN=test-cluster", "-keyout", AUTHORITY_KEY, "-out", AUTHORITY])
    output(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", SERVICE_ACCOUNT_KEY])
    with ThreadPoolExecutor() as pool:
        list(pool.map(_issue, identities))


def _issue(identity: Identity) -> None:
    subject = (f"/O={identity.group}" if identity.group else "") + f"/CN={identity.user}"
    extensions = ["-addext", "extendedKeyUsage=clientAuth,serverAuth", "-addext", "basicConstraints=critical,CA:false"]
    if identity.server_names:
        extensions += ["-addext", f"subjectAltName={','.join(identity.server_names)}"]
    output(
        [
            "openssl",
            "req",
            "-x509",
            "-CA",
            AUTHORITY,
            "-CAkey",
            AUTHORITY_KEY,
            *_KEY,
            "-subj",
            subject,
            *extensions,
            "-keyout",
            identity.key,
            "-out",
            identity.certificate,
        ]
    )


def kubeconfig(identity: Identity, path: Path | None = None) -> Path:
    """Write a self-contained kubeconfig for an identity and return its path; JSON, which is YAML too."""

    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": API_URL, "certificate-authority-data": data(AUTHORITY)}}],
        "users": [
            {
                "name": identity.file,
                "user": {"client-certificate-data": data(identity.certificate), "client-key-data": data(identity.key)},
            }
        ],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": identity.file}}],
    }
    target = path or DIRECTORY / f"{identity.file}.kubeconfig"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.write_text(json.dumps(document, indent=1))
    return target
