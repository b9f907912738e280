"""The rewriting of JSON Schema into Kubernetes' structural dialect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from alignment_api.crd.definition import custom_resource_definition
from alignment_api.crd.schema import Schema, structural_schema
from alignment_api.v1alpha1.base import ApiModel, CelRule, Quantity


class Leaf(ApiModel):
    """A leaf."""

    list_map_key: ClassVar[str | None] = "name"

    name: Annotated[str, Field(max_length=8)] = Field(description="Its name.")
    size: int = Field(default=3, description="Its size.")


class Tree(ApiModel):
    """A tree."""

    one_of: ClassVar[tuple[str, ...]] = ("first_leaf", "other_leaf")
    cel_rules: ClassVar[tuple[CelRule, ...]] = (CelRule("self.size > 0", "grow"),)

    first_leaf: Leaf | None = Field(default=None, description="One.")
    other_leaf: Leaf | None = Field(default=None, description="Other.")
    leaves: list[Leaf] = Field(default_factory=list, description="Many.")
    words: list[str] = Field(default_factory=lambda: ["a"], description="Words.")
    nested: Leaf = Field(default_factory=lambda: Leaf(name="x"), description="Made by a factory.")
    kind: Literal["oak"] = Field(default="oak", description="One value.")
    fraction: Annotated[float, Field(gt=0, lt=0.5)] = Field(default=0.25, description="A fraction.")
    count: Annotated[int, Field(gt=0, le=9)] = Field(default=1, description="A count.")
    amount: Quantity | None = Field(default=None, description="An amount.")
    anything: dict[str, Any] | None = Field(default=None, description="Anything.")
    weights: dict[str, float] = Field(default_factory=dict, description="Weights.")


@pytest.fixture(scope="module")
def tree() -> Schema:
    return structural_schema(Tree)


def test_references_are_inlined_and_the_field_describes_itself(tree: Schema) -> None:
    assert tree["properties"]["firstLeaf"] == {
        "description": "One.",
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"description": "Its name.", "type": "string", "maxLength": 8},
            "size": {"description": "Its size.", "type": "integer", "default": 3},
        },
    }


def test_unknown_fields_are_pruned_not_forbidden(tree: Schema) -> None:
    assert "additionalProperties" not in tree


def test_one_of_becomes_the_first_rule(tree: Schema) -> None:
    assert [rule["rule"] for rule in tree["x-kubernetes-validations"]] == [
        "[has(self.firstLeaf), has(self.otherLeaf)].exists_one(isSet, isSet)",
        "self.size > 0",
    ]
    assert tree["x-kubernetes-validations"][0]["message"] == "exactly one of firstLeaf, otherLeaf must be set"


def test_lists_of_named_entries_are_maps_and_others_atomic(tree: Schema) -> None:
    leaves, words = tree["properties"]["leaves"], tree["properties"]["words"]
    assert (leaves["x-kubernetes-list-type"], leaves["x-kubernetes-list-map-keys"]) == ("map", ["name"])
    assert words["x-kubernetes-list-type"] == "atomic"
    assert "x-list-map-key" not in str(tree)


@pytest.mark.parametrize(
    ("field", "default"),
    [("leaves", []), ("words", ["a"]), ("nested", {"name": "x"}), ("kind", "oak"), ("fraction", 0.25), ("weights", {})],
)
def test_defaults_come_from_values_and_factories(tree: Schema, field: str, default: object) -> None:
    assert tree["properties"][field]["default"] == default


def test_null_is_absence(tree: Schema) -> None:
    assert tree["properties"]["anything"] == {
        "description": "Anything.",
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }


def test_one_value_is_an_enum_of_one(tree: Schema) -> None:
    assert tree["properties"]["kind"]["enum"] == ["oak"]


def test_whole_bounds_are_flags_and_fractions_are_rules(tree: Schema) -> None:
    count, fraction = tree["properties"]["count"], tree["properties"]["fraction"]
    assert (count["minimum"], count["exclusiveMinimum"], count["maximum"]) == (0, True, 9)
    assert "maximum" not in fraction
    assert fraction["x-kubernetes-validations"] == [{"rule": "self < 0.5", "message": "must be < 0.5"}]


def test_quantities_are_integers_or_strings(tree: Schema) -> None:
    amount = tree["properties"]["amount"]
    assert amount["x-kubernetes-int-or-string"] is True
    assert not amount.keys() & {"type", "anyOf"}


def test_maps_keep_the_schema_of_their_values(tree: Schema) -> None:
    assert tree["properties"]["weights"]["additionalProperties"] == {"type": "number"}


def test_a_union_of_types_is_refused() -> None:
    class Mixed(ApiModel):
        """Mixed."""

        value: int | list[str] = Field(description="Either.")

    with pytest.raises(ValueError, match="no structural form for a union"):
        structural_schema(Mixed)


def _nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every node of a schema with its path; a list's entries are `path[]` and a map's values `path{}`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from _nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from _nodes(schema["additionalProperties"], f"{path}{{}}")


@pytest.fixture(scope="module")
def resource() -> dict[str, Schema]:
    [version] = custom_resource_definition()["spec"]["versions"]
    return dict(_nodes(version["schema"]["openAPIV3Schema"]))


def _is_bounded(node: Schema) -> bool:
    if "x-kubernetes-int-or-string" in node:
        return "maxLength" in node
    match node.get("type"):
        case "string":
            return "maxLength" in node or "enum" in node or node.get("format") == "date-time"
        case "array":
            return "maxItems" in node
        case "object" if "additionalProperties" in node:
            return "maxProperties" in node
        case _:
            return True


def test_every_string_list_and_map_is_bounded(resource: dict[str, Schema]) -> None:
    """CEL costs are computed from the bounds, and no field may fill etcd's 1.5 MB on its own."""
    unbounded = {path for path, node in resource.items() if not _is_bounded(node)}
    assert unbounded == {"apiVersion", "kind"}  # the API server's own fields


