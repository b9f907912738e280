"""What a format is, and the type checks that formats share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..rows import Message, Messages, Role, Row, RowError, message

SourceRow = Mapping[str, Any]
"""A row as its source holds it: column -> JSON value."""


@dataclass(frozen=True)
class Format:
    """How rows with certain columns become standard rows.

    Attributes:
        columns: the columns every row has; what people are told.
        matches: whether a row looks like this format (for ``format: auto``).
        convert: the standard row; raises RowError for values of the wrong type or a missing column. Whether the
            values make sense is ``validate``'s question.
    """

    columns: tuple[str, ...]
    matches: Callable[[SourceRow], bool]
    convert: Callable[[SourceRow], Row]


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
        raise RowError(name, f"must be text, not {_type_name(value)}")
    return value


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
        raise RowError(name, f"must be a list of messages, not {_type_name(value)}")
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
        raise RowError(where, f"must be a message with {role_key} and {content_key}, not {_type_name(item)}")
    role, content = item.get(role_key), item.get(content_key)
    if not isinstance(role, str) or role not in names:
        raise RowError(where, f"{role_key} is {role!r}; it must be one of {', '.join(names)}")
    if not isinstance(content, str):
        raise RowError(where, f"{content_key} must be text, not {_type_name(content)}")
    return message(names[role], content)


def _type_name(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", dict: "an object", str: "text"}
    return names.get(type(value), "a list" if isinstance(value, list | tuple) else type(value).__name__)
