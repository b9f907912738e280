"""The control plane that every API test shares, with the generated CustomResourceDefinition installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.tools import build_module

from .client import AlignmentJobs, Kubectl
from .control_plane import ControlPlane, running_control_plane


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane without any custom resource."""
    kube = build_module("kubernetes") / "kube"
    with running_control_plane(tmp_path_factory.mktemp("control-plane"), kube) as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """kubectl, as administrator of the control plane."""
    return Kubectl(build_module("kubernetes") / "kubectl", control_plane.kubeconfig())


@pytest.fixture(scope="session")
def jobs(control_plane: ControlPlane, kubectl: Kubectl) -> AlignmentJobs:
    """The AlignmentJobs of the default namespace, their definition applied the way most people do: client-side."""
    kubectl.install_crd()
    return AlignmentJobs(control_plane)
