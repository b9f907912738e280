"""The field reference of AlignmentJob in Markdown: one section a model, one row a field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..v1alpha1 import GROUP, KIND, VERSION, AlignmentJob
from .schema import Schema, json_schema

_REFERENCE = "#/$defs/"
_HEADER = f"""# {KIND} reference

Every field of `{GROUP}/{VERSION}` `{KIND}`. Generated from the models in `alignment_api`; `make generate` writes it.
A field without a default is optional unless it is marked required.
"""


def reference() -> str:
    """The whole page."""
    root = json_schema(AlignmentJob)
    definitions: dict[str, Schema] = root.pop("$defs")
    sections = [_HEADER]
    for name in ["AlignmentJobSpec", *_in_order_of_use("AlignmentJobSpec", definitions)]:
        sections.append(_section(name, definitions))
    for name in ["AlignmentJobStatus", *_in_order_of_use("AlignmentJobStatus", definitions)]:
        section = _section(name, definitions)
        if section not in sections:
            sections.append(section)
    return "\n".join(sections)


def _in_order_of_use(name: str, definitions: dict[str, Schema]) -> list[str]:
    """Models with fields that ``name`` uses, directly or not, each once, those nearest to it first."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        used = [used for used in _references(definitions[waiting.pop(0)]) if used not in found and used != name]
        for other in used:
            if "properties" in definitions[other] and other not in found:
                found[other] = None
                waiting.append(other)
    return list(found)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(target := node.get("$ref"), str):
            yield target.removeprefix(_REFERENCE)
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _section(name: str, definitions: dict[str, Schema]) -> str:
    schema = definitions[name]
    required = set(schema.get("required", ()))
    lines = [f"## {name}", "", schema["description"], ""]
    rules = schema.get("x-kubernetes-validations", ())
    if rules:
        lines += [*(f"- {rule['message']}" for rule in rules), ""]
    lines += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for field, node in schema["properties"].items():
        default = "required" if field in required else _default(node)
        cells = (f"`{field}`", _type(node, definitions), default, _description(node, definitions))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _description(node: Schema, definitions: dict[str, Schema]) -> str:
    """The field's own description, or else that of its model."""
    if "description" not in node and "$ref" in node:
        node = definitions[node["$ref"].removeprefix(_REFERENCE)]
    description: str = node["description"]
    return description


def _default(node: Schema) -> str:
    default = node.get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def _type(node: Schema, definitions: dict[str, Schema]) -> str:
    """The type of a field in words, with its bounds."""
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if len(choices) == 1:
        return _type(choices[0], definitions)
    if "$ref" in node:
        name = node["$ref"].removeprefix(_REFERENCE)
        target = definitions[name]
        return f"[{name}](#{name.lower()})" if "properties" in target else _type(target, definitions)
    if "enum" in node or "const" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if node.get("type") == "array":
        return f"list of {_type(node['items'], definitions)}"
    if node.get("type") == "object":
        values = node.get("additionalProperties")
        return f"map to {_type(values, definitions)}" if isinstance(values, dict) else "object of any fields"
    return " ".join([str(node.get("format") or node["type"]), *_bounds(node)])


def _bounds(node: Schema) -> Iterator[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    for keyword, sign in signs.items():
        if keyword in node:
            yield f"{sign} {node[keyword]}"
