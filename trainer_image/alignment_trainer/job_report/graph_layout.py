"""Where the nodes of a pipeline are drawn on a wide page: in columns along the references, with few crossings. Pure.

Columns by longest paths, edges over several columns led through all of them, order within columns by barycenters
(Sugiyama, Tagawa, Toda, 1981).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from .model import Edge, Graph
from .picture import MARGIN, NODE_HEIGHT, NODE_WIDTH, Picture, PlacedEdge, PlacedNode

_GAP: Final = 18
_LANE: Final = 26
"""Room for an edge that passes a column."""
_BETWEEN: Final = 48
_SWEEPS: Final = 8


def wide(graph: Graph) -> Picture:
    """The graph, drawn from left to right; it must have no cycles."""
    column_of = columns(graph)
    routes = {(edge.source, edge.target): _route(edge, column_of) for edge in graph.edges}
    links = [pair for route in routes.values() for pair in pairwise(route)]
    stops = column_of | {stop: column_of[route[0]] + i for route in routes.values() for i, stop in enumerate(route)}
    rows = _ordered(stops, links)
    height_of = {name: NODE_HEIGHT if name in column_of else _LANE for name in stops}
    middle = _middles(rows, links, height_of)
    left = {name: MARGIN + column * (NODE_WIDTH + _BETWEEN) for name, column in stops.items()}
    nodes = [PlacedNode(node, left[node.id], middle[node.id] - NODE_HEIGHT / 2) for node in graph.nodes]
    edges = [
        PlacedEdge(edge, _path([(left[stop], middle[stop]) for stop in routes[(edge.source, edge.target)]]))
        for edge in graph.edges
    ]
    return Picture(
        width=2 * MARGIN + len(rows) * (NODE_WIDTH + _BETWEEN) - _BETWEEN if rows else 0,
        height=max((middle[name] + height_of[name] / 2 for name in stops), default=0) + MARGIN,
        nodes=nodes,
        edges=edges,
    )


def columns(graph: Graph) -> dict[str, int]:
    """Longest path to each node; models stand just before the first that takes them."""
    sources: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    for edge in graph.edges:
        sources[edge.target].append(edge.source)
    column: dict[str, int] = {}

    def visit(name: str) -> int:
        if name not in column:
            column[name] = 0  # holds for sources, and ends a cycle that validation would have refused
            column[name] = max((visit(source) + 1 for source in sources[name]), default=0)
        return column[name]

    for node in graph.nodes:
        visit(node.id)
    for node in graph.nodes:
        taken_by = [column[edge.target] for edge in graph.edges if edge.source == node.id]
        if not sources[node.id] and taken_by:
            column[node.id] = max(0, min(taken_by) - 1)
    return column


def _route(edge: Edge, column: Mapping[str, int]) -> list[str]:
    """The nodes and lanes that an edge passes, one in each column."""
    between = range(column[edge.source] + 1, column[edge.target])
    return [edge.source, *(f"lane:{edge.source}>{edge.target}:{number}" for number in between), edge.target]


def _ordered(column: Mapping[str, int], links: Sequence[tuple[str, str]]) -> list[list[str]]:
    rows: list[list[str]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for name, number in column.items():
        rows[number].append(name)
    before: dict[str, list[str]] = {name: [] for name in column}
    after: dict[str, list[str]] = {name: [] for name in column}
    for source, target in links:
        before[target].append(source)
        after[source].append(target)
    for sweep in range(_SWEEPS):
        neighbours, order = (before, rows) if sweep % 2 == 0 else (after, rows[::-1])
        for previous, row in pairwise(order):
            place = {name: index / max(1, len(previous) - 1) for index, name in enumerate(previous)}
            own = {name: index / max(1, len(row) - 1) for index, name in enumerate(row)}
            row.sort(key=lambda name: _mean([place[n] for n in neighbours[name] if n in place], own[name]))
    return rows


def _middles(
    rows: Sequence[Sequence[str]], links: Sequence[tuple[str, str]], height_of: Mapping[str, float]
) -> dict[str, float]:
    """Where the middle of each node is down the page: near its neighbours, without overlaps."""
    neighbours: dict[str, list[str]] = {name: [] for name in height_of}
    for source, target in links:
        neighbours[source].append(target)
        neighbours[target].append(source)
    middle: dict[str, float] = {}
    for row in rows:
        position = float(MARGIN)
        for name in row:
            middle[name] = position + height_of[name] / 2
            position += height_of[name] + _GAP
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 else rows[::-1]:
            wanted = {name: _mean([middle[o] for o in neighbours[name]], middle[name]) for name in row}
            _settle(row, wanted, height_of, middle)
    least = min((middle[name] - height_of[name] / 2 for name in middle), default=0) - MARGIN
    return {name: value - least for name, value in middle.items()}


def _settle(
    row: Sequence[str], wanted: Mapping[str, float], height_of: Mapping[str, float], middle: dict[str, float]
) -> None:
    """Move a row's nodes towards where they want to be, in their order and apart from each other."""
    position = float("-inf")
    for name in row:
        middle[name] = max(wanted[name], position + height_of[name] / 2)
        position = middle[name] + height_of[name] / 2 + _GAP
    excess = _mean([middle[name] - wanted[name] for name in row], 0.0)
    for name in row:
        middle[name] -= excess


def _path(stops: Sequence[tuple[float, float]]) -> str:
    """A smooth line from the right side of the first stop to the left side of the last, through those between."""
    x, y = stops[0][0] + NODE_WIDTH, stops[0][1]
    parts = [f"M{x:.0f} {y:.0f}"]
    for number, (left, middle) in enumerate(stops[1:], start=1):
        bend = (x + left) / 2
        parts.append(f"C{bend:.0f} {y:.0f} {bend:.0f} {middle:.0f} {left:.0f} {middle:.0f}")
        x, y = left, middle
        if number < len(stops) - 1:
            x = left + NODE_WIDTH
            parts.append(f"L{x:.0f} {y:.0f}")
    return "".join(parts)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
