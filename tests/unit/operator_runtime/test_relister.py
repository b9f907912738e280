"""Watches that deliver nothing are noticed; watches that are only slower than a listing are not blamed."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from alignment_operator.cluster.lister import Lister
from alignment_operator.cluster.relister import Relister
from alignment_operator.cluster.resources import ALIGNMENT_JOB, Resource
from alignment_operator.cluster.store import Key, Store
from alignment_operator.exceptions import UnavailableError
from alignment_operator.metrics.work import WorkMetrics


class Cluster(Lister):
    """AlignmentJobs whose number grows with each listing; nothing else."""

    def __init__(self, failures: int = 0) -> None:
        self.count = 0
        self.failures = failures

    async def list(self, resource: Resource, namespace: str | None) -> dict[str, Any]:
        if self.failures:
            self.failures -= 1
            raise UnavailableError("cannot list")
        if resource is not ALIGNMENT_JOB:
            return {"metadata": {"resourceVersion": str(self.count)}, "items": []}
        self.count += 1
        names = [str(number) for number in range(1, self.count + 1)]
        items = [{"metadata": {"namespace": "a", "name": name, "uid": name, "resourceVersion": name}} for name in names]
        return {"metadata": {"resourceVersion": str(self.count)}, "items": items}


def relister(cluster: Cluster, store: Store, enqueued: list[Key]) -> Relister:
    return Relister(cluster, store, (), enqueued.append, WorkMetrics(CollectorRegistry()))


async def test_the_first_listing_makes_the_store_complete() -> None:
    store, enqueued = Store(), list[Key]()
    await relister(Cluster(), store, enqueued).first_listing()
    assert store.complete
    assert enqueued == [Key("a", "1")]


async def test_a_watch_that_delivers_nothing_while_there_is_news_is_deaf() -> None:
    one = relister(Cluster(), Store(), [])
    await one.relist()
    assert one.problem() is None
    await one.relist()
    assert one.problem() == "the watch of alignmentjobs delivers nothing"
    one.heard(ALIGNMENT_JOB)
    await one.relist()
    assert one.problem() is None


async def test_an_api_server_that_is_away_is_not_the_watches_fault() -> None:
    one = relister(Cluster(failures=2), Store(), [])
    await one.relist()
    await one.relist()
    assert one.problem() is None
