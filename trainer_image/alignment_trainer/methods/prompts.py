"""What Prepare checks of the prompts of an online stage, so that no gang starts that cannot use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage

from ..data import store
from ..models import remote_code
from .online import member

RESERVED: Final = frozenset(
    {
        "completion",
        "completion_ids",
        "completions",
        "environments",
        "image",
        "images",
        "log_extra",
        "log_metric",
        "prompts",
        "trainer_state",
    }
)
"""Columns that TRL leaves out, or takes for something else, when it calls reward functions."""

_BATCH: Final = 1000


def problems(stage: Stage, data: Path, tokenizer: Any, model: Path | None, path: str) -> Iterator[Problem]:
    """What makes the prepared prompts of ``stage`` unusable.

    Args:
        stage: the stage.
        data: folder with its prepared rows, one dataset a split.
        tokenizer: its tokenizer.
        model: folder of the base model, whose configuration names the context; None if there is none yet.
        path: path of the stage in the manifest.
    """
    from datasets import load_from_disk

    train = load_from_disk(str(data / store.TRAIN))
    held_out = [load_from_disk(str(data / store.EVAL))] if (data / store.EVAL).is_dir() else []
    needed = prompts_in_a_batch(stage)
    if len(train) < needed:
        yield Problem(
            field=f"{path}.training.globalBatchSize",
            message=f"a batch takes {needed} prompts, and there are {len(train)}: make it smaller, or add prompts",
        )
    for column in sorted(RESERVED & set(train.column_names)):
        yield Problem(
            field=f"{path}.dataset.columns",
            message=f"a column called {column} cannot reach reward functions: give it another name, such as "
            f"{{the_{column}: {column}}}",
        )
    context = _context(model) if model is not None else None
    if context is not None:
        yield from _too_long(stage, [train, *held_out], tokenizer, context, path)


def prompts_in_a_batch(stage: Stage) -> int:
    """Different prompts in one batch of responses; fewer rows than that make no batch."""
    responses = (stage.trainer_args or {}).get("generation_batch_size")
    if not isinstance(responses, int):  # not given, or refused for its type
        responses = stage.training.global_batch_size
    return responses // int(getattr(member(stage), "generations", 1))


def _too_long(stage: Stage, splits: list[Any], tokenizer: Any, context: int, path: str) -> Iterator[Problem]:
    """Prompts that leave no room for the longest response: TRL truncates no prompt, and generates past the context."""
    room = context - member(stage).max_completion_length
    template = (stage.trainer_args or {}).get("chat_template_kwargs") or {}
    longer, longest = 0, 0
    for split in splits:
        for start in range(0, len(split), _BATCH):
            batch = split[start : start + _BATCH]["prompt"]
            lengths = [len(ids) for ids in _tokenize(batch, tokenizer, template)]
            longer += sum(length > room for length in lengths)
            longest = max(longest, *lengths)
    if longer:
        yield Problem(
            field=f"{path}.{stage.method}.maxCompletionLength",
            message=f"{longer} of the prompts, the longest of {longest} tokens, leave no room for responses of "
            f"{member(stage).max_completion_length} tokens in the model's context of {context}: "
            + (
                f"set it to {context - longest} or less, or remove long prompts" if longest < context else "remove them"
            ),
        )


def _tokenize(prompts: list[Any], tokenizer: Any, template: dict[str, Any]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer.apply_chat_template(
        prompts, add_generation_prompt=True, tokenize=True, return_dict=True, **template
    )["input_ids"]
    return ids


def _context(model: Path) -> int | None:
    """Tokens that the model was made for, as far as its configuration says."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(model), **remote_code.options(model)).get_text_config()
    return getattr(config, "max_position_embeddings", None)
