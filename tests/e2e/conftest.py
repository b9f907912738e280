"""One cluster and one seeded namespace for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import install

from .harness import Cluster
from .namespace import Namespace

VALUES = {
    "allowances.trustRemoteCode": True,
    "networkPolicy.enabled": True,
    "networkPolicy.egress.enabled": True,
    "networkPolicy.gangs.enabled": True,
}
"""Of the chart. This cluster's network enforces no policies; what the objects mean, `tests.network_policies` says."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The test cluster with the operator installed; gone after the last test."""
    target = install.own_cluster()
    try:
        install.operator(target, VALUES)
        yield Cluster(target)
    finally:
        install.cluster_down()


@pytest.fixture(scope="session")
def seeded(cluster: Cluster) -> Namespace:
    """A namespace whose workspace holds the quickstart's tiny model and data."""
    namespace = cluster.namespace("e2e")
    install.seed(cluster.target, namespace.name)
    return namespace
