"""Chat templates: the model's own, one that ships with the trainer, or the user's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1.model import ChatTemplate

from ..exceptions import ConfigurationError

_FOLDER: Final = Path(__file__).parent / "chat_templates"
_SPECIAL_TOKEN: Final = re.compile(r"<\|[a-z_]+\|>")
FIELD: Final = "spec.tokenizer.chatTemplate"


def text_of(template: ChatTemplate) -> str:
    """The Jinja text that ``template`` names or holds."""
    if template.inline is not None:
        return template.inline
    return (_FOLDER / f"{template.name}.jinja").read_text()


def apply(tokenizer: Any, template: ChatTemplate | None) -> None:
    """Give ``tokenizer`` its chat template, and make the token that ends a turn its end-of-sequence token.

    Args:
        tokenizer: a transformers tokenizer, changed in place.
        template: the user's choice; None keeps the model's own.

    Raises:
        ConfigurationError: a shipped template needs tokens that the vocabulary lacks.
    """
    if template is None:
        return
    text = text_of(template)
    if template.name is not None:
        vocabulary = tokenizer.get_vocab()
        missing = sorted(set(_SPECIAL_TOKEN.findall(text)) - vocabulary.keys())
        if missing:
            message = (
                f"template {template.name} writes {', '.join(missing)}, which this model's vocabulary lacks: choose "
                "another template or leave it unset to use the model's own"
            )
            raise ConfigurationError(
                "the chat template does not fit the model", [Problem(field=FIELD, message=message)]
            )
        tokenizer.eos_token = _TURN_END[template.name]
    tokenizer.chat_template = text


_TURN_END: Final = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}
"""Generation must stop where an assistant turn ends."""
