"""Tokens that end a response. Pure."""

from __future__ import annotations

from typing import Any


def stop_tokens(tokenizer: Any, of_model: int | list[int] | None) -> set[int]:
    """The tokenizer's end of a sequence, and what the model itself says.

    Args:
        tokenizer: a transformers tokenizer.
        of_model: ``eos_token_id`` of the model's generation configuration.
    """
    own = of_model if isinstance(of_model, list) else [of_model]
    return {token for token in (tokenizer.eos_token_id, *own) if token is not None}
