"""What a failed attempt keeps in the workspace of each of its Pods, which Kubernetes deletes with all they said.

::

    evidence/output-<machine rank>.txt      the end of the output
    evidence/ending-<machine rank>.json     which Pod, on which node, when, and the Summary
    evidence/stacks-<rank>.txt              where a process was that had to be killed, or was waited for in vain
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignment_api.contract import NODE_NAME_VARIABLE, POD_NAME_VARIABLE, Summary

from ..attempt_record import reason_of
from .masking import Mask
from .stacks import LAUNCHER

_log = logging.getLogger(__name__)


def keep(folder: Path, machine_rank: int, summary: Summary, tail: str, stacks: Mapping[str, str], mask: Mask) -> None:
    """Write the evidence of this Pod; a volume that refuses it is only logged.

    Args:
        folder: the attempt's evidence.
        machine_rank: index of this Pod.
        summary: how it ended.
        tail: the end of its output.
        stacks: by rank, what its processes were doing.
        mask: what must not be written.
    """
    texts = {
        f"ending-{machine_rank}.json": json.dumps(_ending(machine_rank, summary, os.environ), indent=2) + "\n",
        f"output-{machine_rank}.txt": tail,
        **{f"stacks-{_owner(name, machine_rank)}.txt": mask.text(text) for name, text in stacks.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
    except OSError as error:
        _log.warning("cannot keep the evidence in %s: %s", folder, error)


def _ending(machine_rank: int, summary: Summary, variables: Mapping[str, str]) -> dict[str, Any]:
    return {
        "pod": variables.get(POD_NAME_VARIABLE) or socket.gethostname(),
        "node": variables.get(NODE_NAME_VARIABLE),
        "machineRank": machine_rank,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "class": reason_of(summary.exit_code),
        **summary.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def _owner(name: str, machine_rank: int) -> str:
    return f"{LAUNCHER}-{machine_rank}" if name == LAUNCHER else name
