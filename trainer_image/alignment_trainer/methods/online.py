"""What the methods share that learn from their own responses: options of generation and rewards, and their checks."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods import OnlineMethod
from alignment_api.v1alpha1.methods.common import ReferenceSync

from .. import rewards, trl_imports
from .inputs import TrainerInputs
from .rollouts import resumable

SHARED_OWNERS: Final[Mapping[str, str]] = {
    "max_completion_length": "maxCompletionLength",
    "temperature": "temperature",
    "top_p": "topP",
    "reward_weights": "rewards",
}
"""TRL options of every online method -> the field of the method's member that is meant."""

SYNC_OWNERS: Final[Mapping[str, str]] = dict.fromkeys(
    ("sync_ref_model", "ref_model_sync_steps", "ref_model_mixup_alpha"), "syncReference"
)
"""The same of the methods whose reference can follow the policy."""

_CHOICES: Final[Mapping[str, frozenset[str]]] = {
    "importance_sampling_level": frozenset({"token", "sequence"}),
    "multi_objective_aggregation": frozenset({"sum_then_normalize", "normalize_then_sum"}),
    "vllm_mode": frozenset({"server", "colocate"}),
    "vllm_importance_sampling_mode": frozenset({"token_truncate", "token_mask", "sequence_truncate", "sequence_mask"}),
}
"""Options whose values TRL looks at only when it computes with them, hours into a stage at worst."""


def owners(member: str, fields: Mapping[str, str]) -> dict[str, str]:
    """TRL options that a method sets from its own fields -> path of the field below the stage.

    Args:
        member: the method's member of the stage, such as ``grpo``.
        fields: the method's own options -> name of the field; those that all online methods share are added.
    """
    paths = {option: f"{member}.{field}" for option, field in {**SHARED_OWNERS, **fields}.items()}
    # TRL takes one of the two; this one has the same meaning on gangs of every size.
    return paths | {"steps_per_generation": "trainerArgs.generation_batch_size"}


def options(stage: Stage) -> dict[str, Any]:
    """TRL options of generation, rewards and batches.

    A batch of responses is generated for one optimizer step, or with several iterations for as many. Its size is given
    explicitly because TRL would derive it from the number of processes, and Prepare has but one.

    Held-out prompts get one response each: their mean reward needs no groups, and takes a fraction of the time.
    """
    method, sync = member(stage), _sync(stage)
    chosen = {
        "max_completion_length": method.max_completion_length,
        "temperature": method.temperature,
        "top_p": method.top_p,
        "reward_weights": rewards.weights(stage),
        "generation_batch_size": stage.training.global_batch_size,
        "num_generations_eval": 1,
        "remove_unused_columns": False,  # the reward functions read them
    }
    if sync is not None:
        chosen["sync_ref_model"] = True
        chosen["ref_model_sync_steps"] = sync.every_steps
        chosen["ref_model_mixup_alpha"] = sync.mixup
    return chosen


def member(stage: Stage) -> OnlineMethod:
    """The stage's online method.

    Raises:
        ValueError: it has none.
    """
    if stage.online is None:
        raise ValueError(f"stage {stage.name} does not learn from its own responses")
    return stage.online


def check(stage: Stage, path: str) -> list[Problem]:
    """Options that TRL would refuse only in the gang.

    Args:
        stage: the stage.
        path: its path in the manifest.
    """
    arguments = stage.trainer_args or {}
    problems = []

    def refuse(option: str, message: str) -> None:
        problems.append(Problem(field=f"{path}.trainerArgs.{option}", message=message))

    for option, values in _CHOICES.items():
        if option in arguments and arguments[option] not in values:
            refuse(option, f"{arguments[option]!r} is not one of {', '.join(sorted(values))}")
    if arguments.get("remove_unused_columns"):
        refuse("remove_unused_columns", "reward functions would not see the dataset's columns: remove it")
    if arguments.get("use_vllm") and importlib.util.find_spec("vllm") is None:
        refuse("use_vllm", "the trainer image has no vLLM: build one that has it, or remove this option")
    if stage.adapter is not None and _sync(stage) is not None:
        message = "with an adapter the reference is the frozen base, which cannot follow: remove it, or the adapter"
        problems.append(Problem(field=f"{path}.{stage.method}.syncReference", message=message))
    return problems


def make_trainer(trainer_class: type[Any], inputs: TrainerInputs, **own: Any) -> Any:
    """A TRL trainer of responses, on the stage's reward functions.

    Args:
        trainer_class: TRL's GRPOTrainer or RLOOTrainer, or a subclass.
        inputs: what it is built from.
        own: arguments that the subclass has beside TRL's.
    """
    functions = rewards.functions(inputs.stage, inputs.models, inputs.tokenizer, inputs.device, path=inputs.path)
    for function in functions:
        inputs.closing.callback(function.close)
    arguments = {**inputs.keyword_arguments(), "reward_funcs": functions, **own}
    sync = _sync(inputs.stage)
    if sync is None:
        return resumable(trainer_class)(**arguments)
    from . import reference

    following = reference.FollowingReference(sync.every_steps, sync.mixup)
    arguments["callbacks"] = [following, *inputs.callbacks]
    trainer = resumable(trainer_class)(**arguments)
    trainer.remove_callback(trl_imports.sync_ref_model_callback())
    following.trainer = trainer
    reached = reference.load(inputs, f"{inputs.stage.method}.reference", follows_the_policy=True)
    if reached is not None:  # TRL takes no reference, it loads the model the stage starts from
        reference.mix(reached, trainer.accelerator.unwrap_model(trainer.ref_model), 1.0)
    return trainer


def _sync(stage: Stage) -> ReferenceSync | None:
    method = stage.grpo or stage.rloo
    return method.sync_reference if method is not None else None
