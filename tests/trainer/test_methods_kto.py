"""KTO: losses against the paper's formulas, mismatched responses for the KL term, weights, references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alignment_api.contract import RunConfig
from alignment_api.v1alpha1 import Method, Stage
from alignment_api.v1alpha1.methods import KtoLoss
from alignment_trainer import prepare
from alignment_trainer.exceptions import DataError
from alignment_trainer.methods import kto
from alignment_trainer.registry import check_options

from . import tiny
from .conftest import TRAINING, Workspace, stage_of
from .in_process import RUNTIME, make_trainer

MICRO_BATCH = 4
ONE_BATCH = TRAINING | {"microBatchSize": MICRO_BATCH}


def stage(**fields: Any) -> Stage:
    return Stage.model_validate(stage_of(Method.KTO, **fields))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


def response_log_probabilities(model: Any, rows: Any, responses: str) -> NDArray[np.float64]:
    """Log-probability of each row's response in the column ``responses``, given its prompt. Shape: (rows,)."""
    import torch

    sums = []
    for prompt, response in zip(rows["prompt_ids"], rows[responses], strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].double().numpy()
        normalized = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        sums.append(normalized[np.arange(len(response)), response].sum())
    return np.array(sums)


@pytest.mark.parametrize("loss", list(KtoLoss))
def test_loss_is_the_papers(tiny_model: Path, tmp_path: Path, loss: KtoLoss) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    beta = 0.2
    member = {"loss": loss.value, "beta": beta, "desirableWeight": 0.5, "undesirableWeight": 2.0}
    trainer = make_trainer(
        Method.KTO, tiny.labelled_rows(MICRO_BATCH), tiny_model, tmp_path, kto=member, training=ONE_BATCH
    )
    torch.manual_seed(1)
    for parameter in trainer.model.parameters():  # a policy that has moved away from its reference
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    trainer.model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    result = trainer.compute_loss(trainer.model, batch)
    result.backward()
    assert all(parameter.grad.isfinite().all() for parameter in trainer.model.parameters())

    rows, reference = trainer.train_dataset, AutoModelForCausalLM.from_pretrained(tiny_model)
    policy = AutoModelForCausalLM.from_pretrained(tiny_model)
    policy.load_state_dict(trainer.model.state_dict())

    def ratios(responses: str) -> NDArray[np.float64]:
        return response_log_probabilities(policy, rows, responses) - response_log_probabilities(
            reference, rows, responses
        )

    kl = ratios("KL_completion_ids").mean() if loss is KtoLoss.KTO else 0.0
    assert kl > 0 or loss is not KtoLoss.KTO, "it would be clamped to 0"
    rewards = beta * (ratios("completion_ids") - kl)  # arXiv:2402.01306, eq. 7; arXiv:2408.06266, eq. 7
    values = np.where(rows["label"], 0.5 * (1 - sigmoid(rewards)), 2.0 * (1 - sigmoid(-rewards)))
    assert result.item() == pytest.approx(values.mean(), rel=1e-5)
    assert trainer._metrics["train"]["kl"] == [pytest.approx(kl, rel=1e-4, abs=1e-6)]


def test_start(tiny_model: Path, tmp_path: Path) -> None:
    rows = tiny.labelled_rows(MICRO_BATCH)
    trainer = make_trainer(Method.KTO, rows, tiny_model, tmp_path, training=ONE_BATCH)
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
    assert loss.item() == pytest.approx(0.5 * (3 * 1 + 1 * 3) / 4), "three good rows of weight 1, a bad one of weight 3"
    assert trainer._metrics["train"]["kl"] == [pytest.approx(0, abs=1e-6)]


@pytest.mark.parametrize("dataset", ["train_dataset", "eval_dataset"])
def test_no_row_is_measured_against_itself(tiny_model: Path, tmp_path: Path, dataset: str) -> None:
    count = 3 * MICRO_BATCH + 1
    labelled = tiny.labelled_rows(count)
    trainer = make_trainer(Method.KTO, labelled, tiny_model, tmp_path, held_out=labelled, training=ONE_BATCH)
    rows = getattr(trainer, dataset)
    assert len(rows) == count - 1, "the last row would be alone in its micro batch"
    for start in range(0, len(rows), MICRO_BATCH):
        batch = rows[start : start + MICRO_BATCH]
        assert sorted(batch["KL_completion_ids"]) == sorted(batch["completion_ids"])
        pairs = zip(batch["KL_completion_ids"], batch["completion_ids"], strict=True)
        assert all(other != own for other, own in pairs)


def test_rows_are_shuffled_once_and_stay_in_their_micro_batch(tiny_model: Path, tmp_path: Path) -> None:
    labelled = tiny.labelled_rows(8)
    trainer = make_trainer(Method.KTO, labelled, tiny_model, tmp_path, training=ONE_BATCH)
    rows = trainer.train_dataset
    assert sorted(map(str, rows["prompt"])) == sorted(str(row["prompt"]) for row in labelled)
    assert list(rows["prompt"]) != [row["prompt"] for row in labelled]
    for epoch in range(2):
        loader = trainer.get_train_dataloader()
        loader.set_epoch(epoch)
        sampled = [ids.tolist() for batch in loader for ids in batch["input_ids"]]
        assert [ids[: len(prompt)] for ids, prompt in zip(sampled, rows["prompt_ids"], strict=True)] == rows[
            "prompt_ids"
        ][:]


