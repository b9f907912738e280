"""A tiny model, its tokenizer and its data, made on the spot: no hub is reachable in tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = ["red", "green", "blue", "small", "large", "round", "kind", "curt", "happy", "sad", "river", "cloud", "garden"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def save_tokenizer(folder: Path, *, pad_token: str | None = "<|pad|>", words: Sequence[str] = WORDS) -> Any:
    """Train a byte-level BPE tokenizer of about 300 tokens and save it in ``folder``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(words, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token=pad_token)
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(str(folder))
    return wrapped


def save_model(folder: Path, seed: int = 0, words: Sequence[str] = WORDS) -> None:
    """Save a Llama of 2 layers and hidden size 64 with its tokenizer in ``folder``."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = save_tokenizer(folder, words=words)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))


def preference_rows(count: int) -> list[dict[str, Any]]:
    """Conversations with a chosen and a rejected answer."""
    rows = []
    for number in range(count):
        topic, other = WORDS[number % len(WORDS)], WORDS[(number * 7 + 3) % len(WORDS)]
        rows.append(
            {
                "prompt": [{"role": "user", "content": f"say {topic} {other} {number}"}],
                "chosen": [{"role": "assistant", "content": f"kind {topic} {other}"}],
                "rejected": [{"role": "assistant", "content": f"curt {other}"}],
            }
        )
    return rows


def conversation_rows(count: int) -> list[dict[str, Any]]:
    """Conversations of one question and one answer."""
    return [{"messages": row["prompt"] + row["chosen"]} for row in preference_rows(count)]


def completion_rows(count: int) -> list[dict[str, Any]]:
    """The same, as Prepare leaves them for loss on the completion."""
    return [{"prompt": row["prompt"], "completion": row["chosen"]} for row in preference_rows(count)]


def labelled_rows(count: int) -> list[dict[str, Any]]:
    """Responses labelled good or bad, one to a prompt; three of four are good."""
    rows = []
    for number, row in enumerate(preference_rows(count)):
        good = number % 4 != 3
        rows.append({"prompt": row["prompt"], "completion": row["chosen" if good else "rejected"], "label": good})
    return rows
