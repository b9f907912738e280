"""One cluster and one seeded namespace for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import install

from .harness import Cluster
from .namespace import Namespace


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The test cluster with the operator installed; gone after the last test."""
    target = install.own_cluster()
    try:
        install.operator(target)
        yield Cluster(target)
    finally:
        install.cluster_down()


@pytest.fixture(scope="session")
def seeded(cluster: Cluster) -> Namespace:
    """A namespace whose workspace holds the quickstart's tiny model and data."""
    namespace = cluster.namespace("e2e")
    install.seed(cluster.target, namespace.name)
    return namespace
