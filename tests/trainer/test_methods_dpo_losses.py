"""Every loss and divergence of the API reaches TRL's computation, and gives what the papers' formulas give."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import Method, Stage
from alignment_api.v1alpha1.methods import DpoLossType, FDivergenceType
from alignment_trainer.methods import dpo, reference
from alignment_trainer.registry import check_options

from . import tiny
from .conftest import TRAINING, stage_of
from .in_process import RUNTIME, make_trainer
from .method_runs import LORA

BETA = 0.1
ALPHA = 0.3


def stage_with(**member: Any) -> Stage:
    return Stage.model_validate(stage_of(Method.DPO, dpo=member))


@pytest.fixture(scope="module")
def trainer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A policy that differs from its reference, so that no term vanishes."""
    other = tmp_path_factory.mktemp("other")
    tiny.save_model(other, seed=1)
    return make_trainer(
        Method.DPO,
        tiny.preference_rows(4),
        tiny_model,
        tmp_path_factory.mktemp("out"),
        models={dpo.REFERENCE: str(other)},
        dpo={"reference": {"volume": {"path": "other"}}},
    )


@pytest.fixture(scope="module")
def batch(trainer: Any) -> Any:
    return next(iter(trainer.get_train_dataloader()))


def loss_of(trainer: Any, batch: Any, stage: Stage) -> Any:
    """The loss of ``batch`` with the stage's options, in the one trainer: another would need another accelerate."""
    options = dpo.options(stage)
    trainer.loss_types, trainer.loss_weights = options["loss_type"], options["loss_weights"]
    trainer.label_smoothing = options["label_smoothing"]
    trainer.f_divergence_type = options["f_divergence_type"]
    trainer.f_alpha_divergence_coef = options["f_alpha_divergence_coef"]
    trainer.ld_alpha = options["ld_alpha"]
    return trainer.compute_loss(trainer.model, batch)


def log_ratios(trainer: Any, batch: Any) -> Any:
    """log policy - log reference of each response, [chosen and rejected, rows]."""
    import torch

    def of(model: Any) -> Any:
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        log_probs = model(**inputs).logits[:, :-1].log_softmax(-1)
        tokens = log_probs.gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
        return (tokens * batch["completion_mask"][:, 1:]).sum(1)

    with torch.no_grad():
        return torch.stack((of(trainer.model) - of(trainer.ref_model)).chunk(2))


@pytest.mark.parametrize("loss_type", list(DpoLossType))
def test_every_loss_is_finite_with_finite_gradients(trainer: Any, batch: Any, loss_type: DpoLossType) -> None:
    trainer.model.zero_grad()
    loss = loss_of(trainer, batch, stage_with(loss=[{"type": loss_type.value, "weight": 2.0}]))
    loss.backward()
    assert loss.isfinite()
    gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


DERIVATIVES: dict[FDivergenceType, Callable[[Any], Any]] = {
    FDivergenceType.REVERSE_KL: lambda ratio: ratio.log() + 1,
    FDivergenceType.FORWARD_KL: lambda ratio: -1 / ratio,
    FDivergenceType.JS_DIVERGENCE: lambda ratio: (2 * ratio / (1 + ratio)).log(),
    FDivergenceType.ALPHA_DIVERGENCE: lambda ratio: (1 - ratio ** (ALPHA - 1)) / (1 - ALPHA),
}
"""f' of each divergence as a function of policy / reference (arXiv:2309.16240, table 1; there alpha is 1 - ours)."""


@pytest.mark.parametrize("divergence", list(FDivergenceType))
def test_divergences(trainer: Any, batch: Any, divergence: FDivergenceType) -> None:
    import torch

    stage = stage_with(beta=BETA, divergence={"type": divergence.value, "alpha": ALPHA})
    chosen, rejected = DERIVATIVES[divergence](log_ratios(trainer, batch).double().exp())
    expected = -torch.nn.functional.logsigmoid(BETA * (chosen - rejected)).mean()
    loss = loss_of(trainer, batch, stage)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-5)


