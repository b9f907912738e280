"""The three kinds of standard rows, and what is wrong with a row that becomes none of them.

A prepared dataset holds rows of one kind, as TRL's conversational format names them; each value is a list of messages
``{"role": ..., "content": ...}``:

=============  ======================================  ===========================
kind           columns                                 used by
=============  ======================================  ===========================
conversation   ``messages``                            sft with lossOn all/assistant
conversation   ``prompt`` ``completion``               sft with lossOn completion
pair           ``prompt`` ``chosen`` ``rejected``      reward, dpo, evaluate
prompt         ``prompt``                              evaluate
=============  ======================================  ===========================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Message(TypedDict):
    """One turn, as chat templates take it."""

    role: str
    content: str


Messages = tuple[Message, ...]


def message(role: Role, content: str) -> Message:
    """One turn."""
    return {"role": role.value, "content": content}


@dataclass(frozen=True)
class Conversation:
    """A demonstration: a conversation that ends with the assistant."""

    messages: Messages


@dataclass(frozen=True)
class Pair:
    """A preference: two continuations of one prompt, the chosen one better."""

    prompt: Messages
    chosen: Messages
    rejected: Messages


@dataclass(frozen=True)
class Prompt:
    """A prompt without a response."""

    prompt: Messages


Row = Conversation | Pair | Prompt


class RowError(ValueError):
    """A row cannot be used.

    Args:
        column: the column to blame.
        problem: what is wrong with it.
    """

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(f"column {column}: {problem}")
        self.column = column
        self.problem = problem


def opening(row: Row) -> Messages:
    """What comes before the first answer; rows that share it belong together when rows are held out."""
    messages = row.messages if isinstance(row, Conversation) else row.prompt
    first_answer = next((i for i, m in enumerate(messages) if m["role"] == Role.ASSISTANT), len(messages))
    return messages[:first_answer]


def last_prompt(row: Row) -> Messages:
    """What a model is to answer: of a conversation, all before its last turn."""
    return row.messages[:-1] if isinstance(row, Conversation) else row.prompt
