"""A pipeline as it is drawn, in CSS pixels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .model import Edge, Node

NODE_WIDTH: Final = 176
NODE_HEIGHT: Final = 54
MARGIN: Final = 3


@dataclass(frozen=True)
class PlacedNode:
    """A node with the upper left corner of its box."""

    node: Node
    x: float
    y: float


@dataclass(frozen=True)
class PlacedEdge:
    """An edge as the path of an SVG."""

    edge: Edge
    path: str


@dataclass(frozen=True)
class Picture:
    """A pipeline and the size of its drawing."""

    width: float
    height: float
    nodes: Sequence[PlacedNode]
    edges: Sequence[PlacedEdge]
