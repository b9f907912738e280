"""What the API server recorded: who wrote what, and which gangs existed when."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True)
class Write:
    """One write.

    Attributes:
        agent: what the client calls itself.
        result: the object after it, where the audit policy records that.
    """

    time: str
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    agent: str = ""
    result: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def created(self) -> bool:
        """Whether the object did not exist before: a server-side apply that creates answers 201 to a patch."""
        return self.verb in {"create", "patch"} and self.code == 201


def writes(log: Path, namespace: str, *, refused: bool = False) -> list[Write]:
    """The successful writes to a namespace, with ``refused`` also those that were not, oldest first."""
    found = []
    for line in log.read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        reference = entry.get("objectRef") or {}
        code = (entry.get("responseStatus") or {}).get("code", 0)
        if entry["verb"] not in _WRITES or reference.get("namespace") != namespace:
            continue
        if not refused and not 200 <= code < 300:
            continue
        if entry.get("stage") != "ResponseComplete":
            continue
        resource = "/".join(part for part in (reference["resource"], reference.get("subresource")) if part)
        found.append(
            Write(
                entry["requestReceivedTimestamp"],
                entry["user"]["username"],
                entry["verb"],
                resource,
                namespace,
                reference.get("name", ""),
                code,
                entry.get("userAgent", ""),
                entry.get("responseObject") or {},
            )
        )
    return sorted(found, key=lambda write: write.time)


def created_jobs(log: Path, namespace: str) -> Counter[str]:
    """How often each batch Job came into being."""
    return Counter(write.name for write in writes(log, namespace) if write.resource == "jobs" and write.created)
