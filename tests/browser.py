"""A real browser for the tests of pages: Debian's Chromium without a display, spoken to over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.cluster import packages

PACKAGES: Final = {"chromium": "chromium", "fonts-dejavu-core": "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"}
"""Package -> a program of it, or a file that only it brings."""

_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    # A name that a page asks for is never resolved; what the tests serve has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
_LISTENING: Final = re.compile(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/")
_START_SECONDS: Final = 60
_ANSWER_SECONDS: Final = 30
_MAX_MESSAGE: Final = 256 << 20


class Page:
    """A page of the browser, and what it asked for and complained about since it was opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def open(self, url: str, *, width: int, dark: bool = False, height: int = 900) -> None:
        """Load ``url`` and wait until it is drawn."""
        self.requests.clear()
        self.complaints.clear()
        self._loaded.clear()
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[theme])
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.send("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), _ANSWER_SECONDS)
        await self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def screenshot(self, *, top: float = 0, height: float | None = None) -> bytes:
        """A picture of the page, or of a stretch of it, as PNG."""
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        area = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"] - top, "scale": 1}
        answer = await self.send("Page.captureScreenshot", clip=area, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the DevTools protocol."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._answers[number], _ANSWER_SECONDS)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def listen(self) -> None:
        """Take in what the browser says, until it goes."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
                continue
            parameters = said["params"]
            match said["method"]:
                case "Page.loadEventFired":
                    self._loaded.set()
                case "Network.requestWillBeSent":
                    self.requests.append(parameters["request"]["url"])
                case "Log.entryAdded":
                    self.complaints.append(parameters["entry"]["text"])
                case "Runtime.consoleAPICalled":
                    self.complaints.append(str(parameters["args"]))
                case "Runtime.exceptionThrown":
                    self.complaints.append(str(parameters["exceptionDetails"]))
                case "Page.javascriptDialogOpening":
                    self.complaints.append(f"dialog: {parameters['message']}")


@asynccontextmanager
async def browser_page() -> AsyncIterator[Page]:
    """A page of a browser of its own, which is installed where it is missing and ends with it."""
    packages.install(PACKAGES)
    profile = Path(tempfile.mkdtemp(prefix="alignment-browser-"))
    process = await asyncio.create_subprocess_exec(
        "chromium",
        *_OPTIONS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        port = await _debugging_port(process.stderr)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                target = next(each for each in await response.json() if each["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=_MAX_MESSAGE) as socket:
                page = Page(socket)
                listening = [asyncio.create_task(page.listen()), asyncio.create_task(process.stderr.read())]
                for domain in ("Page", "Network", "Log", "Runtime"):
                    await page.send(f"{domain}.enable")
                yield page
                for task in listening:
                    task.cancel()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _debugging_port(output: asyncio.StreamReader) -> int:
    async with asyncio.timeout(_START_SECONDS):
        async for line in output:
            if found := _LISTENING.search(line):
                return int(found.group(1))
    raise AssertionError("the browser ended before it could be asked anything")
