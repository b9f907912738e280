"""A page that a Pod made up to do harm, as the operator serves it, in a real browser."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from alignment_api.contract import JobReference
from alignment_operator.builders.report import Report
from alignment_operator.cluster.resources import ALIGNMENT_JOB
from alignment_operator.cluster.store import Store
from alignment_operator.metrics.server import http_server
from alignment_operator.reports.pages import report_routes
from tests.browser import browser_page
from tests.ports import free_port

HARMFUL = """<!doctype html><html><head><title>a report</title>
<meta http-equiv="refresh" content="0; url=/metrics">
<base href="http://127.0.0.1:1/"><link rel="icon" href="data:,">
<link rel="stylesheet" href="/metrics"><style>@import url("/metrics"); p { color: rgb(1, 2, 3) }</style>
<script>document.title = "changed"</script><script src="/metrics"></script></head>
<body onload="document.title = 'changed'"><p id="text">samples</p>
<img src="/metrics" onerror="document.title = 'changed'"><iframe src="/metrics"></iframe>
<object data="/metrics"></object><video src="/metrics"></video>
<svg><image href="/metrics"/><script>document.title = "changed"</script></svg>
</body></html>"""


async def test_it_is_shown_and_does_nothing() -> None:
    store = Store()
    store.complete = True
    metadata = {"namespace": "team", "name": "job", "uid": "u", "resourceVersion": "1"}
    store.put(ALIGNMENT_JOB, {"metadata": metadata})

    async def read(_: JobReference) -> Report:
        return Report(gzip.compress(HARMFUL.encode()), gzip.compress(b"{}"))

    registry = CollectorRegistry()
    registry.register(asked := _Asked())
    url = f"http://127.0.0.1:{(port := free_port())}"
    routes = report_routes(store, read)
    async with http_server(port, registry, lambda: None, lambda: None, routes), browser_page() as page:
        await page.open(f"{url}/metrics", width=800)
        assert asked.times == 1, "it would be seen"
        await page.send("Page.navigate", url=f"{url}/reports/team/job")
        await asyncio.sleep(2)
        assert await page.evaluate("[document.title, location.pathname]") == ["a report", "/reports/team/job"]
        assert await page.evaluate("getComputedStyle(document.getElementById('text')).color") == "rgb(1, 2, 3)"
    assert asked.times == 1


class _Asked(Collector):
    """Counts how often anybody asked for metrics."""

    times = 0

    def describe(self) -> Iterator[Metric]:
        """Nothing: to be described is not to be asked."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Nothing but the count."""
        self.times += 1
        return iter(())
