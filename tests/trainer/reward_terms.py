"""Reward functions made from a manifest's terms, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from alignment_api.v1alpha1 import Stage
from alignment_trainer import rewards

PROMPT = "What is 6 times 12?"


def online_stage(terms: Sequence[Mapping[str, Any]]) -> Stage:
    """A GRPO stage with these rewards; nameless ones are called ``it``."""
    return Stage.model_validate(
        {
            "name": "online",
            "dataset": {"inline": {"rows": [{"prompt": PROMPT}]}},
            "training": {"globalBatchSize": 8, "microBatchSize": 2},
            "grpo": {"rewards": [{"name": "it", **term} for term in terms]},
        }
    )


@contextmanager
def reward(
    term: Mapping[str, Any], *, models: Mapping[str, str] | None = None, tokenizer: Any = None
) -> Iterator[rewards.RewardFunction]:
    """The function of one term."""
    (function,) = rewards.functions(online_stage([term]), models or {}, tokenizer, "cpu", path="spec.stages[0]")
    try:
        yield function
    finally:
        function.close()


def call(function: rewards.RewardFunction, texts: Sequence[str], **columns: Any) -> list[float | None]:
    """Call the function as TRL does, with these responses to one prompt."""
    return function(
        prompts=[[{"role": "system", "content": "Be right."}, {"role": "user", "content": PROMPT}] for _ in texts],
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        trainer_state=object(),
        log_extra=print,
        log_metric=print,
        **columns,
    )


def score(term: Mapping[str, Any], texts: Sequence[str], **columns: Any) -> list[float | None]:
    """The rewards of responses."""
    with reward(term) as function:
        return call(function, texts, **columns)
