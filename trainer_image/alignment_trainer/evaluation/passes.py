"""The passes over prompts and pairs that need a causal language model in memory.

Each goes over the gang in batches that are kept as they are done. The log-probabilities of a response are those of the
very tokens that were drawn, unless the model that is asked has another vocabulary: then of its text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.evaluation import Engine as EngineName
from alignment_api.v1alpha1.evaluation import Generation

from ..data.rows import Message, Messages, Pair, Role, message
from .contestants import Contestant
from .engines import Engine
from .engines.transformers_engine import TransformersEngine
from .gang import Gang, Kept
from .language_model import LanguageModel
from .loaded import OnDemand, on_demand
from .responses import Likelihood, Response, unpacked

Model = OnDemand[LanguageModel]


def responses(
    contestant: Contestant,
    model: Model,
    prompts: Sequence[Messages],
    settings: Generation,
    engine: EngineName,
    overrides: Tokenizer,
    gang: Gang,
) -> list[Response]:
    """The model's response to each prompt.

    Args:
        contestant: the model.
        model: the same, for transformers.
        prompts: the prompts.
        settings: how to generate.
        engine: what generates, as `engines.choose` decided.
        overrides: the user's tokenizer settings.
        gang: the processes.
    """
    kept = Kept(
        f"responses-{contestant.name}",
        {
            "model": contestant.identity,
            "engine": engine,
            "generation": settings.model_dump(mode="json", exclude={"batch_size", "engine"}),
        },
    )

    def generate(generator: Callable[[], Engine], batch_size: int) -> list[Response]:
        records = gang.share(
            prompts,
            batch_size,
            lambda number, some: [answer.to_record() for answer in generator().respond(some, number)],
            kept=kept,
            size=characters,
        )
        return [Response.from_record(record) for record in records]

    if engine is EngineName.VLLM:
        from .engines.vllm_engine import CALL_FACTOR, VllmEngine

        folder = str(contestant.folder)
        with on_demand(lambda: VllmEngine(folder, overrides, settings, gang.device)) as vllm:
            return generate(vllm, CALL_FACTOR * settings.batch_size)
    return generate(lambda: TransformersEngine(model(), settings), settings.batch_size)


def preferences(
    contestant: Contestant, model: Model, pairs: Sequence[Pair], batch_size: int, gang: Gang
) -> list[float]:
    """For each pair the log-probability of its chosen response less that of its rejected one, in nats."""
    answered = [(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
    sums: list[float] = gang.share(
        answered,
        batch_size,
        lambda _, some: model().log_probabilities(some),
        kept=Kept(f"preferences-{contestant.name}", {"model": contestant.identity}),
        size=_characters_of_answered,
    )
    return [chosen - rejected for chosen, rejected in zip(sums[::2], sums[1::2], strict=True)]


def likelihoods(
    asked: Contestant,
    model: Model,
    answering: Contestant,
    prompts: Sequence[Messages],
    answers: Sequence[Response],
    batch_size: int,
    gang: Gang,
) -> list[Likelihood]:
    """How likely one model finds the responses of another, or of itself.

    Args:
        asked: the model that is asked.
        model: the same, for transformers.
        answering: the model that answered.
        prompts: what it was asked.
        answers: its responses.
        batch_size: responses of a batch.
        gang: the processes.
    """
    by_tokens = asked.vocabulary == answering.vocabulary
    items = [
        (prompt, answer.token_ids if by_tokens else answer.text)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]

    def ask(_: int, some: Sequence[tuple[Messages, str]]) -> list[list[Any]]:
        loaded = model()
        rows = [
            loaded.row_of_tokens(prompt, unpacked(answer))
            if by_tokens
            else loaded.row_of_messages(prompt, (_answer(answer),))
            for prompt, answer in some
        ]
        return [[found.log_probability, found.tokens] for found in loaded.likelihoods(rows)]

    kept = Kept(f"likelihoods-of-{answering.name}-under-{asked.name}", {"model": asked.identity, "byTokens": by_tokens})
    found = gang.share(items, batch_size, ask, kept=kept, size=lambda item: characters(item[0]) + len(item[1]))
    return [Likelihood(*entry) for entry in found]


def characters(messages: Messages) -> int:
    """How long a conversation is, whatever tokenizer reads it."""
    return sum(len(turn["content"]) for turn in messages)


def _characters_of_answered(answered: tuple[Messages, Messages]) -> int:
    return sum(map(characters, answered))


def _answer(text: str) -> Message:
    return message(Role.ASSISTANT, text)
