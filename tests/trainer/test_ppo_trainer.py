"""The PPO trainer in one process: a batch recomputed by plain transformers and numpy, batches, resuming, learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from . import ppo_reference as reference
from . import tiny
from .ppo_runs import RESPONSES, make_trainer, model_that_stops, share_of_vowels, steps

BETA, GAMMA, LAMBDA, MISSING_EOS, VF_COEF = 0.3, 0.98, 0.9, 0.5, 0.2


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model; its responses are of different lengths."""
    return model_that_stops(tiny_model, tmp_path_factory.mktemp("ppo") / "model")


def save_classifier(model: Path, folder: Path) -> Path:
    """A sequence classifier on the backbone of ``model``, with a head that is not zero."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_pretrained(model, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


class Snapshot:
    """A callback's view of a step: the models that sampled its batch, and the batch."""

    def __init__(self, trainer: Any, step: int, folder: Path) -> None:
        from transformers import TrainerCallback

        from alignment_trainer.ppo import checkpoint

        outer = self
        self.folder = folder
        self.batch: dict[str, Any] = {}

        class Callback(TrainerCallback):  # type: ignore[misc]
            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == step - 1:
                    trainer.save_model(str(folder))
                    checkpoint.save_values(folder, trainer.value_model)

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == step:
                    outer.batch = trainer._buffered_inputs[0]

        trainer.add_callback(Callback())

    def policy(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folder)

    def values(self, classifier: Path) -> Any:
        from safetensors.torch import load_file
        from transformers import AutoModelForSequenceClassification

        loaded = AutoModelForSequenceClassification.from_pretrained(classifier)
        weights = load_file(self.folder / "value_model.safetensors")
        names = {"head.weight": "score.weight"}
        weights = {names.get(name, name.replace("backbone.", "model.", 1)): weight for name, weight in weights.items()}
        loaded.load_state_dict(weights)
        return loaded


def test_a_batch_is_what_plain_transformers_and_numpy_make_of_it(model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    classifier = save_classifier(model, tmp_path / "classifier")
    trainer = make_trainer(
        model, tmp_path / "out", value_model=classifier, beta=BETA, gamma=GAMMA, lam=LAMBDA, whiten_rewards=True,
        missing_eos_penalty=MISSING_EOS, vf_coef=VF_COEF, temperature=0.7,
    )  # fmt: skip
    snapshot = Snapshot(trainer, 2, tmp_path / "snapshot")  # by the second step policy and reference differ
    trainer.train()
    batch = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in snapshot.batch.items()}
    mask, responses = batch["completion_mask"].numpy().astype(float), batch["completion_ids"]
    sizes = reference.lengths(mask)
    assert len(set(sizes)) > 2, "the responses are of different lengths"

    ids = torch.cat([batch["prompt_ids"], responses], dim=1)
    inputs = {"input_ids": ids, "attention_mask": torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)}
    before = slice(ids.shape[1] - responses.shape[1] - 1, -1)
    with torch.no_grad():
        log_probs, reference_log_probs = (
            reference.token_log_probs(lm(**inputs).logits[:, before] / 0.7, responses) * mask
            for lm in (snapshot.policy(), AutoModelForCausalLM.from_pretrained(model))
        )
        judge = snapshot.values(classifier)
        values = judge.score(judge.model(**inputs).last_hidden_state)[:, before, 0].numpy() * mask
    np.testing.assert_allclose(batch["old_log_probs"].numpy() * mask, log_probs, atol=1e-5)
    np.testing.assert_allclose(batch["old_values"].numpy() * mask, values, atol=1e-5)
    assert np.abs(values).max() > 0.01

    tokens = [row[:size].tolist() for row, size in zip(responses, sizes, strict=True)]
    scores = np.array(share_of_vowels(trainer.processing_class.batch_decode(tokens, skip_special_tokens=True)))
    ended = np.array([row[-1] in trainer.eos_token_ids for row in tokens])
    assert 0 < ended.sum() < RESPONSES, "some responses end, others are cut off"
    scores -= MISSING_EOS * ~ended
    kl = (log_probs - reference_log_probs) * mask
    assert np.abs(kl).max() > 0.01
    rewards = reference.whiten(reference.rewards(scores, kl, mask, BETA), mask, shift_mean=False)
    advantages = reference.advantages(rewards, values, mask, GAMMA, LAMBDA)
    returns = advantages + values
    whitened = reference.whiten(advantages, mask, shift_mean=True)
    np.testing.assert_allclose(batch["returns"].numpy(), returns, atol=1e-4)
    np.testing.assert_allclose(batch["advantages"].numpy(), whitened, atol=1e-4)

    logged = steps(trainer)[1]
    value_loss = (0.5 * (values - returns) ** 2).sum() / mask.sum()
    expected = {
        "loss/policy_avg": 0.0,  # the ratio is 1 and the advantages' mean 0
        "loss/value_avg": value_loss,
        "loss": VF_COEF * value_loss,
        "val/ratio": 1.0,
        "policy/approxkl_avg": 0.0,
        "policy/clipfrac_avg": 0.0,
        "objective/scores": scores.mean(),
        "objective/kl": kl.sum(axis=1).mean(),
        "objective/entropy": -log_probs.sum(axis=1).mean(),
        "objective/non_score_reward": -BETA * kl.sum(axis=1).mean(),
        "objective/rlhf_reward": scores.mean() - BETA * kl.sum(axis=1).mean(),
        "val/num_eos_tokens": ended.sum(),
        "kl_coef": BETA,
    }
    for name, number in expected.items():
        assert logged[name] == pytest.approx(number, rel=1e-4, abs=1e-4), name