def test_every_number_in_the_spec_is_bounded(resource: dict[str, Schema]) -> None:
    """Seconds beyond the clock's range or a count beyond int64 must not reach arithmetic."""
    numbers = {path: node for path, node in resource.items() if node.get("type") in ("integer", "number")}
    unbounded = {path for path, node in numbers.items() if not _has_maximum(node) and path.startswith("spec.")}
    assert unbounded == set()


def _has_maximum(node: Schema) -> bool:
    rules = [rule["rule"] for rule in node.get("x-kubernetes-validations", ())]
    return "maximum" in node or any(rule.startswith("self <") for rule in rules)


def test_content_without_a_schema_is_where_it_must_be(resource: dict[str, Schema]) -> None:
    free = {path for path, node in resource.items() if node.get("x-kubernetes-preserve-unknown-fields")}
    affinities = {path for path in free if path.endswith("podTemplate.affinity")}
    rows = {path for path in free if path.endswith("inline.rows[]")}
    schemas = {path for path in free if path.endswith("jsonSchema.schema")}
    assert free - affinities - rows - schemas == {"spec.stages[].trainerArgs"}


def test_every_field_is_described_where_its_model_occurs_first(resource: dict[str, Schema]) -> None:
    entries = {path for path in resource if path.endswith(("[]", "{}"))}
    undescribed = {path for path, node in resource.items() if "description" not in node}
    repeated = {
        path: text for path, node in resource.items() if "Fields: as in" in (text := node.get("description", ""))
    }
    for path, text in repeated.items():
        first = text.partition("Fields: as in `")[2].partition("`")[0]
        described = {name.replace("[]", "") for name in resource.keys() - undescribed}
        assert any(name.startswith(f"{first}.") for name in described), (path, first)
    below = {path for path in undescribed if any(path.startswith((f"{one}.", f"{one}[]")) for one in repeated)}
    assert undescribed - below - entries - {"metadata"} == set()


def test_no_field_is_called_like_a_yaml_boolean(resource: dict[str, Schema]) -> None:
    names = {path.rpartition(".")[2].lower() for path in resource}
    assert not names & {"on", "off", "yes", "no", "y", "n", "true", "false", "null"}
