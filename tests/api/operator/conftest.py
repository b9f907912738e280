"""An operator that runs against the real control plane, and a namespace for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.tools import build_module

from ..client import AlignmentJobs, Kubectl
from ..control_plane import ControlPlane
from .process import OperatorProcess, grant_rights
from .team import Team


@pytest.fixture(scope="session")
def operator_kubeconfig(control_plane: ControlPlane, kubectl: Kubectl, jobs: AlignmentJobs) -> Path:
    """A kubeconfig with the rights that the chart gives to the operator."""
    return grant_rights(control_plane, kubectl, build_module("kubernetes") / "helm")


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """A running operator that writes numbers every second."""
    log = tmp_path_factory.mktemp("operator") / "log.jsonl"
    process = OperatorProcess(operator_kubeconfig, log, {"STATUS_INTERVAL_SECONDS": "1"}).start()
    yield process
    process.stop()


@pytest.fixture
def team(control_plane: ControlPlane) -> Team:
    """A new namespace."""
    name = f"team-{uuid.uuid4().hex[:8]}"
    control_plane.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    return Team(control_plane, name)
