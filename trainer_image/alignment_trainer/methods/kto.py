"""Kahneman-Tversky optimization on TRL's KTOTrainer.

The loss ``kto`` measures each response against an estimate of the KL divergence from the reference, which TRL makes
from the responses of a micro batch given each other's prompts. So a micro batch must have two rows or more, and rows
must stay in the micro batch they were prepared in: they are shuffled once, here, instead of before each epoch.

Where policy and reference are equal, as at the start, KL and rewards are 0 and each row loses half its weight.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods.kto import Kto, KtoLoss

from .. import trl_imports
from ..exceptions import DataError
from .inputs import TrainerInputs

OWNERS: Final = {
    "beta": "kto.beta",
    "loss_type": "kto.loss",
    "desirable_weight": "kto.desirableWeight",
    "undesirable_weight": "kto.undesirableWeight",
    "max_length": "kto.maxLength",
    "precompute_ref_log_probs": "kto.precomputeReference",
    "train_sampling_strategy": "kto.loss",
}
PEFT_TASK: Final = "CAUSAL_LM"
REFERENCE: Final = "kto.reference"
LABEL: Final = "label"
_DATASETS: Final = ("train_dataset", "eval_dataset")

config_class = trl_imports.kto_config


class Weights(NamedTuple):
    """Weights of the loss of good (desirable) and bad (undesirable) responses."""

    desirable: float
    undesirable: float


def options(stage: Stage) -> dict[str, Any]:
    """KTOConfig options of the stage's ``kto`` member; weights that it leaves open follow from the rows."""
    kto = _member(stage)
    given = _given_weights(kto)
    weights = {} if given is None else {"desirable_weight": given.desirable, "undesirable_weight": given.undesirable}
    return weights | {
        "beta": kto.beta,
        "loss_type": kto.loss.value,
        "max_length": kto.max_length,
        "precompute_ref_log_probs": kto.precompute_reference,
        "train_sampling_strategy": "sequential" if _estimates_kl(kto) else "random",
    }


def check(stage: Stage, path: str) -> list[Problem]:
    """Refuse micro batches of one row, which have no other prompt, and a reference that a resumed run would lose."""
    problems = []
    if _estimates_kl(_member(stage)) and stage.training.micro_batch_size == 1:
        message = (
            "1 is too small for the loss kto, which estimates the KL divergence from the responses of a micro batch "
            "given each other's prompts: set it to 2 or more, or kto.loss to apo_zero_unpaired"
        )
        problems.append(Problem(field=f"{path}.training.microBatchSize", message=message))
    if (stage.trainer_args or {}).get("sync_ref_model"):
        message = "moves the reference, and a resumed run would begin again with the first one: remove it"
        problems.append(Problem(field=f"{path}.trainerArgs.sync_ref_model", message=message))
    return problems


def make_trainer(inputs: TrainerInputs) -> Any:
    """The KTOTrainer on shuffled rows, with weights that balance their labels unless the stage sets them.

    Raises:
        DataError: the labels are all alike and no weights are set, or maxLength leaves too few rows.
    """
    from . import reference

    kto, config = _member(inputs.stage), inputs.config
    if _given_weights(kto) is None:
        _balance(inputs)
    arguments = inputs.keyword_arguments() | {"ref_model": reference.load(inputs, REFERENCE)}
    if _estimates_kl(kto):
        # Rows of a prompt stand side by side where they were made from pairs, and must not be measured by each other.
        arguments |= {name: _shuffled(arguments[name], config) for name in _DATASETS if arguments[name] is not None}
    trainer = trl_imports.kto_trainer()(**arguments)
    if kto.precompute_reference:
        reference.let_go(trainer)
    if _estimates_kl(kto):
        for name in _DATASETS:
            setattr(trainer, name, _without_a_lone_row(getattr(trainer, name), config.per_device_train_batch_size))
    needed = 2 if _estimates_kl(kto) else 1
    if len(trainer.train_dataset) < needed:
        message = (
            f"fewer than {needed} of {len(inputs.train_dataset)} rows have a prompt shorter than {kto.max_length} "
            "tokens: raise it"
        )
        raise DataError(message, [Problem(field=f"spec.stages[{inputs.stage.name}].kto.maxLength", message=message)])
    return trainer


def row_problems(stage: Stage, rows: Any, path: str) -> list[Problem]:
    """Refuse labels that are all alike, unless the stage sets weights and so says that it means it.

    Args:
        stage: the stage.
        rows: its prepared training rows.
        path: path of the stage in the manifest.
    """
    desirable = _desirable(rows)
    if 0 < desirable < len(rows) or _given_weights(_member(stage)) is not None:
        return []
    message = (
        f"all {len(rows)} rows are labelled {'good' if desirable else 'bad'}, and KTO learns from the difference: add "
        "rows of the other kind, or set kto.desirableWeight and kto.undesirableWeight to train on one"
    )
    return [Problem(field=f"{path}.dataset", message=message)]


def balanced_weights(desirable: int, total: int) -> Weights:
    """Weights with which good and bad rows weigh the same in total, the more frequent kind weighing 1.

    The paper (arXiv:2402.01306, eq. 8) asks for a ratio of the totals, good to bad, from 1 to 4/3; this is 1.

    Args:
        desirable: how many rows are labelled good; neither none nor all.
        total: how many rows there are.
    """
    undesirable = total - desirable
    more = max(desirable, undesirable)
    return Weights(more / desirable, more / undesirable)


def _member(stage: Stage) -> Kto:
    if stage.kto is None:
        raise ValueError(f"stage {stage.name} is not a kto stage")
    return stage.kto


def _estimates_kl(kto: Kto) -> bool:
    return kto.loss is KtoLoss.KTO


def _given_weights(kto: Kto) -> Weights | None:
    if kto.desirable_weight is None or kto.undesirable_weight is None:
        return None
    return Weights(kto.desirable_weight, kto.undesirable_weight)


def _balance(inputs: TrainerInputs) -> None:
    """Set the weights that follow from the labels."""
    rows, stage = inputs.train_dataset, inputs.stage
    problems = row_problems(stage, rows, f"spec.stages[{stage.name}]")
    if problems:
        raise DataError("the labels are all alike", problems)
    inputs.config.desirable_weight, inputs.config.undesirable_weight = balanced_weights(_desirable(rows), len(rows))


def _shuffled(rows: Any, config: Any) -> Any:
    seed = config.seed if config.data_seed is None else config.data_seed
    return rows.shuffle(seed=seed, keep_in_memory=True)


def _without_a_lone_row(rows: Any, micro_batch_size: int) -> Any:
    """The rows without the last one if it is alone in its micro batch, where it would be measured against itself."""
    if rows is None or len(rows) < 2 or len(rows) % micro_batch_size != 1:
        return rows
    return rows.select(range(len(rows) - 1))


def _desirable(rows: Any) -> int:
    """How many rows are labelled good."""
    return sum(rows[LABEL][:])  # the column as a whole: taken row by row, a million takes seconds
