"""PPO's rewards, advantages, whitening, losses and KL control against the papers' formulas in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_trainer.ppo.advantages import generalized_advantages
from alignment_trainer.ppo.kl_control import KlControl
from alignment_trainer.ppo.losses import policy_losses, value_losses
from alignment_trainer.ppo.token_rewards import kl_estimate, last_tokens, penalize_missing_eos, token_rewards
from alignment_trainer.ppo.whitening import whiten

from . import ppo_reference as reference

EXAMPLES = settings(max_examples=60, deadline=None)
NUMBERS = st.floats(-5, 5, width=32)
POSITIVE = st.floats(0.01, 1)


def alone(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over the processes of a gang of one."""
    return tensor


@st.composite
def batches(draw: st.DrawFn, count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A mask of responses of different lengths, each at least one token, and ``count`` tensors of that shape."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    width = max(sizes) + draw(st.integers(0, 2))
    mask = torch.tensor([[float(t < size) for t in range(width)] for size in sizes], dtype=torch.float64)
    cells = st.lists(NUMBERS, min_size=len(sizes) * width, max_size=len(sizes) * width)
    tensors = [torch.tensor(draw(cells), dtype=torch.float64).view(len(sizes), width) for _ in range(count)]
    return mask, tensors


def close(actual: torch.Tensor, expected: Any) -> None:
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-9, atol=1e-9)


@EXAMPLES
@given(batches(2), st.floats(0, 1), st.floats(0, 1))
def test_advantages(batch: tuple[Any, list[Any]], gamma: float, lam: float) -> None:
    mask, (rewards, values) = batch
    advantages, returns = generalized_advantages(rewards, values, mask, discount=gamma, gae_lambda=lam)
    expected = reference.advantages(rewards.numpy(), values.numpy(), mask.numpy(), gamma, lam)
    close(advantages, expected)
    close(returns, expected + (values * mask).numpy())


def test_advantages_at_the_ends_of_lambda() -> None:
    rewards, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[0.5, 0.25, 0.125]])
    mask = torch.ones(1, 3)
    monte_carlo, returns = generalized_advantages(rewards, values, mask, discount=1.0, gae_lambda=1.0)
    close(returns, [[7.0, 6.0, 4.0]])
    close(monte_carlo, [[6.5, 5.75, 3.875]])
    one_step, _ = generalized_advantages(rewards, values, mask, discount=0.5, gae_lambda=0.0)
    close(one_step, [[1 + 0.125 - 0.5, 2 + 0.0625 - 0.25, 4 - 0.125]])


@EXAMPLES
@given(batches(2), st.lists(NUMBERS, min_size=4, max_size=4), st.floats(0, 2))
def test_the_score_is_paid_at_the_last_token_and_the_kl_at_each(
    batch: tuple[Any, list[Any]], scores: list[float], beta: float
) -> None:
    mask, (log_probs, reference_log_probs) = batch
    kl = kl_estimate(log_probs, reference_log_probs, mask)
    close(kl, ((log_probs - reference_log_probs) * mask).numpy())
    paid = torch.tensor(scores[: len(mask)], dtype=torch.float64)
    rewards = token_rewards(paid, kl, mask, beta)
    close(rewards, reference.rewards(paid.numpy(), kl.numpy(), mask.numpy(), beta))
    # Dealt out or not, it is the reward of the response: score - beta KL.
    close(rewards.sum(dim=1), (paid - beta * kl.sum(dim=1)).numpy())


