"""What every API model shares: camelCase names, one-of members and CEL rules declared beside the fields."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel


class CelRule(NamedTuple):
    """A validation rule the API server evaluates (``x-kubernetes-validations``).

    Attributes:
        rule: CEL expression over ``self`` (and ``oldSelf`` for transition rules).
        message: what the user reads when the rule does not hold; it names the field and the way out.
    """

    rule: str
    message: str


class ApiModel(BaseModel):
    """Base of all models: camelCase in YAML, snake_case in Python, unknown fields refused, immutable.

    Class attributes that subclasses set:
        one_of: Python names of members of which exactly one must be set. Checked here and, as a CEL rule made from
            the same tuple, by the API server.
        cel_rules: further rules for the API server.
        list_map_key: YAML name of the key when a list of this model is a map (``x-kubernetes-list-type: map``).
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    one_of: ClassVar[tuple[str, ...]] = ()
    cel_rules: ClassVar[tuple[CelRule, ...]] = ()
    list_map_key: ClassVar[str | None] = None

    @model_validator(mode="after")
    def _exactly_one_member(self) -> Self:
        if self.one_of and len(set_members(self, self.one_of)) != 1:
            raise ValueError(one_of_message(self.one_of))
        return self

    def to_yaml_dict(self) -> dict[str, Any]:
        """The model as it stands in YAML: camelCase, without unset optional fields, JSON types only."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def set_members(model: BaseModel, names: tuple[str, ...]) -> list[str]:
    """Those of ``names`` whose value in ``model`` is not None."""
    return [name for name in names if getattr(model, name) is not None]


def one_of_message(names: tuple[str, ...]) -> str:
    """The message of a violated one-of, used by pydantic and CEL alike."""
    return "exactly one of " + ", ".join(to_camel(name) for name in names) + " must be set"


INT32_MAX: Final = 2**31 - 1
"""Upper bound of counts and seconds that have no natural one; above it Kubernetes and clocks overflow."""

# Scalars with the limits Kubernetes puts on them; bounded, because CEL costs are computed from the bounds.
DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
StageName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
ShortText = Annotated[str, Field(max_length=1024)]

_QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
Quantity = Annotated[
    int | str,
    Field(json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": _QUANTITY, "maxLength": 32}),
]
"""A Kubernetes resource quantity such as ``16Gi``, ``500m`` or ``8``."""


def parse_quantity(quantity: int | str) -> float:
    """The numeric value of a Kubernetes quantity, in the resource's base unit (bytes, cores, devices).

    Raises:
        ValueError: ``quantity`` is not in the syntax of Kubernetes.
    """
    text = str(quantity)
    if not re.fullmatch(_QUANTITY, text):
        raise ValueError(f"{text!r} is not a Kubernetes quantity (examples: 16Gi, 500m, 8)")
    suffixes = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}
    for power, letter in enumerate("KMGTPE", start=1):
        suffixes[letter + "i"] = 1024.0**power
        suffixes.setdefault(letter, 1000.0**power)
    for suffix in sorted(suffixes, key=len, reverse=True):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * suffixes[suffix]
    return float(text)


# A path inside the workspace volume: relative, without "..", so that a job cannot leave its volume.
WorkspacePath = Annotated[
    str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*$")
]
