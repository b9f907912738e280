"""One module for the policy and its value model, so that one engine (DeepSpeed, DDP) trains both.

The value model becomes a part of the policy, next to its layers: the policy stays what TRL and transformers take it
for, generates and is saved as before, and one more keyword makes its forward return values too.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from torch import Tensor, nn

from .value_model import ValueModel

NAME: Final = "value_model"
"""Attribute of the policy that holds the value model."""

_PREFIX: Final = f"{NAME}."


def attach(policy: nn.Module, value_model: ValueModel, language_model: nn.Module) -> None:
    """Make ``value_model`` a part of ``policy``.

    ``policy(..., with_values=True)`` then returns a dict of ``log_probs`` and ``entropy`` ([batch, tokens - 1], of the
    next token), ``values`` ([batch, tokens]) and ``aux_loss`` (of mixtures of experts, else None); other calls are as
    before. All of it comes from one call of the module that the engine wraps, as its hooks require.

    Args:
        policy: the module that is trained, with TRL's fused head below it.
        value_model: its value model.
        language_model: the policy, or the language model under its adapter.
    """
    original = policy.forward

    @functools.wraps(type(policy).forward)  # generate checks its arguments against this signature
    def forward(self: nn.Module, *args: Any, with_values: bool = False, **kwargs: Any) -> Any:
        if not with_values:
            return original(*args, **kwargs)
        with _last_hidden_states(language_model.base_model) as hidden_states:
            output = original(*args, **kwargs)
        inputs = {name: kwargs[name] for name in ("input_ids", "attention_mask")}
        return {
            "log_probs": output.log_probs,
            "entropy": output.entropy,
            "values": self.value_model(hidden_states[-1], **inputs),
            "aux_loss": output.aux_loss,
        }

    policy.add_module(NAME, value_model)
    policy.forward = types.MethodType(forward, policy)


def policy_alone(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of ``state_dict`` that are the policy's."""
    return {name: weight for name, weight in state_dict.items() if not name.startswith(_PREFIX)}


@contextmanager
def gathering_the_policy_alone(engine: Any, policy: nn.Module) -> Iterator[None]:
    """Hide the value model from ``engine.parameters()``.

    To generate under ZeRO-3, TRL gathers on every process whatever its engine lists; values have no part in that.

    Args:
        engine: DeepSpeed's engine.
        policy: the module it trains.
    """
    own = [parameter for name, parameter in policy.named_parameters() if not name.startswith(_PREFIX)]
    engine.parameters = lambda: iter(own)  # an attribute of this engine, before its class's method
    try:
        yield
    finally:
        del engine.parameters


@contextmanager
def _last_hidden_states(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """A list to which each call of ``backbone`` adds its last hidden states."""
    seen: list[Tensor] = []
    handle = backbone.register_forward_hook(lambda _module, _args, output: seen.append(output.last_hidden_state))
    try:
        yield seen
    finally:
        handle.remove()
