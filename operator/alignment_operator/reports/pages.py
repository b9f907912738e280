"""Serves the reports of jobs, read-only, as they were fetched from Pods in which user code runs.

Nothing in a report is trusted: no script runs, nothing is loaded, it leads nowhere by itself, and cannot be framed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from alignment_api.contract import JobReference

from ..builders.report import Report
from ..cluster.store import Key, Store, uid_of
from ..exceptions import ClusterError, ReportError
from ..planning.observed import Manifest
from ..planning.policies.report import report_path
from .compressed import plain

Read = Callable[[JobReference], Awaitable[Report | None]]

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
_JSON: Final = ".json"
_AT_ONCE: Final = 4
"""Reports that are held in memory at once."""


def report_routes(store: Store, read: Read) -> list[web.RouteDef]:
    """``GET /reports/<namespace>/<name>``, a page, and ``.../<name>.json``, the same in numbers.

    Args:
        store: knows the AlignmentJobs.
        read: gives the report that is kept of one.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def answer(request: web.Request) -> web.Response:
        if not store.complete:
            return _words(503, "the first listing is not complete: ask again in a moment\n")
        key, wants_numbers = _wanted(store, request.match_info["namespace"], request.match_info["name"])
        job = store.alignment_jobs.get(key)
        if job is None:
            return _words(404, f"there is no AlignmentJob {key}, or this operator does not serve its namespace\n")
        reference = JobReference(namespace=key.namespace, name=key.name, uid=uid_of(job))
        async with places:
            try:
                report = await read(reference)
            except ClusterError as error:
                return _words(503, f"{error}\n")
            if report is None:
                return _words(404, _why_there_is_none(job, reference))
            content = report.numbers if wants_numbers else report.page
            return await _content(request, content, "application/json" if wants_numbers else "text/html")

    return [web.get("/reports/{namespace}/{name}", answer)]


def _wanted(store: Store, namespace: str, name: str) -> tuple[Key, bool]:
    """Which job, and whether its numbers; a job may itself be called ``x.json``."""
    if name.endswith(_JSON) and store.alignment_jobs.get(Key(namespace, name)) is None:
        return Key(namespace, name.removesuffix(_JSON)), True
    return Key(namespace, name), False


def _why_there_is_none(job: Manifest, reference: JobReference) -> str:
    path, status = report_path(reference), job.get("status") or {}
    if status.get("report") is None:
        return f"AlignmentJob {reference.name} has no report yet: it is written at the end of every stage\n"
    return (
        f"the report of AlignmentJob {reference.name} is not kept here: it was not fetched before its Pod ended, is "
        f"larger than a ConfigMap may be, or was removed with the job's Pods. It lies in the job's workspace: {path}, "
        "with report.json beside it\n"
    )


async def _content(request: web.Request, content: bytes, content_type: str) -> web.Response:
    headers = dict(_HEADERS)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        try:
            content = await asyncio.to_thread(plain, content)
        except ReportError as error:
            return _words(502, f"what is kept of the report cannot be read: {error}\n")
    return web.Response(body=content, content_type=content_type, charset="utf-8", headers=headers)


def _words(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, headers=_HEADERS)
