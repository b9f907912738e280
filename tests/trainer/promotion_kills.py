"""Promotions in processes of their own that are killed, as a node that dies kills them, in the middle of their work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

from alignment_api.contract import JobLayout, JobReference, RunConfig

_CHANGES = frozenset(
    {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "shutil.rmtree"}
)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["alignment_trainer.promotion.run"])


def promote_killed_at(config: RunConfig, workspace: Path, step: int, *, attempt: int = 1) -> bool:
    """Promote, and die just before the ``step``-th change of the workspace (from 1); whether that came to pass.

    Changes are what Python's audit hooks tell: files opened for writing, links, renames, removals.
    """
    process = _CONTEXT.Process(target=_run, args=(config.model_dump_json(), str(workspace), step, attempt))
    process.start()
    process.join(60)
    if process.exitcode not in (0, -signal.SIGKILL):
        raise AssertionError(f"the promotion ended with {process.exitcode}")
    return process.exitcode != 0


def _run(config: str, workspace: str, step: int, attempt: int) -> None:
    from alignment_trainer.promotion.run import promote

    parsed = RunConfig.model_validate_json(config)
    layout = JobLayout(Path(workspace), JobReference.model_validate(parsed.job))
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