@pytest.mark.parametrize(
    ("desirable", "total", "weights"), [(5, 10, (1, 1)), (10, 50, (4, 1)), (90, 100, (1, 9)), (1, 2, (1, 1))]
)
def test_weights_balance_the_labels(desirable: int, total: int, weights: tuple[float, float]) -> None:
    found = kto.balanced_weights(desirable, total)
    assert found == pytest.approx(weights)
    assert found.desirable * desirable == pytest.approx(found.undesirable * (total - desirable))


def test_weights_of_the_stage_win(tiny_model: Path, tmp_path: Path) -> None:
    rows = tiny.labelled_rows(8)
    member = {"desirableWeight": 1.5, "undesirableWeight": 1.0}
    assert make_trainer(Method.KTO, rows, tiny_model, tmp_path, kto=member).args.desirable_weight == 1.5
    chosen = make_trainer(Method.KTO, rows, tiny_model, tmp_path).args
    assert (chosen.desirable_weight, chosen.undesirable_weight) == (1, 3)


@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("adapter", [None, {"lora": {"rank": 2}}])
def test_references(tiny_model: Path, tmp_path: Path, adapter: dict[str, Any] | None, precompute: bool) -> None:
    """Whatever model is the reference, and however it is held: rewards are measured against that one."""
    tiny.save_model(tmp_path, seed=1)
    rows = tiny.labelled_rows(MICRO_BATCH)

    def reward_at_start(**options: Any) -> float:
        member = {"precomputeReference": precompute}
        trainer = make_trainer(
            Method.KTO, rows, tiny_model, tmp_path, training=ONE_BATCH, kto=member, adapter=adapter, **options
        )
        assert (trainer.ref_model is None) == (precompute or (adapter is not None and not options))
        trainer.model.train()
        trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
        return abs(float(trainer._metrics["train"]["rewards/chosen"][0]))

    assert reward_at_start() == pytest.approx(0, abs=1e-6)
    assert reward_at_start(models={"kto.reference": str(tmp_path)}) > 0.01


@pytest.mark.parametrize(("good", "kind"), [(False, "bad"), (True, "good")])
def test_labels_that_are_all_alike_are_refused(tiny_model: Path, tmp_path: Path, good: bool, kind: str) -> None:
    rows = [row | {"label": good} for row in tiny.labelled_rows(4)]
    with pytest.raises(DataError) as caught:
        make_trainer(Method.KTO, rows, tiny_model, tmp_path)
    assert caught.value.problems[0].field == "spec.stages[kto].dataset"
    assert f"all 4 rows are labelled {kind}" in caught.value.problems[0].message
    weights = {"desirableWeight": 1, "undesirableWeight": 1}
    assert make_trainer(Method.KTO, rows, tiny_model, tmp_path, kto=weights).args.desirable_weight == 1


def test_prepare_refuses_labels_that_are_all_alike(workspace: Workspace) -> None:
    rows = [{"prompt": f"say {number}", "completion": "kind", "label": True} for number in range(4)]
    job = workspace.write_job({"stages": [stage_of(Method.KTO, dataset={"inline": {"rows": rows}})]})
    with pytest.raises(DataError) as caught:
        prepare.main(RunConfig.model_validate_json(job.read_bytes()), workspace.layout)
    assert [problem.field for problem in caught.value.problems] == ["spec.stages[0].dataset"]


def test_a_max_length_that_leaves_nothing_is_an_error_naming_it(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        make_trainer(Method.KTO, tiny.labelled_rows(4), tiny_model, tmp_path, kto={"maxLength": 8})
    assert str(caught.value.problems[0]) == (
        "spec.stages[kto].kto.maxLength: fewer than 2 of 4 rows have a prompt shorter than 8 tokens: raise it"
    )


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"training": TRAINING | {"microBatchSize": 1}}, "training.microBatchSize", "set it to 2 or more"),
        ({"trainerArgs": {"train_sampling_strategy": "random"}}, "trainerArgs.train_sampling_strategy", "kto.loss"),
        ({"trainerArgs": {"desirable_weight": 2.0}}, "trainerArgs.desirable_weight", "kto.desirableWeight"),
        ({"trainerArgs": {"sync_ref_model": True}}, "trainerArgs.sync_ref_model", "begin again with the first one"),
    ],
)
def test_wrong_options_are_named(fields: dict[str, Any], field: str, message: str) -> None:
    problems = check_options(stage(**fields), RUNTIME, path="spec.stages[0]")
    assert [problem.field for problem in problems] == [f"spec.stages[0].{field}"]
    assert message in problems[0].message


def test_micro_batches_of_one_row_suit_a_loss_without_kl() -> None:
    member = {"loss": "apo_zero_unpaired"}
    one = TRAINING | {"microBatchSize": 1}
    assert check_options(stage(training=one, kto=member), RUNTIME, path="spec.stages[0]") == []
    assert kto.options(stage(training=one, kto=member))["train_sampling_strategy"] == "random"
