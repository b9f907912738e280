"""Descriptions once: a model that occurs in several places is described where it occurs first.

The CRD is sent and stored as a whole; a fifth copy of what a model source is would only make it larger.
"""

from __future__ import annotations

from typing import Any, Final

MODEL: Final = "x-model"
"""Carried by a node until `describe_once` takes it off: the name of the model that the node was made from."""


def describe_once(root: dict[str, Any]) -> None:
    """Take the descriptions below each later occurrence of a model off, and say where the first one is; in place."""
    _visit(root, "", {}, keep=True)


def _visit(node: dict[str, Any], path: str, first: dict[str, str], *, keep: bool) -> None:
    model = node.pop(MODEL, None)
    if model is not None and "properties" in node:
        before = first.setdefault(model, path)
        if keep and before != path:
            keep = False
            node["description"] = f"{node.get('description', '')} Fields: as in `{before}`.".lstrip()
    for name, child in node.get("properties", {}).items():
        _visit(child, f"{path}.{name}" if path else name, first, keep=keep)
        if not keep:
            child.pop("description", None)
    for below in (node.get("items"), node.get("additionalProperties")):
        if isinstance(below, dict):
            # The description of a list's entries is the list's own.
            described = "description" in below
            _visit(below, path, first, keep=keep)
            if not described and (text := below.pop("description", None)) is not None:
                node["description"] = f"{node.get('description', '')} {text}".strip()
