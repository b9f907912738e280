"""What the operator may do, by the roles bound to it, and what it did, by the API server's record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.cluster.control_plane import OPERATOR
from tests.cluster.kubectl import Kubectl


class Right(NamedTuple):
    """A verb on a kind of objects, or on a subresource of theirs."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


def granted(kubectl: Kubectl, account: str) -> set[Right]:
    """What the roles allow that are bound to the service account of that name."""
    roles = {
        (role["kind"], role["metadata"]["name"]): role
        for role in kubectl.items("roles", namespace="alignment-system") + kubectl.items("clusterroles")
    }
    bindings = kubectl.items("rolebindings", namespace="alignment-system") + kubectl.items("clusterrolebindings")
    return {
        Right(group, resource, verb)
        for binding in bindings
        if any(subject["name"] == account for subject in binding.get("subjects", ()))
        for rule in roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(log: Path) -> set[Right]:
    """What the operator asked for and was allowed."""
    rights = set()
    for entry in _requests(log):
        if _code(entry) == 403:
            continue
        right = _right(entry)
        rights.add(right)
        if right.verb == "patch" and _code(entry) == 201:  # a server-side apply that creates asks for both
            rights.add(right._replace(verb="create"))
    return rights


def refused(log: Path) -> list[str]:
    """What the operator asked for and had no right to; a full quota is another thing."""
    return [
        f"{_right(entry)} in {entry['objectRef'].get('namespace')}"
        for entry in _requests(log)
        if entry.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
    ]


def _requests(log: Path) -> Iterator[Mapping[str, Any]]:
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["user"]["username"] == OPERATOR and "objectRef" in entry:
            yield entry


def _right(entry: Mapping[str, Any]) -> Right:
    reference = entry["objectRef"]
    resource = "/".join(part for part in (reference["resource"], reference.get("subresource")) if part)
    return Right(reference.get("apiGroup", ""), resource, entry["verb"])


def _code(entry: Mapping[str, Any]) -> int:
    return int((entry.get("responseStatus") or {}).get("code", 0))
