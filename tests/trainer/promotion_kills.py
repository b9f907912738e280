"""Promotions in processes of their own that are killed, as a node that dies kills them, in the middle of their work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from alignment_api.contract import JobLayout, RunConfig
from alignment_trainer.promotion.run import promote

from .counting_proxy import CountingProxy, proxy_to

_CHANGES = frozenset(
    {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "shutil.rmtree"}
)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["alignment_trainer.promotion.run", "huggingface_hub.hf_api", "pyarrow.fs", "httpx2"])


def promote_killed_at(config: RunConfig, workspace: Path, step: int, *, attempt: int = 1) -> bool:
    """Promote in a process that dies just before its ``step``-th change of the workspace, from 1; whether it did.

    Changes are what Python's audit hooks tell: files opened for writing, links, renames, removals.
    """
    process = _CONTEXT.Process(
        target=_run, args=(config.model_dump_json(), str(workspace), step, attempt, dict(os.environ))
    )
    process.start()
    process.join(60)
    if process.exitcode not in (0, -signal.SIGKILL):
        raise AssertionError(f"the promotion ended with {process.exitcode}")
    return process.exitcode != 0


class ConfigOf(Protocol):
    """The configuration that promotes to place ``number`` of a server at a port."""

    def __call__(self, port: int, number: int, **spec: Any) -> RunConfig: ...


def promote_killed_at_every_request(
    config_of: ConfigOf, files_at: Callable[[int], dict[str, bytes]], server_port: int, layout: JobLayout
) -> int:
    """Replace a model by another one over a network, each time at another place and killed one request later.

    Readers must find the old or the new one, and the next attempt must finish.

    Args:
        config_of: what promotes where.
        files_at: what readers find at a place.
        server_port: where the server listens.
        layout: the job's folders.

    Returns:
        How many requests a promotion makes.
    """
    with proxy_to(server_port) as proxy:
        number = 0
        while True:
            number += 1
            promote(config_of(server_port, number, artifact="adapter"), layout, 1)
            old = files_at(number)
            proxy.requests, proxy.limit = 0, number
            killed = _promote_through(proxy, config_of(proxy.port, number), layout)
            found = files_at(number)
            proxy.limit = None
            promote(config_of(proxy.port, number), layout, 2)
            new = files_at(number)
            assert "adapter_model.safetensors" in old
            assert "model.safetensors" in new
            assert found in (old, new), f"killed at request {number}"
            if not killed:
                assert found == new
                return number - 1


def _promote_through(proxy: CountingProxy, config: RunConfig, layout: JobLayout) -> bool:
    """Promote in a process that the proxy may kill; whether it did."""
    arguments = (config.model_dump_json(), str(layout.workspace), 0, 1, dict(os.environ))
    process = _CONTEXT.Process(target=_run, args=arguments)
    process.start()
    proxy.client = process.pid
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), f"the promotion ended with {process.exitcode}"
    return process.exitcode != 0


def _run(config: str, workspace: str, step: int, attempt: int, environment: dict[str, str]) -> None:
    from huggingface_hub import constants

    constants.ENDPOINT = environment.get("HF_ENDPOINT", constants.ENDPOINT)  # what it was when it was imported
    constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET = False, True
    os.environ.update(environment)  # the server that forks has that of its start
    parsed = RunConfig.model_validate_json(config)
    layout = JobLayout(Path(workspace), parsed.job)
    left = step

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in _CHANGES or (event == "open" and _writes(arguments, workspace)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    promote(parsed, layout, attempt)
    os._exit(0)


def _writes(arguments: tuple[Any, ...], workspace: str) -> bool:
    path, _, flags = arguments
    return isinstance(path, str | Path) and str(path).startswith(workspace) and bool(flags & (os.O_WRONLY | os.O_RDWR))
