"""What stands between a machine and a running job: cluster, images, operator, namespace, seed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cluster, images
from .kubectl import Kubectl
from .layout import AUDIT_LOG, CHECKOUT
from .shell import output
from .tools import build_module, tool

OPERATOR_NAMESPACE = "alignment-system"
RELEASE = "alignment-operator"
_CHART = CHECKOUT / "charts" / "alignment-operator"
_SEED = CHECKOUT / "examples" / "quickstart" / "seed.yaml"


@dataclass(frozen=True)
class Target:
    """A cluster to install into, and the images that its nodes can run.

    Attributes:
        audit_log: the API server's record of writes, where it is ours to read.
    """

    kubectl: Kubectl
    operator_image: str
    trainer_image: str
    audit_log: Path = AUDIT_LOG

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig that kubectl uses."""
        return self.kubectl.kubeconfig


def own_cluster(nodes: int = 1) -> Target:
    """Build what is missing and bring the test cluster up."""
    references = cluster.prepare()
    cluster.up(nodes)
    return Target(Kubectl(), references["operator"], references["trainer"])


def given_cluster(registry: str | None, operator_image: str | None, trainer_image: str | None) -> Target:
    """The cluster of KUBECONFIG, with the given images, or with ours pushed to a registry it can pull from."""
    build_module("kubernetes")
    if not (operator_image and trainer_image):
        built = images.build_all()
        if registry:
            built = images.push(built, registry)
        operator_image = operator_image or built["operator"]
        trainer_image = trainer_image or built["trainer"]
    return Target(Kubectl(kubeconfig=Path(os.environ["KUBECONFIG"])), operator_image, trainer_image)


def operator(target: Target, values: Mapping[str, Any] | None = None) -> None:
    """Install or upgrade the chart and wait until the operator is ready; its namespace enforces ``restricted``."""
    namespace = OPERATOR_NAMESPACE
    if not target.kubectl.exists("namespace", namespace):
        target.kubectl.create_namespace(namespace)
    repository, _, tag = target.operator_image.rpartition(":")
    chosen = {"image.repository": repository, "image.tag": tag, "trainerImage": target.trainer_image, **(values or {})}
    settings = [part for key, value in chosen.items() for part in _setting(key, value)]
    output(
        [tool("helm"), "upgrade", "--install", RELEASE, _CHART, "--namespace", namespace, "--wait", "--timeout", "2m",
         *settings],
        env={**os.environ, "KUBECONFIG": str(target.kubeconfig)},
    )  # fmt: skip


def _setting(key: str, value: Any) -> tuple[str, str]:
    return (
        ("--set-string", f"{key}={value}") if isinstance(value, str) else ("--set-json", f"{key}={json.dumps(value)}")
    )


def namespace(target: Target, name: str) -> None:
    """Create a namespace that enforces the restricted Pod security profile, unless it is there."""
    if not target.kubectl.exists("namespace", name):
        target.kubectl.create_namespace(name)


def seed(target: Target, name: str) -> None:
    """Put the tiny model and the data of the quickstart into a workspace, by the seed manifest's own Job."""
    manifest = re.sub(r"image: alignment-trainer\b.*", f"image: {target.trainer_image}", _SEED.read_text())
    target.kubectl.run("apply", "-f", "-", stdin=manifest, namespace=name)
    target.kubectl.run(
        "wait", "job/alignment-seed", "--for=condition=Complete", "--timeout=180s", namespace=name, timeout=200
    )


def cluster_down() -> None:
    """End the test cluster."""
    cluster.down()
