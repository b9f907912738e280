"""What a format is, and the type checks that formats share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from ..rows import Message, Messages, Role, Row, RowError, message

SourceRow = Mapping[str, Any]
"""A row as its source holds it: column -> value; values of Parquet, Arrow and the hub may be other than JSON's."""

_DEEPEST: Final = 32
_WIDEST: Final = 1 << 63


@dataclass(frozen=True)
class Format:
    """How rows with certain columns become standard rows.

    Attributes:
        columns: the columns every row has; what people are told.
        matches: whether a row looks like this format (for ``format: auto``).
        convert: the standard rows, one or more; raises RowError for values of the wrong type or a missing column.
            Whether the values make sense is ``validate``'s question.
    """

    columns: tuple[str, ...]
    matches: Callable[[SourceRow], bool]
    convert: Callable[[SourceRow], tuple[Row, ...]]


def has(*columns: str) -> Callable[[SourceRow], bool]:
    """A ``matches`` that asks for columns by name."""
    return lambda row: all(column in row for column in columns)


def column(row: SourceRow, name: str) -> Any:
    """The value of a column that must be there.

    Raises:
        RowError: it is missing or null.
    """
    value = row.get(name)
    if value is None:
        there = ", ".join(sorted(map(str, row))) or "none"
        raise RowError(name, f"missing; the columns of this row are: {there}")
    return value


def text(row: SourceRow, name: str) -> str:
    """The text in a column.

    Raises:
        RowError: the column is missing or holds something else.
    """
    value = column(row, name)
    if not isinstance(value, str):
        raise RowError(name, f"must be text, not {type_name(value)}")
    return value


def number(row: SourceRow, name: str) -> float:
    """The number in a column; CSV files hold it as text.

    Raises:
        RowError: the column is missing or holds something else.
    """
    value = column(row, name)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise RowError(name, f"must be a number, not {type_name(value)}")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise RowError(name, f"is {shown(value)}; it must be a number") from None


def messages(
    row: SourceRow,
    name: str,
    role_key: str = "role",
    content_key: str = "content",
    roles: Mapping[str, Role] | None = None,
) -> Messages:
    """The messages in a column.

    Args:
        row: the source row.
        name: its column.
        role_key: key of the role in each message.
        content_key: key of the text in each message.
        roles: roles by the source's names; unset, the names of ``Role``.

    Raises:
        RowError: the column is missing, no list of messages, or a message has an unknown role or no text.
    """
    value = column(row, name)
    if not isinstance(value, list | tuple):
        raise RowError(name, f"must be a list of messages, not {type_name(value)}")
    names = roles if roles is not None else {role.value: role for role in Role}
    return tuple(_message(item, f"{name}[{i}]", role_key, content_key, names) for i, item in enumerate(value))


def prompt_messages(row: SourceRow, name: str) -> Messages:
    """A prompt given as text (the user's turn) or as messages."""
    if isinstance(column(row, name), str):
        return (message(Role.USER, text(row, name)),)
    return messages(row, name)


def answer_messages(row: SourceRow, name: str) -> Messages:
    """A response given as text (the assistant's turn) or as messages."""
    if isinstance(column(row, name), str):
        return (message(Role.ASSISTANT, text(row, name)),)
    return messages(row, name)


def _message(item: Any, where: str, role_key: str, content_key: str, names: Mapping[str, Role]) -> Message:
    if not isinstance(item, Mapping):
        raise RowError(where, f"must be a message with {role_key} and {content_key}, not {type_name(item)}")
    role, content = item.get(role_key), item.get(content_key)
    if not isinstance(role, str) or role not in names:
        raise RowError(where, f"{role_key} is {shown(role)}; it must be one of {', '.join(names)}")
    if not isinstance(content, str):
        raise RowError(where, f"{content_key} must be text, not {type_name(content)}")
    return message(names[role], content)


def shown(value: Any) -> str:
    """``value`` for a message: short ones as they are, of others what they are."""
    return f"{value!r:.60}" if isinstance(value, str | int | float) else type_name(value)


def type_name(value: Any) -> str:
    """What ``value`` is, in the words of JSON."""
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", dict: "an object", str: "text"}
    return names.get(type(value), "a list" if isinstance(value, list | tuple) else type(value).__name__)


def json_value(value: Any, name: str, depth: int = 0) -> Any:
    """``value`` as a JSON value that a prepared dataset can hold; dates become ISO 8601 texts.

    Raises:
        RowError: it is none, nests too deep, or is an integer of more than 64 bits.
    """
    match value:
        case None | bool() | float() | str():
            return value
        case int() if -_WIDEST <= value < _WIDEST:
            return value
        case int():
            raise RowError(name, "holds an integer of more than 64 bits: write it as text")
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal() if value.is_finite():
            return float(value)
        case Mapping() | list() | tuple() if depth == _DEEPEST:
            raise RowError(name, f"nests deeper than {_DEEPEST} levels")
        case Mapping():
            return {str(key): json_value(item, name, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [json_value(item, name, depth + 1) for item in value]
        case _:
            raise RowError(name, f"holds {type_name(value)}, which is no JSON value: leave the column out")
