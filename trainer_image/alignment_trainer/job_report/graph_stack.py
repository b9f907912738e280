"""Where the nodes of a pipeline are drawn on a narrow page: in one column, their edges in lanes beside it. Pure."""

from __future__ import annotations

from typing import Final

from .graph_layout import columns
from .model import Edge, Graph
from .picture import MARGIN, NODE_HEIGHT, NODE_WIDTH, Picture, PlacedEdge, PlacedNode

_LANE: Final = 13
_BETWEEN: Final = 22
_ROUND: Final = 6
_AWAY: Final = 12
"""From the nodes to the first lane: room for the heads of the arrows."""
_AIM: Final = 8
"""Half of the height over which the edges into and out of a node are spread."""


def narrow(graph: Graph) -> Picture:
    """The graph, each node above those that take it; it must have no cycles."""
    column = columns(graph)
    order = sorted(graph.nodes, key=lambda node: column[node.id])
    row = {node.id: number for number, node in enumerate(order)}
    lane = _lanes([edge for edge in graph.edges if row[edge.target] - row[edge.source] > 1], row)
    left = MARGIN + (_AWAY + _LANE * max(lane.values()) + 1 if lane else 0)
    top = {name: MARGIN + number * (NODE_HEIGHT + _BETWEEN) for name, number in row.items()}

    def path(edge: Edge) -> str:
        begin, end = top[edge.source], top[edge.target]
        if (edge.source, edge.target) not in lane:
            return f"M{left + 24} {begin + NODE_HEIGHT}V{end}"
        x = left - _AWAY - _LANE * lane[(edge.source, edge.target)]
        y, target = begin + NODE_HEIGHT / 2 + _AIM, end + NODE_HEIGHT / 2 - _AIM
        return (
            f"M{left} {y:.0f}H{x + _ROUND:.1f}Q{x:.1f} {y:.0f} {x:.1f} {y + _ROUND:.0f}"
            f"V{target - _ROUND:.0f}Q{x:.1f} {target:.0f} {x + _ROUND:.1f} {target:.0f}H{left}"
        )

    return Picture(
        width=left + NODE_WIDTH + MARGIN,
        height=2 * MARGIN + len(order) * (NODE_HEIGHT + _BETWEEN) - _BETWEEN if order else 0,
        nodes=[PlacedNode(node, left, top[node.id]) for node in order],
        edges=[PlacedEdge(edge, path(edge)) for edge in graph.edges],
    )


def _lanes(edges: list[Edge], row: dict[str, int]) -> dict[tuple[str, str], int]:
    """A lane for each edge, 0 beside the nodes; edges share one where they do not meet, or come from the same node."""
    taken: list[list[Edge]] = []
    lane: dict[tuple[str, str], int] = {}
    for edge in sorted(edges, key=lambda edge: (row[edge.target] - row[edge.source], row[edge.source])):
        for number, others in enumerate([*taken, []]):
            if all(_may_share(edge, other, row) for other in others):
                if number == len(taken):
                    taken.append([])
                taken[number].append(edge)
                lane[(edge.source, edge.target)] = number
                break
    return lane


def _may_share(edge: Edge, other: Edge, row: dict[str, int]) -> bool:
    apart = row[edge.target] <= row[other.source] or row[other.target] <= row[edge.source]
    return apart or (edge.source == other.source and edge.main == other.main)
