"""What endpoints that call themselves OpenAI-compatible do not all understand. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from alignment_api.v1alpha1.evaluation.judges import LlmJudge

from ...data.rows import Message
from .rubrics import RESPONSE_FORMAT

_LENGTH: Final = "max_tokens"
_NEW_LENGTH: Final = "max_completion_tokens"
_ABOUT_FORM: Final = ("response_format", "json_schema", "schema", "structured", "guided", "grammar")


@dataclass(frozen=True)
class Dialect:
    """How a question is put.

    Attributes:
        enforced: whether the endpoint is asked to enforce the form of the answer.
        length: name of the field with the longest answer: newer models of OpenAI refuse the older name.
    """

    enforced: bool = True
    length: str = _LENGTH

    def request(self, judge: LlmJudge, messages: list[Message]) -> dict[str, Any]:
        """The body of a request to ``/chat/completions``."""
        body: dict[str, Any] = {"model": judge.model, "messages": messages, self.length: judge.max_response_tokens}
        if judge.temperature is not None:
            body["temperature"] = judge.temperature
        if self.enforced:
            body["response_format"] = RESPONSE_FORMAT
        return body

    def after(self, complaint: str, *, understood: bool) -> Dialect | None:
        """The dialect to go on in when the endpoint refuses this one; None if there is none left to try.

        Args:
            complaint: what the endpoint says.
            understood: whether it has answered before, so that a complaint without a word about the form is about
                something else.
        """
        said = complaint.casefold()
        if self.length == _LENGTH and _NEW_LENGTH in said:
            return replace(self, length=_NEW_LENGTH)
        if self.enforced and (not understood or any(word in said for word in _ABOUT_FORM)):
            return replace(self, enforced=False)
        return None
