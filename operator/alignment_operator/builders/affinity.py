"""Affinity of a gang's Pods: the user's, and away from nodes that are to be avoided."""

from __future__ import annotations

import copy
from typing import Any, Final

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


def avoiding(affinity: dict[str, Any], nodes: tuple[str, ...]) -> dict[str, Any]:
    """``affinity``, a core/v1 Affinity, that also keeps Pods off the nodes of these names.

    The terms of a required node affinity are alternatives, so each of them gets the further condition.
    """
    away = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]  # one value each
    changed = copy.deepcopy(affinity)
    node_affinity = changed.setdefault("nodeAffinity", {})
    terms = node_affinity.setdefault(_REQUIRED, {}).setdefault("nodeSelectorTerms", []) or [{}]
    for term in terms:
        term["matchFields"] = [*(term.get("matchFields") or ()), *away]
    node_affinity[_REQUIRED]["nodeSelectorTerms"] = terms
    return changed
