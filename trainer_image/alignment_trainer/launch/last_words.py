"""The end of a gang's output -> the lines that people want to see in status. Pure."""

from __future__ import annotations

import re
from typing import Final

MAX_OUTPUT: Final = 1024
"""Characters of `Summary.output`."""

_LAUNCHER: Final = re.compile(r"^[WEI]\d{4} .*torch/distributed/(?:elastic|run)")
_LAUNCHER_FAILURE: Final = re.compile(r"torch/distributed/elastic/multiprocessing/api\.py.* failed \(exitcode: ")
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def last_words(tail: str, limit: int = MAX_OUTPUT) -> str:
    """The last whole lines of ``tail``, at most ``limit`` characters.

    What the launcher says about the end of its processes is left out: the exit code says it, and it is longer than what
    the processes said themselves. Of progress bars, which overwrite their line, the last state is kept.
    """
    lines: list[str] = []
    for raw in tail.split("\n"):
        if _LAUNCHER_FAILURE.search(raw):
            break  # after it comes the launcher's own traceback only
        line = _ESCAPES.sub("", raw.rstrip("\r").rpartition("\r")[2]).rstrip()
        if line and not _LAUNCHER.match(line):
            lines.append(line)
    if not lines:
        return ""
    text = lines.pop()[-limit:]
    while lines and len(lines[-1]) + 1 + len(text) <= limit:
        text = f"{lines.pop()}\n{text}"
    return text
