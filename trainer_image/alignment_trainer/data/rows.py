"""The kinds of standard rows, and what is wrong with a row that becomes none of them.

A prepared dataset holds rows of one kind, as TRL's conversational format names them; texts are lists of messages
``{"role": ..., "content": ...}``:

=============  ===============================================  ========================================
kind           columns                                          used by
=============  ===============================================  ========================================
conversation   ``messages``                                     sft with lossOn all/assistant
conversation   ``prompt`` ``completion``                        sft with lossOn completion
pair           ``prompt`` ``chosen`` ``rejected`` [``margin``]  reward, dpo, orpo, cpo, simpo, evaluate
labelled       ``prompt`` ``completion`` ``label``              kto
prompt         ``prompt`` and any others                        grpo, rloo, ppo, evaluate
=============  ===============================================  ========================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict


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
    """A preference: two continuations of one prompt, the chosen one better.

    Attributes:
        prompt: the turns before both.
        chosen: the better continuation.
        rejected: the other one.
        margin: by how much the chosen one is better, in the units of whoever scored them; None if nobody did.
    """

    prompt: Messages
    chosen: Messages
    rejected: Messages
    margin: float | None = None


@dataclass(frozen=True)
class Labelled:
    """A continuation of a prompt that somebody called good or bad.

    Attributes:
        prompt: the turns before it.
        completion: the continuation.
        label: True for a good one.
    """

    prompt: Messages
    completion: Messages
    label: bool


@dataclass(frozen=True)
class Prompt:
    """A prompt without a response.

    Attributes:
        prompt: its turns.
        extra: the row's other columns, as JSON values; reward functions are given them.
    """

    prompt: Messages
    extra: Mapping[str, Any] = field(default_factory=dict)


Row = Conversation | Pair | Labelled | Prompt


def labelled(pair: Pair) -> tuple[Labelled, Labelled]:
    """What a pair says about each of its continuations alone: the chosen one is good, the rejected one bad.

    Source: Ethayarajh et al., 2024 (arXiv:2402.01306), whose experiments turn n pairs into 2n labelled responses so.
    """
    return Labelled(pair.prompt, pair.chosen, True), Labelled(pair.prompt, pair.rejected, False)


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
