"""Fetches a job's report from the Pod that wrote it. User code runs there: what comes is bounded and not believed."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from ..builders.report import MAX_REPORT_BYTES, Report
from ..exceptions import ReportError
from .compressed import plain

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10.0)
_PIECE: Final = 64 * 1024


async def fetch_report(session: aiohttp.ClientSession, base_url: str) -> Report:
    """The report that the Pod at ``base_url`` serves now.

    Raises:
        ReportError: there is none, or it cannot be kept.
        aiohttp.ClientError, TimeoutError: the Pod did not answer.
    """
    page = await _get(session, f"{base_url}/report", MAX_REPORT_BYTES)
    numbers = await _get(session, f"{base_url}/report.json", MAX_REPORT_BYTES - len(page))
    for content in (page, numbers):
        await asyncio.to_thread(plain, content)
    return Report(page, numbers)


async def _get(session: aiohttp.ClientSession, url: str, limit: int) -> bytes:
    headers = {"Accept-Encoding": "gzip"}
    async with session.get(url, allow_redirects=False, timeout=_TIMEOUT, headers=headers) as response:
        if response.status != 200:
            raise ReportError(f"HTTP {response.status}")
        body = bytearray()
        async for piece in response.content.iter_chunked(_PIECE):
            body += piece
            if len(body) > limit:
                raise ReportError(f"page and numbers together are larger than {MAX_REPORT_BYTES} bytes compressed")
        return bytes(body)