def test_where_a_run_starts(model: Path, tmp_path: Path) -> None:
    """Ratio 1, KL 0, values 0 and a policy loss of 0: what theory says of a policy that is its own reference."""
    trainer = make_trainer(model, tmp_path, max_steps=1)
    trainer.train()
    (first,) = steps(trainer)
    assert first["val/ratio"] == pytest.approx(1, abs=1e-6)
    for name in ("objective/kl", "policy/approxkl_avg", "policy/clipfrac_avg", "val/clipfrac_avg"):
        assert first[name] == pytest.approx(0, abs=1e-5), name
    assert first["loss/policy_avg"] == pytest.approx(0, abs=1e-5)
    assert trainer._buffered_inputs[0]["old_values"].abs().max() == 0, "a new head begins at zero"


def test_the_size_of_a_forward_pass_changes_nothing(model: Path, tmp_path: Path) -> None:
    logged = []
    for rows in (RESPONSES, 2):
        trainer = make_trainer(
            model, tmp_path / str(rows), num_iterations=2, max_steps=4,
            per_device_train_batch_size=rows, gradient_accumulation_steps=RESPONSES // rows,
        )  # fmt: skip
        trainer.train()
        logged.append(steps(trainer))
    for one, other in zip(*logged, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {"step_time"}:
            assert other[name] == pytest.approx(one[name], rel=1e-3, abs=1e-5), name


def test_a_response_without_a_reward_teaches_nothing(model: Path, tmp_path: Path) -> None:
    def every_second(completions: list[Any], **_: Any) -> list[float | None]:
        return [1.0 if index % 2 else None for index in range(len(completions))]

    trainer = make_trainer(model, tmp_path, reward=every_second, max_steps=1)
    trainer.train()
    batch = trainer._buffered_inputs[0]
    learnt = batch["mask"].sum(dim=1) > 0
    assert learnt.sum() == RESPONSES // 2
    assert (batch["advantages"][~learnt] == 0).all()
    assert batch["num_items_in_batch"] == batch["completion_mask"][learnt].sum()
    assert steps(trainer)[0]["objective/scores"] == 1


def test_without_a_penalty_there_is_no_reference(model: Path, tmp_path: Path) -> None:
    trainer = make_trainer(model, tmp_path, beta=0.0)
    trainer.train()
    assert trainer.ref_model is None
    assert "objective/kl" not in steps(trainer)[1]


@pytest.mark.parametrize("kind", [{}, {"share_backbone": True}, {"lora": True}, {"lora": True, "share_backbone": True}])
def test_a_run_that_resumes_between_two_passes_ends_like_an_uninterrupted_one(
    model: Path, tmp_path: Path, kind: dict[str, Any]
) -> None:
    """Without DeepSpeed, whose engine saves the values itself; both have the KL's weight and the responses."""
    options = kind | {
        "num_iterations": 3, "max_steps": 6, "save_strategy": "steps", "save_steps": 2,
        "kl_target": 0.01, "kl_horizon": 50, "gradient_checkpointing": True,
    }  # fmt: skip
    uninterrupted = make_trainer(model, tmp_path / "out", **options)
    trained = [name for name, weight in uninterrupted.model.named_parameters() if weight.requires_grad]
    assert any(name.startswith("value_model.head") for name in trained)
    assert any(name.startswith("value_model.backbone") for name in trained) is not bool(kind.get("share_backbone"))
    uninterrupted.train()
    resumed = make_trainer(model, tmp_path / "again", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out/checkpoint-2"))
    assert resumed.kl_control.coefficient == uninterrupted.kl_control.coefficient != 0.05
    expected, actual = steps(uninterrupted), steps(resumed)
    assert len(expected) == len(actual) == 6
    for one, other in zip(expected, actual, strict=True):
        for name in one.keys() - {"step_time"}:
            assert other[name] == pytest.approx(one[name], rel=1e-6, abs=1e-8), name
    weights = dict(resumed.model.named_parameters())
    for name, weight in uninterrupted.model.named_parameters():
        torch.testing.assert_close(weights[name], weight, msg=name)


def test_generation_gathers_the_policy_alone(model: Path, tmp_path: Path) -> None:
    from alignment_trainer.ppo.policy_and_values import gathering_the_policy_alone

    trainer = make_trainer(model, tmp_path)
    engine = torch.nn.ModuleList([trainer.model])  # as DeepSpeed's engine, it lists the parameters of what it wraps
    values = set(trainer.value_model.parameters())
    with gathering_the_policy_alone(engine, trainer.model):
        gathered = set(engine.parameters())
    assert gathered == set(trainer.model.parameters()) - values
    assert set(engine.parameters()) == gathered | values


def test_experts_are_balanced_too(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    folder = tmp_path / "experts"
    folder.mkdir()
    tokenizer = tiny.save_tokenizer(folder)
    config = MixtralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(folder)
    parts: dict[str, Any] = {"per_device_train_batch_size": RESPONSES // 2, "gradient_accumulation_steps": 2}
    trainer = make_trainer(folder, tmp_path / "out", router_aux_loss_coef=0.5, max_steps=1, **parts)
    trainer.train()
    (first,) = steps(trainer)
    assert first["aux_loss"] > 1.99, "2 is the loss in perfect balance, with two experts for each token"
    losses = first["loss/policy_avg"] + 0.1 * first["loss/value_avg"] + 0.5 * first["aux_loss"]
    assert first["loss"] == pytest.approx(losses, rel=1e-4)
