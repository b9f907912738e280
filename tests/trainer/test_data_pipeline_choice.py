"""Which rows are used: keys, held-out rows, mixtures, samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_trainer.data import keys, split
from alignment_trainer.data.rows import Conversation, Labelled, Messages, Pair, Prompt, Role, Row, message


def ask(text: str) -> Messages:
    return (message(Role.USER, text),)


def say(text: str) -> Messages:
    return (message(Role.ASSISTANT, text),)


def row_of(prompt: str, answer: str) -> Row:
    return Conversation(ask(prompt) + say(answer))


def points(rows: list[Row], seed: int = 42) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([keys.hold_out_point(row, seed) for row in rows])


@settings(deadline=None, derandomize=True)
@given(
    prompts=st.lists(st.sampled_from("abcdefghijkl"), min_size=2, max_size=40).filter(lambda p: len(set(p)) > 1),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31 - 1),
)
def test_no_prompt_is_on_both_sides(prompts: list[str], fraction: float, seed: int) -> None:
    held = split.hold_out(points([row_of(prompt, str(i)) for i, prompt in enumerate(prompts)], seed), fraction)
    sides = {prompt: {side for p, side in zip(prompts, held, strict=True) if p == prompt} for prompt in prompts}
    assert all(len(side) == 1 for side in sides.values())
    assert any(held)
    assert not all(held)


def test_stages_hold_out_the_same_prompts_in_any_case_and_spacing() -> None:
    prompts = [f"prompt {i}" for i in range(1000)]
    held = split.hold_out(points([row_of(prompt, "x") for prompt in prompts]), 0.2)
    shouted = split.hold_out(points([Prompt(ask(f" {prompt.upper()}\n")) for prompt in prompts]), 0.2)
    assert held.tolist() == shouted.tolist()
    assert 150 < np.count_nonzero(held) < 250
    other = split.hold_out(points([row_of(prompt, "x") for prompt in prompts], seed=43), 0.2)
    assert held.tolist() != other.tolist()
    assert not np.any(split.hold_out(points([row_of("a", "b")]), 0.0))


def test_keys_tell_apart_what_differs_and_nothing_else() -> None:
    pair = Pair(ask("q"), say("a"), say("b"))
    spaced = Pair(ask("Q "), say(" a"), say("B"))
    swapped = Pair(pair.prompt, pair.rejected, pair.chosen)
    good, bad = (Labelled(pair.prompt, pair.chosen, label) for label in (True, False))
    two_and_two, two_times_two = (Prompt(ask(text)) for text in ("2+2?", "2*2?"))
    assert keys.row_key(pair) == keys.row_key(Pair(pair.prompt, pair.chosen, pair.rejected, margin=3.0))
    assert len({keys.row_key(row) for row in (pair, spaced, swapped, good, bad)}) == 5
    assert keys.normalized_key(pair) == keys.normalized_key(spaced) != keys.normalized_key(swapped)
    assert keys.prompt_key(pair) == keys.prompt_key(spaced) == keys.prompt_key(row_of("q", "anything"))
    assert keys.prompt_key(two_and_two) != keys.prompt_key(two_times_two)
    assert keys.row_key(Prompt(pair.prompt, {"answer": 1})) != keys.row_key(Prompt(pair.prompt, {"answer": 2}))


@settings(deadline=None, derandomize=True)
@given(
    parts=st.lists(st.tuples(st.integers(0, 500), st.floats(0.1, 100)), min_size=1, max_size=6),
    limit=st.none() | st.integers(1, 800),
)
def test_shares_of_a_mixture(parts: list[tuple[int, float]], limit: int | None) -> None:
    available, weights = zip(*parts, strict=True)
    taken = split.shares(available, weights, limit)
    total, whole = sum(taken), sum(weights)
    assert all(0 <= count <= most for count, most in zip(taken, available, strict=True))
    assert all(abs(count - total * weight / whole) <= 1 for count, weight in zip(taken, weights, strict=True))
    assert limit is None or total <= limit
    # One row more, at these weights, and a part would have to repeat one or the limit would be broken.
    assert total == limit or any(
        (total + 1) * weight / whole > most - 1e-6 for most, weight in zip(available, weights, strict=True)
    )


@pytest.mark.parametrize(
    ("available", "weights", "limit", "taken"),
    [
        ([100, 100], [3, 1], None, [100, 33]),
        ([90, 10], [1, 1], None, [10, 10]),
        ([1000, 1000], [0.7, 0.3], 10, [7, 3]),
        ([5, 0], [1, 1], None, [0, 0]),
    ],
)
def test_known_shares(available: list[int], weights: list[float], limit: int | None, taken: list[int]) -> None:
    assert split.shares(available, weights, limit) == taken


def test_first_rows_of_each_part_in_the_order_given() -> None:
    parts = np.array([1, 0, 1, 1, 0, 0])
    assert split.first_of_each(parts, [1, 2]).tolist() == [True, True, True, False, False, False]


def test_rows_are_shuffled_by_the_seed() -> None:
    assert sorted(split.shuffled(10, 1)) == list(range(10))
    assert split.shuffled(10, 1).tolist() == split.shuffled(10, 1).tolist() != split.shuffled(10, 2).tolist()
