"""Standard rows as columns of tables, as TRL names them; and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa

from alignment_api.v1alpha1 import Method, Stage
from alignment_api.v1alpha1.methods.sft import LossOn

from .rows import Conversation, Labelled, Messages, Pair, Prompt, Row

TURNS: Final = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
EXTRA: Final = "extra"
"""In tables of prompts: their further columns as one JSON object, until the types of all rows are known."""
WHERE: Final = "where"
"""Where each row was found; only in tables that are not yet prepared data."""

ColumnKinds = dict[str, frozenset[str]]
"""Further column -> the JSON kinds of its values."""


class Columns(NamedTuple):
    """Columns that the rows alone decide, the same for all tables of some data.

    Attributes:
        left_out: optional columns that no row has a value for.
        kinds: the further columns of prompts.
    """

    left_out: frozenset[str]
    kinds: ColumnKinds


def schema(stage: Stage) -> pa.Schema:
    """Columns of the rows of ``stage`` while they wait to be chosen from; those that may be null are optional."""
    names = _turn_columns(stage)
    fields = [(name, TURNS) for name in names]
    if stage.reward is not None:
        fields.append(("margin", pa.float64()))
    if stage.kto is not None:
        fields.append(("label", pa.bool_()))
    if stage.online is not None:
        fields.append((EXTRA, pa.string()))
    return pa.schema([*fields, (WHERE, pa.string())])


def to_table(rows: Sequence[Row], places: Sequence[str], stage: Stage) -> pa.Table:
    """``rows``, found at ``places``, in the columns of ``schema``."""
    records = [_record(row, stage) | {WHERE: where} for row, where in zip(rows, places, strict=True)]
    return pa.Table.from_pylist(records, schema=schema(stage))


def from_record(record: Mapping[str, Any]) -> Row:
    """The row in a record of prepared data."""
    values = dict(record)
    turns: dict[str, Messages] = {name: tuple(values[name]) for name in _TURN_NAMES if values.get(name) is not None}
    match turns:
        case {"chosen": chosen, "rejected": rejected, "prompt": prompt}:
            return Pair(prompt, chosen, rejected, values.get("margin"))
        case {"completion": completion, "prompt": prompt} if "label" in values:
            return Labelled(prompt, completion, values["label"])
        case {"completion": completion, "prompt": prompt}:
            return Conversation(prompt + completion)
        case {"messages": messages}:
            return Conversation(messages)
        case _:
            return Prompt(turns["prompt"])


def kinds_of(rows: Iterable[Row]) -> ColumnKinds:
    """The further columns of prompts, and what kinds of values they hold."""
    kinds: dict[str, set[str]] = {}
    for row in rows:
        if isinstance(row, Prompt):
            for name, value in row.extra.items():
                kinds.setdefault(name, set()).add(_kind(value))
    return {name: frozenset(found) for name, found in kinds.items()}


def merged(first: ColumnKinds, second: ColumnKinds) -> ColumnKinds:
    """The kinds that occur in either."""
    return {name: first.get(name, frozenset()) | second.get(name, frozenset()) for name in first | second}


def finished(table: pa.Table, columns: Columns) -> pa.Table:
    """``table`` as trainers read it: without the rows' places, with further columns of their own.

    A further column whose values are all of one scalar kind becomes a plain column; other values are kept as JSON,
    which `datasets` gives back as the objects they were.

    Args:
        table: rows in the columns of ``schema``.
        columns: what the rows of the whole data have, so that all its tables get the same schema.
    """
    table = table.drop_columns([WHERE, *columns.left_out.intersection(table.column_names)])
    if EXTRA in table.column_names:
        extras = [json.loads(text) if text else {} for text in table[EXTRA].to_pylist()]
        table = table.drop_columns([EXTRA])
        for name, kinds in sorted(columns.kinds.items()):
            table = table.append_column(name, _column([extra.get(name) for extra in extras], kinds))
    return table


_TURN_NAMES: Final = ("messages", "prompt", "completion", "chosen", "rejected")


def _turn_columns(stage: Stage) -> tuple[str, ...]:
    match stage.method:
        case Method.SFT if stage.sft is not None and stage.sft.loss_on is not LossOn.COMPLETION:
            return ("messages",)
        case Method.SFT | Method.KTO:
            return ("prompt", "completion")
        case Method.GRPO | Method.RLOO | Method.PPO:
            return ("prompt",)
        case _:
            return ("prompt", "chosen", "rejected")


def _record(row: Row, stage: Stage) -> dict[str, Any]:
    match row:
        case Conversation(messages) if stage.sft is not None and stage.sft.loss_on is LossOn.COMPLETION:
            return {"prompt": messages[:-1], "completion": messages[-1:]}
        case Conversation(messages):
            return {"messages": messages}
        case Pair():
            return {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected, "margin": row.margin}
        case Labelled():
            return {"prompt": row.prompt, "completion": row.completion, "label": row.label}
        case Prompt():
            return {"prompt": row.prompt, EXTRA: json.dumps(dict(row.extra), default=str) if row.extra else None}


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int" if -(2**63) <= value < 2**63 else "json"
        case float():
            return "float"
        case str():
            return "str"
        case _:
            return "json"


_SCALARS: Final = (
    (frozenset({"null", "str"}), pa.string()),
    (frozenset({"null", "bool"}), pa.bool_()),
    (frozenset({"null", "int"}), pa.int64()),
    (frozenset({"null", "int", "float"}), pa.float64()),
)


def _column(values: Sequence[Any], kinds: frozenset[str]) -> pa.Array:
    for allowed, data_type in _SCALARS:
        if kinds <= allowed:
            return pa.array(values, type=data_type)
    texts = [None if value is None else json.dumps(value) for value in values]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts, type=pa.string()))
