"""Promotions in processes of their own that are killed, as a node that dies kills them, in the middle of their work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignment_api.contract import JobLayout, RunConfig

from .counting_proxy import proxy_to

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


def promote_killed_by(
    config_for: Callable[[int], RunConfig], server_port: int, workspace: Path, is_whole: Callable[[], bool]
) -> int:
    """Promote over a network until it is done, each time killed one request later; how often it was killed.

    Args:
        config_for: the configuration that promotes to a server at a port.
        server_port: where the server listens.
        workspace: root of the volume.
        is_whole: whether readers of the place find a whole model; asked after every kill.
    """
    with proxy_to(server_port) as proxy:
        config = config_for(proxy.port).model_dump_json()
        kills = 0
        while True:
            proxy.requests, proxy.limit = 0, kills + 1
            process = _CONTEXT.Process(target=_run, args=(config, str(workspace), 0, kills + 1, dict(os.environ)))
            process.start()
            proxy.client = process.pid
            process.join(60)
            assert is_whole(), f"killed at request {kills + 1}"
            if process.exitcode == 0:
                return kills
            assert process.exitcode == -signal.SIGKILL, f"the promotion ended with {process.exitcode}"
            kills += 1


def _run(config: str, workspace: str, step: int, attempt: int, environment: dict[str, str]) -> None:
    from huggingface_hub import constants

    from alignment_trainer.promotion.run import promote

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