def test_a_mixture_is_the_weighted_sum(trainer: Any, batch: Any) -> None:
    import torch

    terms = [{"type": "sigmoid", "weight": 0.8}, {"type": "sft", "weight": 0.3}, {"type": "ipo", "weight": 0.01}]
    with torch.no_grad():
        alone = [loss_of(trainer, batch, stage_with(loss=[term])) for term in terms]
        together = loss_of(trainer, batch, stage_with(loss=terms))
    torch.testing.assert_close(together, sum(alone))


def test_length_desensitization_of_1_is_plain_dpo(trainer: Any, batch: Any) -> None:
    import torch

    with torch.no_grad():
        plain, one, half = (loss_of(trainer, batch, stage_with(lengthDesensitization=a)) for a in (None, 1.0, 0.5))
    torch.testing.assert_close(one, plain)
    assert not torch.allclose(half, plain, atol=1e-4)


def test_a_following_reference_is_mixed_with_the_policy(trainer: Any) -> None:
    import torch

    policy, following = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    expected = 0.4 * following.weight.detach() + 0.6 * policy.weight.detach()
    before = policy.weight.detach().clone()
    reference.mix(policy, following, 0.6)
    torch.testing.assert_close(following.weight.detach(), expected)
    assert torch.equal(policy.weight, before)


def test_a_precomputed_reference_is_not_held(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    member = {"reference": {"volume": {"path": "other"}}, "precomputeReference": True}
    models = {dpo.REFERENCE: str(tiny_model)}
    rows = tiny.preference_rows(4)
    gc.collect()
    before = {id(thing) for thing in gc.get_objects() if isinstance(thing, LlamaForCausalLM)}
    trainer = make_trainer(Method.DPO, rows, tiny_model, tmp_path, models=models, dpo=member)
    gc.collect()
    held = [thing for thing in gc.get_objects() if isinstance(thing, LlamaForCausalLM) and id(thing) not in before]
    assert len(held) == 1
    assert held[0] is trainer.model
    assert {"ref_chosen_logps", "ref_rejected_logps"} <= set(trainer.train_dataset.column_names)


@pytest.mark.parametrize(
    ("fields", "field", "way_out"),
    [
        ({"dpo": {"labelSmoothing": 0.1}}, "dpo.labelSmoothing", "robust"),
        (
            {"dpo": {"loss": [{"type": "nca_pair"}], "divergence": {"type": "forwardKl"}}},
            "dpo.divergence.type",
            "use reverseKl",
        ),
        (
            {"dpo": {"loss": [{"type": "aot"}]}, "training": TRAINING | {"microBatchSize": 1}},
            "training.microBatchSize",
            "set it to 2 or more",
        ),
        (
            {"dpo": {"loss": [{"type": "aot_unpaired"}]}, "trainerArgs": {"use_weighting": True}},
            "trainerArgs.use_weighting",
            "remove one",
        ),
        ({"dpo": {"syncReference": {}}, "adapter": LORA}, "dpo.syncReference", "remove adapter"),
    ],
)
def test_what_trl_cannot_do_is_refused_before_a_gang(fields: dict[str, Any], field: str, way_out: str) -> None:
    stage = Stage.model_validate(stage_of(Method.DPO, **fields))
    problems = check_options(stage, RUNTIME, path="spec.stages[0]")
    assert [problem.field for problem in problems] == [f"spec.stages[0].{field}"]
    assert way_out in problems[0].message


@pytest.mark.parametrize(
    "member",
    [
        {"labelSmoothing": 0.1, "loss": [{"type": "robust"}]},
        {"divergence": {"type": "forwardKl"}, "loss": [{"type": "ipo"}, {"type": "sft"}]},
        {"loss": [{"type": "aot"}]},
        {"syncReference": {"everySteps": 8}},
    ],
)
def test_what_trl_can_do_passes(member: dict[str, Any]) -> None:
    assert check_options(stage_with(**member), RUNTIME) == []
