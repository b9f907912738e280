"""Pydantic models as the structural schema that a CustomResourceDefinition needs.

Two steps. Pydantic writes JSON Schema, to which `ApiJsonSchema` adds what only the model classes know: CEL rules, list
keys and defaults made by factories. `structural` then rewrites JSON Schema's dialect into Kubernetes' (references
inlined, null is absence, exclusive bounds are booleans, no `additionalProperties: false`).

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ..v1alpha1.base import ApiModel, CelRule, one_of_message
from .descriptions import MODEL, describe_once

Schema = dict[str, Any]

_RULES = "x-kubernetes-validations"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_PRESERVE_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
# Carried by a model's schema until the list that holds it is reached; never part of the result.
_LIST_MAP_KEY = "x-list-map-key"

# Keywords that mean the same in both dialects, in the order in which they are written.
_SAME_KEYWORDS = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    _RULES,
)
# Bounds of a number: JSON Schema's keyword -> CEL operator, Kubernetes' keyword, whether the bound itself is excluded.
_BOUNDS = {
    "minimum": (">=", "minimum", False),
    "exclusiveMinimum": (">", "minimum", True),
    "maximum": ("<=", "maximum", False),
    "exclusiveMaximum": ("<", "maximum", True),
}
# Keywords that carry no constraint, or one that Kubernetes cannot express (`propertyNames`).
_DROPPED_KEYWORDS = frozenset({"title", "propertyNames"})
_REWRITTEN_KEYWORDS = frozenset(
    {
        "$ref",
        "anyOf",
        "const",
        *_BOUNDS,
        "properties",
        "additionalProperties",
        "items",
        _INT_OR_STRING,
        _LIST_MAP_KEY,
        MODEL,
    }
)


class ApiJsonSchema(GenerateJsonSchema):
    """Pydantic's JSON Schema, with what `ApiModel` classes declare beside their fields."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Add the rules and the list key of the model class."""
        json_schema = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, ApiModel):
            json_schema[MODEL] = model.__name__
            rules = [{"rule": rule.rule, "message": rule.message} for rule in api_server_rules(model)]
            if rules:
                json_schema[_RULES] = rules
            if model.list_map_key:
                json_schema[_LIST_MAP_KEY] = model.list_map_key
        return json_schema

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        """Count what a factory makes as a default."""
        factory = schema.get("default_factory")
        if factory is not None and not schema.get("default_factory_takes_data"):
            return factory()  # type: ignore[call-arg]
        return super().get_default_value(schema)

    def encode_default(self, dft: Any) -> Any:
        """Write a default model as `{}`: the API server fills in the defaults of its fields, one level at a time."""
        if isinstance(dft, ApiModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return super().encode_default(dft)


def api_server_rules(model: type[ApiModel]) -> tuple[CelRule, ...]:
    """The CEL rules of a model class: the one made from its ``one_of``, then its own."""
    if not model.one_of:
        return model.cel_rules
    present = ", ".join(f"has(self.{to_camel(name)})" for name in model.one_of)
    return (CelRule(f"[{present}].exists_one(isSet, isSet)", one_of_message(model.one_of)), *model.cel_rules)


def json_schema(model: type[ApiModel]) -> Schema:
    """The JSON Schema of ``model`` and, under `$defs`, of every model it uses."""
    return model.model_json_schema(by_alias=True, schema_generator=ApiJsonSchema)


def structural_schema(model: type[ApiModel]) -> Schema:
    """The structural schema of ``model``, without references, each model described where it occurs first.

    Raises:
        ValueError: a field's type has no counterpart in a structural schema; the message names keyword and schema.
    """
    root = json_schema(model)
    definitions: Mapping[str, Schema] = root.pop("$defs", {})
    result = structural(root, definitions)
    describe_once(result)
    return result


def structural(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Rewrite one JSON Schema node, and all below it, as a structural schema."""
    node = _without_null(_inlined(node, definitions), definitions)
    unknown = node.keys() - set(_SAME_KEYWORDS) - _REWRITTEN_KEYWORDS - _DROPPED_KEYWORDS
    if unknown:
        raise ValueError(f"no structural form for {', '.join(sorted(unknown))} in {node}")

    result: Schema = {key: _integral(node[key]) for key in _SAME_KEYWORDS if key in node}
    if result.get("default", ...) is None:
        del result["default"]  # null stands for absence, which needs no default
    if MODEL in node:
        result[MODEL] = node[MODEL]
    if "const" in node:
        result["enum"] = [node["const"]]
    if node.get(_INT_OR_STRING):
        result[_INT_OR_STRING] = True
    elif "anyOf" in node:
        raise ValueError(f"no structural form for a union of types: {node}")
    result |= _bounds(node)
    if "properties" in node:
        result["properties"] = {name: structural(child, definitions) for name, child in node["properties"].items()}
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        result["additionalProperties"] = structural(values, definitions)
    elif values is True or not node.keys() & {"type", "enum", "const", _INT_OR_STRING}:
        result[_PRESERVE_UNKNOWN] = True
    if "items" in node:
        result |= _list_of(_inlined(node["items"], definitions), definitions)
    return result


def _bounds(node: Schema) -> Schema:
    """The bounds of a number.

    A bound with a fraction becomes a rule: for a value written without one (`0`, not `0.0`) the API server cuts the
    bound to an integer before it compares, and would refuse 0 as not below 0.5.
    """
    result: Schema = {}
    rules = list(node.get(_RULES, ()))
    for keyword, (operator, bound, exclusive) in _BOUNDS.items():
        limit = _integral(node.get(keyword))
        if isinstance(limit, float):
            rules.append({"rule": f"self {operator} {limit!r}", "message": f"must be {operator} {limit!r}"})
        elif limit is not None:
            result[bound] = limit
            if exclusive:
                result[keyword] = True
    return result | ({_RULES: rules} if rules else {})


def _list_of(items: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """How a list of ``items`` is merged by server-side apply: entry by entry when they have a key, else as a whole."""
    result: Schema = {"items": structural(items, definitions)}
    # The list's own description says what its entries are; a second one would only make the CRD larger.
    result["items"].pop("description", None)
    if key := items.get(_LIST_MAP_KEY):
        return result | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return result | {"x-kubernetes-list-type": "atomic"}


def _inlined(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """``node`` with its reference replaced by what it refers to; what stands beside the reference wins."""
    while "$ref" in node:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        node = definitions[node["$ref"].removeprefix("#/$defs/")] | beside
    return node


def _without_null(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """``node`` without null as one of its types: in Kubernetes an optional field is left out, not null."""
    choices = [choice for choice in node.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return node
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    return _without_null(_inlined(choices[0] | beside, definitions), definitions)


def _integral(value: Any) -> Any:
    """Whole floats as integers, as the API server writes them back."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
