"""Random documents that fit a structural schema."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

from alignment_api.crd.schema import Schema

_MOST_ENTRIES = 3
_ONE_OF = re.compile(r"\[(.*)\]\.exists_one")
_MEMBER = re.compile(r"has\(self\.(\w+)\)")
_TEXT = st.characters(codec="utf-8", exclude_categories=["Cs"])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(_TEXT, max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(_TEXT, max_size=4), inner, max_size=2),
    max_leaves=4,
)


def documents(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that fit ``schema`` and its one-of rules; other rules may refuse them."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(1, 2**40) | st.from_regex(r"[1-9][0-9]{0,3}([KMG]i|m)?", fullmatch=True)
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer":
            return _integers(schema)
        case "number":
            return _integers(schema) | _floats(schema)
        case "string":
            return _strings(schema)
        case "array":
            return _lists(schema)
        case "object":
            return _objects(schema)
        case other:
            raise NotImplementedError(other)


def _integers(schema: Schema) -> st.SearchStrategy[int]:
    low = schema.get("minimum", -(2**31)) + bool(schema.get("exclusiveMinimum"))
    high = schema.get("maximum", 2**31) - bool(schema.get("exclusiveMaximum"))
    return st.integers(low, high) if low <= high else st.nothing()


def _floats(schema: Schema) -> st.SearchStrategy[float]:
    return st.floats(
        schema.get("minimum"),
        schema.get("maximum"),
        exclude_min=bool(schema.get("exclusiveMinimum")),
        exclude_max=bool(schema.get("exclusiveMaximum")),
        allow_nan=False,
        allow_infinity=False,
    )


def _strings(schema: Schema) -> st.SearchStrategy[str]:
    shortest, longest = int(schema.get("minLength", 0)), int(schema["maxLength"])
    if "pattern" in schema:
        return st.from_regex(str(schema["pattern"]), fullmatch=True).filter(
            lambda text: shortest <= len(text) <= longest
        )
    return st.text(_TEXT, min_size=shortest, max_size=min(longest, 12))


def _lists(schema: Schema) -> st.SearchStrategy[list[Any]]:
    most = min(schema["maxItems"], _MOST_ENTRIES)
    keys = schema.get("x-kubernetes-list-map-keys", [])
    return st.lists(
        documents(schema["items"]),
        min_size=schema.get("minItems", 0),
        max_size=most,
        unique_by=(lambda entry: tuple(entry[key] for key in keys)) if keys else None,
    )


def _objects(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return st.dictionaries(st.text(_TEXT, max_size=8), _ANYTHING, max_size=_MOST_ENTRIES)
    if "additionalProperties" in schema:
        values = documents(schema["additionalProperties"])
        return st.dictionaries(st.text(_TEXT, min_size=1, max_size=8), values, max_size=_MOST_ENTRIES)
    fields = {name: documents(child) for name, child in schema["properties"].items()}
    members = _one_of_members(schema)
    required = {name: fields[name] for name in schema.get("required", ())}
    optional = {name: field for name, field in fields.items() if name not in required and name not in members}
    plain = st.fixed_dictionaries(required, optional=optional)
    if not members:
        return plain
    one = st.one_of([st.fixed_dictionaries({name: fields[name]}) for name in members])
    return st.builds(lambda rest, member: rest | member, plain, one)


def _one_of_members(schema: Schema) -> list[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if match := _ONE_OF.match(rule["rule"]):
            return _MEMBER.findall(match[1])
    return []
