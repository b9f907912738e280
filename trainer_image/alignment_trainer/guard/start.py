"""What theory says about the first step of each method: the model has not changed yet.

=============  ======================================================================================================
method         at the first step
=============  ======================================================================================================
sft            The loss is at most that of guessing, log(vocabulary), with `SLACK` for tokens that a pretrained model
               holds for unlikely.
reward         The score head is new and random: margins of a few units, a loss near log 2 within `REWARD_SPREAD`.
dpo            Policy and reference are the same: implicit rewards are 0, and each loss is what it is there
               (`dpo_loss_at_zero`; log 2 for ``sigmoid``). Not for a reference that the stage names.
kto            The same, with a loss of half the weight of good and bad responses (Ethayarajh et al., 2024, equation 7).
orpo, cpo,     No reference. The negative log-likelihood of chosen responses is at most that of guessing; so is the
simpo          average that SimPO compares.
grpo, rloo     The KL to the reference is 0, and no probability ratio is clipped: rollouts are the policy's own.
ppo            The same, and the loss of the policy is 0: the ratio is 1, the mean of whitened advantages 0.
=============  ======================================================================================================

Tolerances are in nats of a response, `NATS_FP32` or `NATS_BF16`: in bfloat16 a logit is off by 1/256 of its size, and
the same response in another batch, or its reference computed before training, by up to a nat or two. References of
another model, or dropout, are off by tens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from alignment_api.v1alpha1 import Method, Stage

from .checks import Finding
from .readings import Values

SLACK: Final = 1.5
REWARD_SPREAD: Final = 10.0
NATS_FP32: Final = 0.1
NATS_BF16: Final = 2.0
TOKEN_NATS_FP32: Final = 0.001
TOKEN_NATS_BF16: Final = 0.05
CLIPPED_FP32: Final = 0.001
CLIPPED_BF16: Final = 0.05

FIELD: Final = "startCheck"
_REFERENCE_CAUSES: Final = (
    "typical causes: reference log-probabilities that belong to another model, dropout that is on, or a policy that "
    "does not start from the stage's model"
)
_MODEL_CAUSES: Final = (
    "typical causes: weights that were not loaded, a tokenizer or chat template of another model, or labels that cover "
    "the wrong tokens"
)
_ROLLOUT_CAUSES: Final = (
    "typical causes: a reference that is not the model the stage starts from, dropout that is on, or rollouts by other "
    "weights than the policy's"
)


class Expectation(NamedTuple):
    """A metric and where it must be at the first step.

    Attributes:
        metric: its name; a report without it is not judged by it.
        low: its smallest value.
        high: its largest value.
        theory: what it should be, for people.
        causes: what is wrong, typically, when it is not.
    """

    metric: str
    low: float
    high: float
    theory: str
    causes: str


class LossStart(NamedTuple):
    """A DPO loss at implicit rewards of 0.

    Attributes:
        value: the loss.
        slope: by how much it changes, at most, with each nat of the log-ratios nearby.
    """

    value: float
    slope: float


def dpo_loss_at_zero(loss: str, beta: float, label_smoothing: float, discopop_tau: float) -> LossStart | None:
    """TRL's DPO loss ``loss`` where policy and reference are the same.

    Derived from TRL 1.16's ``DPOTrainer._compute_loss`` with chosen and rejected log-ratios of 0, where
    sigmoid(0) = 1/2 and -log sigmoid(0) = log 2.

    Args:
        loss: TRL's name.
        beta: the method's beta.
        label_smoothing: TRL's ``label_smoothing``.
        discopop_tau: TRL's ``discopop_tau``.

    Returns:
        None for ``sft``, which depends on the model.
    """
    log2 = math.log(2)
    match loss:
        case "sigmoid" | "robust" | "aot" | "aot_unpaired" | "sigmoid_norm":
            return LossStart(log2, 2 * beta)
        case "nca_pair" | "bco_pair":
            return LossStart(2 * log2, 2 * beta)
        case "hinge" | "apo_zero" | "apo_down":
            return LossStart(1.0, 2 * beta)
        case "ipo":  # (0 - 1/(2 beta))^2, of log-ratios per token
            return LossStart(1 / (4 * beta**2), 2 / beta)
        case "sppo_hard":  # the same distance for chosen and rejected, of whole responses
            return LossStart(1 / (2 * beta**2), 4 / beta)
        case "exo_pair":  # KL(uniform || (1 - e, e)); e = 0 is infinite, and TRL is given a positive one
            noise = max(label_smoothing, 1e-12)
            return LossStart(-log2 - (math.log1p(-noise) + math.log(noise)) / 2, beta * (1 - math.log(noise)))
        case "discopop":  # half logistic and half exponential, mixed by sigmoid(0 / tau)
            return LossStart((log2 + 1) / 2, 2 * beta * (1 + 1 / discopop_tau))
        case _:
            return None


def expectations(stage: Stage, config: Any, vocabulary: int) -> tuple[Expectation, ...]:
    """Where the metrics of the first step must be.

    Args:
        stage: a training stage.
        config: its TRL config, for the numbers that are really used.
        vocabulary: tokens that the model knows.
    """
    guess = SLACK * math.log(max(vocabulary, 2))
    match stage.method:
        case Method.SFT:
            return (_at_most_guessing("loss", guess),)
        case Method.REWARD:
            return _reward()
        case Method.DPO:
            named = stage.dpo is not None and stage.dpo.reference is not None
            return () if named else _dpo(config, guess)
        case Method.KTO:
            named = stage.kto is not None and stage.kto.reference is not None
            return () if named else _kto(config)
        case Method.ORPO | Method.CPO:
            return (_at_most_guessing("nll_loss", guess),)
        case Method.SIMPO:
            theory = f"an average log-probability of at least {-guess:.4g} ({SLACK} times that of guessing)"
            return tuple(
                Expectation(metric, -guess, 0.0, theory, _MODEL_CAUSES) for metric in ("logps/chosen", "logps/rejected")
            )
        case Method.PPO:
            return _ppo(config)
        case _:
            return _online(config)


def unexpected(expected: Sequence[Expectation], step: int, values: Values) -> Finding | None:
    """The first of ``expected`` that the report of ``step`` does not meet."""
    for metric, low, high, theory, causes in expected:
        value = values.get(metric)
        if value is not None and not low <= value <= high:
            return Finding(
                f"{metric} is {value:.4g} at step {step}, before the model has changed, where theory says {theory}",
                FIELD,
                f"{causes}; if this start is meant, set startCheck to false",
            )
    return None


def _at_most_guessing(metric: str, guess: float) -> Expectation:
    theory = f"at most {guess:.4g} ({SLACK} times the loss of guessing among all tokens)"
    return Expectation(metric, 0.0, guess, theory, _MODEL_CAUSES)


def _reward() -> tuple[Expectation, ...]:
    high = math.log(2) + REWARD_SPREAD
    theory = f"about log 2 = 0.693, at most {high:.4g} for a new score head"
    return (Expectation("loss", 0.0, high, theory, _MODEL_CAUSES),)


def _is_half(config: Any) -> bool:
    return bool(config.bf16)


def _implicit_rewards(config: Any) -> tuple[Expectation, ...]:
    tolerance = config.beta * (NATS_BF16 if _is_half(config) else NATS_FP32)
    theory = f"0 within {tolerance:.3g}, since policy and reference are the same"
    return tuple(
        Expectation(metric, -tolerance, tolerance, theory, _REFERENCE_CAUSES)
        for metric in ("rewards/chosen", "rewards/rejected")
    )


def _dpo(config: Any, guess: float) -> tuple[Expectation, ...]:
    rewards = _implicit_rewards(config)
    if config.use_weighting:  # WPO multiplies each pair's loss by its likelihood
        return rewards
    nats = NATS_BF16 if _is_half(config) else NATS_FP32
    low = high = start = 0.0
    for loss, weight in zip(config.loss_type, config.loss_weights or [1.0] * len(config.loss_type), strict=True):
        at_zero = dpo_loss_at_zero(loss, config.beta, config.label_smoothing, config.discopop_tau)
        if at_zero is None:
            high += weight * guess
            continue
        start += weight * at_zero.value
        low += weight * (at_zero.value - at_zero.slope * nats)
        high += weight * (at_zero.value + at_zero.slope * nats)
    theory = f"{start:.4g}" + (" plus that of the sft term" if "sft" in config.loss_type else "")
    return *rewards, Expectation("loss", low, high, theory, _REFERENCE_CAUSES)


def _kto(config: Any) -> tuple[Expectation, ...]:
    nats = NATS_BF16 if _is_half(config) else NATS_FP32
    weights = config.desirable_weight, config.undesirable_weight
    spread = config.beta * nats
    low, high = min(weights) * (0.5 - spread), max(weights) * (0.5 + spread)
    return (
        *_implicit_rewards(config),
        Expectation("kl", 0.0, nats, f"0 within {nats:g}", _REFERENCE_CAUSES),
        Expectation("loss", low, high, f"{min(weights) / 2:.4g} to {max(weights) / 2:.4g}", _REFERENCE_CAUSES),
    )


def _online(config: Any) -> tuple[Expectation, ...]:
    nats = TOKEN_NATS_BF16 if _is_half(config) else TOKEN_NATS_FP32
    clipped = CLIPPED_BF16 if _is_half(config) else CLIPPED_FP32
    return (
        Expectation("kl", -nats, nats, f"0 within {nats:g}", _ROLLOUT_CAUSES),
        Expectation("clip_ratio/region_mean", 0.0, clipped, f"0 within {clipped:g}", _ROLLOUT_CAUSES),
    )


def _ppo(config: Any) -> tuple[Expectation, ...]:
    nats = NATS_BF16 if _is_half(config) else NATS_FP32
    clipped = CLIPPED_BF16 if _is_half(config) else CLIPPED_FP32
    return (
        Expectation("objective/kl", -nats, nats, f"0 within {nats:g}", _ROLLOUT_CAUSES),
        Expectation("policy/clipfrac_avg", 0.0, clipped, f"0 within {clipped:g}", _ROLLOUT_CAUSES),
        Expectation("loss/policy_avg", -clipped, clipped, f"0 within {clipped:g}", _ROLLOUT_CAUSES),
    )
