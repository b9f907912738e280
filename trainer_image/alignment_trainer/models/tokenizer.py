"""The tokenizer of a stage: chat template and pad token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Tokenizer

from ..exceptions import ConfigurationError
from . import chat_template, remote_code

PAD_TOKEN_FIELD: Final = "spec.tokenizer.padToken"  # noqa: S105
_SPARE_TOKEN: Final = re.compile(
    r"^<?[|\[<]?_?(pad|finetune_right_pad_id|(reserved|unused|extra)[a-z_]*\d+)_?[|\]>]?>?$", re.I
)


def load_tokenizer(model: str, overrides: Tokenizer) -> Any:
    """The tokenizer in folder ``model`` with the user's overrides.

    Raises:
        ConfigurationError: the chat template or pad token does not fit the vocabulary.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, **remote_code.options(model))
    chat_template.apply(tokenizer, overrides.chat_template)
    tokenizer.pad_token = choose_pad_token(
        tokenizer.get_vocab(),
        wanted=overrides.pad_token,
        own=tokenizer.pad_token,
        eos=tokenizer.eos_token,
        unknown=tokenizer.unk_token,
    )
    return tokenizer


def choose_pad_token(
    vocabulary: Mapping[str, int], *, wanted: str | None, own: str | None, eos: str | None, unknown: str | None
) -> str:
    """The padding token: the user's, else the model's own, else a spare special token, else the unknown token.

    The end-of-sequence token is never chosen: padding carries no loss, so a model padded with it may never learn to
    stop.

    Args:
        vocabulary: token -> id.
        wanted: the user's choice.
        own: the tokenizer's own pad token.
        eos: its end-of-sequence token.
        unknown: its unknown token.

    Raises:
        ConfigurationError: the user's token is not in the vocabulary, or no token is spare.
    """
    if wanted is not None:
        if wanted not in vocabulary:
            raise _refused(f"{wanted!r} is not in the model's vocabulary: name a token that is")
        return wanted
    if own is not None and own != eos:
        return own
    spare = min((token for token in vocabulary if _SPARE_TOKEN.match(token)), key=_pad_first, default=unknown)
    if spare is None or spare == eos:
        raise _refused("the model has no padding token and no spare special token: name a token of its vocabulary")
    return spare


def _pad_first(token: str) -> tuple[bool, str]:
    return "pad" not in token.lower(), token


def _refused(message: str) -> ConfigurationError:
    return ConfigurationError("there is no padding token", [Problem(field=PAD_TOKEN_FIELD, message=message)])
