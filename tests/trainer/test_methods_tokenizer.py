"""Chat templates and the choice of the pad token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.model import ChatTemplate
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.models import chat_template
from alignment_trainer.models.tokenizer import choose_pad_token, load_tokenizer

from . import tiny

CONVERSATION = [
    {"role": "user", "content": "say red"},
    {"role": "assistant", "content": "kind red"},
    {"role": "user", "content": "more"},
    {"role": "assistant", "content": "kind"},
]


def choose(*tokens: str, wanted: str | None = None, own: str | None = None, unknown: str | None = None) -> str:
    vocabulary = {token: number for number, token in enumerate(("a", "</s>", *tokens))}
    return choose_pad_token(vocabulary, wanted=wanted, own=own, eos="</s>", unknown=unknown)


def test_the_users_pad_token_wins() -> None:
    assert choose("<x>", "<pad>", wanted="<x>", own="<pad>") == "<x>"


def test_the_models_own_pad_token_comes_next() -> None:
    assert choose("<pad>", "<own>", own="<own>") == "<own>"


@pytest.mark.parametrize(
    "spare",
    ["<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "[unused1]"],
)
def test_a_spare_special_token_comes_next(spare: str) -> None:
    assert choose(spare, "pads", "reserved") == spare
    assert choose(spare, own="</s>") == spare, "the end-of-sequence token is no pad token"


def test_a_token_for_padding_is_better_than_a_reserved_one() -> None:
    assert choose("<|reserved_special_token_0|>", "<|finetune_right_pad_id|>") == "<|finetune_right_pad_id|>"


def test_the_unknown_token_is_the_last_resort() -> None:
    assert choose("<unk>", unknown="<unk>") == "<unk>"


@pytest.mark.parametrize(("wanted", "words"), [(None, "no spare special token"), ("<nope>", "'<nope>' is not in")])
def test_no_pad_token_is_an_error_naming_the_field(wanted: str | None, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose(wanted=wanted)
    assert caught.value.problems[0].field == "spec.tokenizer.padToken"
    assert words in caught.value.problems[0].message


def test_a_model_without_pad_token_gets_its_spare_one(tmp_path: Path) -> None:
    tiny.save_tokenizer(tmp_path, pad_token=None)
    assert load_tokenizer(str(tmp_path), Tokenizer()).pad_token == "<|pad|>"


def tokenizer_with(tmp_path: Path, tokens: list[str]) -> Any:
    tokenizer = tiny.save_tokenizer(tmp_path)
    tokenizer.add_special_tokens({"additional_special_tokens": tokens, "bos_token": "<|begin_of_text|>"})
    return tokenizer


@pytest.mark.parametrize(
    ("name", "tokens", "rendered", "end"),
    [
        (
            "chatml",
            ["<|im_start|>", "<|im_end|>"],
            "<|im_start|>user\nsay red<|im_end|>\n<|im_start|>assistant\nkind red<|im_end|>\n",
            "<|im_end|>",
        ),
        (
            "llama3",
            ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nsay red<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nkind red<|eot_id|>",
            "<|eot_id|>",
        ),
    ],
)
def test_shipped_templates(tmp_path: Path, name: str, tokens: list[str], rendered: str, end: str) -> None:
    tokenizer = tokenizer_with(tmp_path, tokens)
    chat_template.apply(tokenizer, ChatTemplate.model_validate({"name": name}))
    assert tokenizer.apply_chat_template(CONVERSATION[:2], tokenize=False) == rendered
    assert tokenizer.eos_token == end
    prompt = tokenizer.apply_chat_template(CONVERSATION[:1], tokenize=False, add_generation_prompt=True)
    assert rendered.startswith(prompt), "a prompt must be a prefix of the conversation"
    encoded = tokenizer.apply_chat_template(
        CONVERSATION, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    trained = tokenizer.decode([token for token, mask in pairs if mask])
    assert trained == f"kind red{end}kind{end}", "the model must learn to stop"


def test_a_template_whose_tokens_the_model_lacks_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny.save_tokenizer(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        chat_template.apply(tokenizer, ChatTemplate.model_validate({"name": "chatml"}))
    assert "<|im_end|>, <|im_start|>" in caught.value.problems[0].message


def test_an_inline_template(tmp_path: Path) -> None:
    tokenizer = tiny.save_tokenizer(tmp_path)
    chat_template.apply(tokenizer, ChatTemplate(inline="{{ messages[0]['content'] }}"))
    assert tokenizer.apply_chat_template(CONVERSATION, tokenize=False) == "say red"
