"""Whether a standard row makes sense: roles and their order, empty texts, pairs that teach nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .rows import Conversation, Labelled, Messages, Pair, Prompt, Role, Row, RowError


def check(row: Row) -> list[RowError]:
    """Everything that is wrong with ``row``; empty when it can be used."""
    match row:
        case Conversation(messages):
            return list(_conversation(messages))
        case Pair():
            return list(_pair(row))
        case Labelled(prompt, completion):
            return [*_prompt(prompt), *_answer("completion", completion)]
        case Prompt(prompt):
            return list(_prompt(prompt))


def _conversation(messages: Messages) -> Iterator[RowError]:
    if all(m["role"] != Role.ASSISTANT for m in messages):
        yield RowError("messages", "no assistant message: there is nothing to learn from")
        return
    if messages[-1]["role"] != Role.ASSISTANT:
        yield RowError("messages", "ends with the user: the last message must be the assistant's")
    yield from _turns("messages", messages)


def _pair(row: Pair) -> Iterator[RowError]:
    yield from _prompt(row.prompt)
    yield from _answer("chosen", row.chosen)
    yield from _answer("rejected", row.rejected)
    if row.chosen == row.rejected:
        yield RowError("rejected", "is identical to chosen: the pair expresses no preference")
    if row.margin is not None and not math.isfinite(row.margin):
        yield RowError("margin", f"is {row.margin}: it must be a finite number")
    elif row.margin is not None and row.margin < 0:
        yield RowError("margin", f"is {row.margin:g}: below 0, the rejected response would be the better one")


def _answer(column: str, answer: Messages) -> Iterator[RowError]:
    if len(answer) != 1 or answer[0]["role"] != Role.ASSISTANT:
        yield RowError(column, "must be one assistant message")
    elif not answer[0]["content"].strip():
        yield RowError(column, "is empty")


def _prompt(prompt: Messages) -> Iterator[RowError]:
    if not prompt:
        yield RowError("prompt", "is empty")
        return
    if prompt[-1]["role"] != Role.USER:
        yield RowError("prompt", f"ends with the {prompt[-1]['role']}: the last message must be the user's")
    yield from _turns("prompt", prompt)


def _turns(column: str, messages: Messages) -> Iterator[RowError]:
    """A system message may come first; user and assistant take turns, the user first; nobody is silent."""
    for i, turn in enumerate(messages):
        if not turn["content"].strip():
            yield RowError(column, f"message {i + 1} ({turn['role']}) is empty")
    dialogue = messages[1:] if messages[0]["role"] == Role.SYSTEM else messages
    offset = len(messages) - len(dialogue)
    for i, turn in enumerate(dialogue):
        expected = (Role.USER, Role.ASSISTANT)[i % 2]
        if turn["role"] != expected:
            yield RowError(
                column,
                f"message {i + offset + 1} is the {turn['role']}'s; user and assistant must take turns, user first",
            )
            return
