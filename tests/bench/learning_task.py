"""The task of the learning benchmark: whether an answer is good depends on who asks.

Customers of the quickstart report broken products. Regulars, every second customer, want the warm answer, the others
the curt one, and each answer names the product. Of each customer's eight products two are held out: what is measured
there was learnt from the same customer's other requests. Which answer is wanted is a matter of the customer alone: the
customers are the independent units of the test.

Shuffled labels keep everything but that: of each customer's requests exactly half want the wrong answer, and
demonstrations are dealt out to the wrong requests. Nothing is left to be learnt that helps on held-out requests.
"""

from __future__ import annotations

import random
import runpy
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_SEED_MANIFEST: Final = Path(__file__).parents[2] / "examples" / "quickstart" / "seed.yaml"
_HELD_OUT_PRODUCTS: Final = 2


@dataclass(frozen=True)
class Request:
    """A customer's question, and the two answers to it.

    Attributes:
        customer: who asks.
        question: what they write.
        wanted: the answer that this customer wants.
        other: the answer that the other kind of customers wants.
    """

    customer: str
    question: str
    wanted: str
    other: str

    @property
    def swapped(self) -> Request:
        """The request of a customer of the other kind."""
        return Request(self.customer, self.question, wanted=self.other, other=self.wanted)


class Task:
    """The requests, and the quickstart's tiny model and tokenizer."""

    def __init__(self) -> None:
        documents = yaml.safe_load_all(_SEED_MANIFEST.read_text())
        (script,) = (document["data"]["seed.py"] for document in documents if document["kind"] == "ConfigMap")
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(script)
            file.flush()
            self._seed = runpy.run_path(file.name)
        train: list[Request] = []
        held_out: list[Request] = []
        for number, customer in enumerate(self._seed["CUSTOMERS"]):
            for index, product in enumerate(self._seed["PRODUCTS"]):
                # Other products for each customer, so that every product is held out for some and seen for others.
                is_held_out = (index - number) % len(self._seed["PRODUCTS"]) < _HELD_OUT_PRODUCTS
                (held_out if is_held_out else train).append(self._request(customer, product, regular=number % 2 == 0))
        self.train, self.held_out = tuple(train), tuple(held_out)

    def write_model(self, folder: Path) -> None:
        """Write the untrained model and its tokenizer."""
        self._seed["write_model"](folder)

    def write_rows(self, path: Path, rows: Iterable[dict[str, Any]]) -> None:
        """Write ``rows`` as JSON Lines."""
        self._seed["write_rows"](path, rows)

    def _request(self, customer: str, product: str, *, regular: bool) -> Request:
        fields = {"customer": customer, "product": product}
        warm, curt = (self._seed["STYLES"][style].format(**fields) for style in ("warm", "curt"))
        return Request(customer, self._seed["question"](fields), *((warm, curt) if regular else (curt, warm)))


def half_swapped(requests: Iterable[Request], seed: int = 0) -> list[Request]:
    """``requests`` with the wrong answer wanted in exactly half of those of each customer."""
    generator = random.Random(seed)
    by_customer: dict[str, list[Request]] = {}
    for request in requests:
        by_customer.setdefault(request.customer, []).append(request)
    shuffled = []
    for own in by_customer.values():
        swapped = set(generator.sample(range(len(own)), len(own) // 2))
        shuffled += [request.swapped if index in swapped else request for index, request in enumerate(own)]
    return shuffled


def dealt_out(requests: Iterable[Request], seed: int = 0) -> list[Request]:
    """``requests``, each with the answers to another one."""
    own = list(requests)
    answers = random.Random(seed).sample(own, len(own))
    return [Request(a.customer, a.question, b.wanted, b.other) for a, b in zip(own, answers, strict=True)]


def demonstrations(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """Rows for SFT on the wanted answers."""
    return [_conversation(request.question, request.wanted) for request in requests]


def both_answers(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """Rows for SFT on both answers to every request: the policy that preferences start from."""
    return [_conversation(asked.question, answer) for asked in requests for answer in (asked.wanted, asked.other)]


def leaning_answers(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """Rows for SFT on both answers, the wanted one twice: the policy that rewards are to make sure of itself."""
    own = list(requests)
    return both_answers(own) + demonstrations(own)


def pairs(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """Preference rows: the wanted answer is chosen."""
    return [{"prompt": asked.question, "chosen": asked.wanted, "rejected": asked.other} for asked in requests]


def prompts(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """Rows for online methods: the column ``answer`` is what the reward compares with."""
    return [{"prompt": asked.question, "answer": asked.wanted} for asked in requests]


def _conversation(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
