"""Nodes that later attempts avoid, because too many attempts failed on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alignment_api.v1alpha1.run_policy import RunPolicy

from ...failures.classes import CLASS_OF_REASON
from ...failures.failure import Failure

_MOST: Final = 64
"""Nodes that are remembered; those with the fewest failures are forgotten first."""


def with_failure_of_node(counts: Mapping[str, int], failure: Failure) -> Mapping[str, int]:
    """``counts`` of failures by node, with one that a node is to blame for."""
    if failure.node is None or not CLASS_OF_REASON[failure.reason].blames_node:
        return counts
    counted = {**counts, failure.node: counts.get(failure.node, 0) + 1}
    kept = sorted(counted, key=lambda node: (node != failure.node, -counted[node], node))[:_MOST]
    return {node: counted[node] for node in sorted(kept)}


def avoided_nodes(counts: Mapping[str, int], policy: RunPolicy) -> tuple[str, ...]:
    """Names of the nodes that a new attempt must not use."""
    limit = policy.avoid_node_after_failures
    return tuple(sorted(node for node, count in counts.items() if limit and count >= limit))
