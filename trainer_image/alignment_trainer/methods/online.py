"""What the methods share that learn from their own responses: options of generation and rewards, and their checks."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods import OnlineMethod

from .. import rewards
from .inputs import TrainerInputs
from .rollouts import resumable

SHARED_OWNERS: Final[Mapping[str, str]] = {
    "max_completion_length": "maxCompletionLength",
    "temperature": "temperature",
    "top_p": "topP",
    "reward_weights": "rewards",
}
"""TRL options of every online method -> the field of the method's member that is meant."""

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
    method = member(stage)
    return {
        "max_completion_length": method.max_completion_length,
        "temperature": method.temperature,
        "top_p": method.top_p,
        "reward_weights": rewards.weights(stage),
        "generation_batch_size": stage.training.global_batch_size,
        "num_generations_eval": 1,
        "remove_unused_columns": False,  # the reward functions read them
    }


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
    if arguments.get("sync_ref_model"):
        if stage.adapter is not None:
            refuse("sync_ref_model", "with an adapter the reference is the frozen base: remove it, or the adapter")
        elif getattr(member(stage), "beta", None) == 0:
            refuse("sync_ref_model", f"without a KL penalty there is no reference: raise {stage.method}.beta")
    if stage.adapter is not None and "lm_head" in (stage.adapter.lora.target_modules or ()):
        message = "lm_head cannot be adapted: probabilities are computed from its weights directly; take it out"
        problems.append(Problem(field=f"{path}.adapter.lora.targetModules", message=message))
    return problems


def make_trainer(trainer_class: type[Any], inputs: TrainerInputs, **own: Any) -> Any:
    """A TRL trainer of responses, on the stage's reward functions.

    Args:
        trainer_class: TRL's GRPOTrainer or RLOOTrainer, or a subclass.
        inputs: what it is built from.
        own: arguments that the subclass has beside TRL's.
    """
    functions = rewards.functions(inputs.stage, inputs.models, inputs.tokenizer, inputs.device)
    for function in functions:
        inputs.closing.callback(function.close)
    return resumable(trainer_class)(**inputs.keyword_arguments(), reward_funcs=functions, **own)
