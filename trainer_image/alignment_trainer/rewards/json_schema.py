"""1 if the response is JSON that a schema accepts, else 0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from .scoring import Batch, Scorer

_FENCE: Final = re.compile(r"\s*```[A-Za-z0-9]*\n(.*?)\n?```\s*", re.DOTALL)


class JsonSchemaScorer(Scorer):
    """Validates responses by JSON Schema, draft 2020-12. References to other documents are not followed.

    Raises:
        ValueError: it is no schema.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"{error.json_path} is no JSON Schema: {error.message}") from error
        _require_references(schema)
        self._validator = Draft202012Validator(schema, registry=Registry())

    def score(self, batch: Batch) -> list[float]:
        """1 or 0 for each response."""
        return [float(self._accepts(text)) for text in batch.completions]

    def _accepts(self, text: str) -> bool:
        fenced = _FENCE.fullmatch(text)
        try:
            value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
            return bool(self._validator.is_valid(value))
        except (ValueError, RecursionError):
            return False


def _require_references(schema: dict[str, Any]) -> None:
    """Refuse references to what is not in the schema; nothing is fetched."""
    root = DRAFT202012.create_resource(schema)
    base = str(schema.get("$id", ""))
    registry: Registry[Any] = Registry().with_resource(base, root).crawl()
    resolver = registry.resolver(base)
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise ValueError(f"the schema refers to {reference!r}, which is not in it") from error


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
