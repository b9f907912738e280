"""What a model answered, and how likely a model finds it. Imports none of the training stack."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

_INT32: Final = "i"


class FinishReason(StrEnum):
    """Why a response ends, by the names of the OpenAI API."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Response:
    """What a model answered.

    Attributes:
        text: the answer, without special tokens.
        tokens: its length, without the token that ends it.
        finished: whether the model ended it; False when it was cut off at the length limit.
        token_ids: the tokens as they were drawn, with the one that ends it, as `packed`; empty if nobody asked. Ten
            thousand lists of numbers would take more memory than the texts.
    """

    text: str
    tokens: int
    finished: bool
    token_ids: str = field(default="", repr=False)

    @property
    def finish_reason(self) -> FinishReason:
        return FinishReason.STOP if self.finished else FinishReason.LENGTH

    def to_record(self) -> dict[str, Any]:
        """The response as JSON values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The response that `to_record` described."""
        return cls(**record)


@dataclass(frozen=True)
class Likelihood:
    """How likely a model finds a response.

    Attributes:
        log_probability: sum over its tokens, in nats.
        tokens: how many those are, with the one that ends it.
    """

    log_probability: float
    tokens: int


def packed(ids: Sequence[int]) -> str:
    """Token ids as base64 of 32-bit integers."""
    return base64.b64encode(array(_INT32, ids).tobytes()).decode()


def unpacked(text: str) -> list[int]:
    """The token ids that `packed` wrote."""
    ids = array(_INT32)
    ids.frombytes(base64.b64decode(text))
    return ids.tolist()