def test_the_last_token_is_the_one_before_the_padding() -> None:
    ids = torch.tensor([[5, 6, 9, 0], [7, 0, 0, 0], [1, 2, 3, 4]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    assert last_tokens(ids, mask).tolist() == [9, 7, 4]


def test_a_response_without_an_end_is_penalized() -> None:
    scores, ended = torch.tensor([1.0, 1.0]), torch.tensor([True, False])
    assert penalize_missing_eos(scores, ended, 3.0).tolist() == [1.0, -2.0]
    assert penalize_missing_eos(scores, ended, None).tolist() == [1.0, 1.0]


@EXAMPLES
@given(batches(1), st.booleans())
def test_whitening(batch: tuple[Any, list[Any]], shift_mean: bool) -> None:
    mask, (values,) = batch
    if mask.sum() < 2:
        return
    whitened = whiten(values, mask, alone, shift_mean=shift_mean)
    expected = reference.whiten(values.numpy(), mask.numpy(), shift_mean=shift_mean)
    np.testing.assert_allclose(whitened.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_whitening_heeds_the_tokens_of_all_processes() -> None:
    values = torch.tensor([[1.0, 2.0, 7.0], [3.0, -1.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    both = whiten(values, mask, alone, shift_mean=True)

    def as_gang_of_two(sums: torch.Tensor) -> torch.Tensor:
        # Every sum that the first process asks for, with what the second one adds to it.
        other, valid = values[1:], mask[1:].double()
        if sums.ndim:
            return sums + torch.stack([(other * valid).sum(), valid.sum()])
        return sums + ((other - 12 / 5) * valid).square().sum()

    close(whiten(values[:1], mask[:1], as_gang_of_two, shift_mean=True), both[:1].numpy())


def test_a_single_token_has_no_variance() -> None:
    whitened = whiten(torch.tensor([[3.0, 9.0]]), torch.tensor([[1, 0]]), alone, shift_mean=True)
    assert whitened.tolist() == [[0.0, 0.0]]


@EXAMPLES
@given(batches(2), POSITIVE.filter(lambda low: low < 1), POSITIVE)
def test_policy_losses(batch: tuple[Any, list[Any]], low: float, high: float) -> None:
    _, (log_ratio, advantages) = batch
    result = policy_losses(log_ratio, advantages, low, high)
    expected = np.vectorize(reference.policy_loss)(log_ratio.numpy(), advantages.numpy(), low, high)
    close(result.losses, expected)
    unclipped = -(np.exp(log_ratio.numpy()) * advantages.numpy())
    # Two exponential functions may differ in the last bit of what was not clipped.
    sure = ~np.isclose(result.losses.numpy(), unclipped, rtol=1e-12, atol=0)
    np.testing.assert_array_equal(result.clipped.numpy()[sure], result.losses.numpy()[sure] > unclipped[sure])


def test_a_clipped_ratio_has_no_gradient() -> None:
    log_ratio = torch.tensor([0.5, -0.5, 0.5, -0.5], requires_grad=True)
    policy_losses(log_ratio, torch.tensor([1.0, -1.0, -1.0, 1.0]), 0.2, 0.2).losses.sum().backward()
    assert log_ratio.grad is not None
    # Gains beyond the range teach nothing; losses always do.
    np.testing.assert_allclose(log_ratio.grad.numpy(), [0.0, 0.0, np.exp(0.5), -np.exp(-0.5)], rtol=1e-6)


@EXAMPLES
@given(batches(3), POSITIVE)
def test_value_losses(batch: tuple[Any, list[Any]], clip: float) -> None:
    _, (values, old_values, returns) = batch
    result = value_losses(values, old_values, returns, clip)
    expected = np.vectorize(reference.value_loss)(values.numpy(), old_values.numpy(), returns.numpy(), clip)
    close(result.losses, expected)
    free = 0.5 * (values - returns).square()
    np.testing.assert_array_equal(result.clipped.numpy(), (result.losses > free).numpy())


@EXAMPLES
@given(st.lists(st.floats(-50, 50), max_size=20), POSITIVE, st.floats(0.1, 20), st.integers(64, 10_000))
def test_adaptive_kl_control(kls: list[float], beta: float, target: float, horizon: int) -> None:
    control, expected = KlControl(beta, target, horizon), reference.Control(beta, target, horizon)
    for kl in kls:
        control.update(kl, responses=32)
        assert control.coefficient == pytest.approx(expected.update(kl, 32), rel=1e-12)
        assert control.coefficient > 0


def test_kl_control_steers_towards_its_target() -> None:
    control = KlControl(0.1, target=6.0, horizon=1000)
    control.update(60.0, responses=100)
    assert control.coefficient == pytest.approx(0.1 * 1.02), "the error is clipped at 0.2"
    control.update(6.0, responses=100)
    assert control.coefficient == pytest.approx(0.1 * 1.02), "on target nothing changes"
    control.update(5.4, responses=100)
    assert control.coefficient == pytest.approx(0.1 * 1.02 * 0.99)


def test_fixed_kl_control() -> None:
    control = KlControl(0.05)
    control.update(1e6, responses=1_000_000)
    assert control.coefficient == 0.05
