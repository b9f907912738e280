"""The AlignmentJob resource: a pipeline of alignment stages."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from .base import ApiModel, CelRule, StageName, set_members
from .dataset import Dataset
from .evaluation import Evaluate
from .guard import Guard
from .methods import Cpo, Dpo, Grpo, Kto, OnlineMethod, Orpo, Ppo, RewardModelling, Rloo, Sft, SimPo
from .model import BaseModelSource, ModelSource, Tokenizer
from .promotion import Promotion
from .run_policy import RunPolicy
from .runtime import Prepare, Runtime, Workspace
from .scheduling import Scheduling
from .status import AlignmentJobStatus
from .training import Adapter, Training

GROUP = "alignment.dev"
VERSION = "v1alpha1"
KIND = "AlignmentJob"
PLURAL = "alignmentjobs"
SHORT_NAME = "aj"


class Method(StrEnum):
    """What a stage does; the values are the names of its one-of members."""

    SFT = "sft"
    REWARD = "reward"
    DPO = "dpo"
    KTO = "kto"
    ORPO = "orpo"
    CPO = "cpo"
    SIMPO = "simpo"
    GRPO = "grpo"
    RLOO = "rloo"
    PPO = "ppo"
    EVALUATE = "evaluate"


TRAINING_METHODS = frozenset(Method) - {Method.EVALUATE}
LANGUAGE_MODEL_METHODS = TRAINING_METHODS - {Method.REWARD}
"""Methods whose stage produces a language model."""
ONLINE_METHODS = frozenset({Method.GRPO, Method.RLOO, Method.PPO})
"""Methods that learn from their own responses to prompts."""


class Stage(ApiModel):
    """One step of the pipeline: a method, its data and its model."""

    one_of: ClassVar[tuple[str, ...]] = tuple(method.value for method in Method)
    list_map_key: ClassVar[str | None] = "name"
    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.evaluate) || (!has(self.adapter) && !has(self.model) && !has(self.trainerArgs) && "
            "!has(self.guard))",
            "an evaluate stage takes no adapter, model, trainerArgs or guard: it names its models as candidate and "
            "baseline",
        ),
        CelRule(
            "has(self.evaluate) || !has(self.dataset) || !has(self.dataset.heldOutFromStage)",
            "dataset.heldOutFromStage is only for evaluate stages: training on held-out rows spoils them",
        ),
        CelRule(
            "!has(self.kto) || self.kto.loss != 'kto' || self.training.microBatchSize > 1",
            "training.microBatchSize must be 2 or more for the loss kto, which estimates the KL divergence within a "
            "micro batch: raise it, or set kto.loss to apo_zero_unpaired",
        ),
    )

    name: StageName = Field(description="Name of the stage, unique within the job.")
    model: ModelSource | None = Field(
        default=None, description="Model the stage starts from. Unset: the pipeline's `spec.model`."
    )
    dataset: Dataset = Field(description="The stage's data.")
    sft: Sft | None = Field(default=None, description="Supervised fine-tuning.")
    reward: RewardModelling | None = Field(default=None, description="Train a reward model.")
    dpo: Dpo | None = Field(default=None, description="Direct preference optimization.")
    kto: Kto | None = Field(default=None, description="Kahneman-Tversky optimization.")
    orpo: Orpo | None = Field(default=None, description="Odds-ratio preference optimization.")
    cpo: Cpo | None = Field(default=None, description="Contrastive preference optimization.")
    simpo: SimPo | None = Field(default=None, description="Simple preference optimization.")
    grpo: Grpo | None = Field(default=None, description="Group-relative policy optimization.")
    rloo: Rloo | None = Field(default=None, description="REINFORCE leave-one-out.")
    ppo: Ppo | None = Field(default=None, description="Proximal policy optimization.")
    evaluate: Evaluate | None = Field(default=None, description="Compare two models and decide on promotion.")
    adapter: Adapter | None = Field(default=None, description="Train an adapter. Unset: all weights are trained.")
    training: Training = Field(default_factory=Training, description="Optimization settings.")
    trainer_args: dict[str, Any] | None = Field(
        default=None,
        description="Further options of the method's TRL config class, by TRL's names. Unknown names are refused by "
        "Prepare; so are options that have a field of their own here.",
    )
    guard: Guard | None = Field(
        default=None, description="When the training is stopped as ruined. Unset: by the method's defaults."
    )
    runtime: Runtime | None = Field(
        default=None, description="The stage's gang, replacing the job's `spec.runtime` as a whole."
    )

    @property
    def method(self) -> Method:
        """The one method this stage is of."""
        return Method(set_members(self, self.one_of)[0])

    @property
    def online(self) -> OnlineMethod | None:
        """The stage's method if it is one that learns from its own responses."""
        return self.grpo or self.rloo or self.ppo


_IMMUTABLE = ("model", "tokenizer", "workspace", "runtime", "prepare", "scheduling", "stages", "promotion")


def _immutable(field: str) -> CelRule:
    return CelRule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"spec.{field} is immutable: create a new AlignmentJob (only suspend and runPolicy may be changed)",
    )


class AlignmentJobSpec(ApiModel):
    """What the user wants: a model, a workspace and the stages of a pipeline."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = tuple(_immutable(field) for field in _IMMUTABLE)

    suspend: bool = Field(
        default=False, description="Stop the job and release its Pods; set back to false, it goes on from checkpoints."
    )
    model: BaseModelSource | None = Field(
        default=None, description="The model the pipeline starts from; a stage may name another."
    )
    tokenizer: Tokenizer = Field(default_factory=Tokenizer, description="Overrides of the tokenizer's own settings.")
    workspace: Workspace = Field(description="Volume for checkpoints, prepared data, models and reports.")
    runtime: Runtime = Field(default_factory=Runtime, description="Every stage's gang, unless the stage has its own.")
    prepare: Prepare = Field(
        default_factory=Prepare, description="The CPU Pod that checks data and configuration before any gang starts."
    )
    scheduling: Scheduling = Field(default_factory=Scheduling, description="How gangs get their nodes.")
    run_policy: RunPolicy = Field(default_factory=RunPolicy, description="Limits on the whole job.")
    stages: Annotated[list[Stage], Field(min_length=1, max_length=16)] = Field(
        description="The pipeline. `fromStage` references make it a directed acyclic graph."
    )

    promotion: Promotion | None = Field(
        default=None, description="What becomes of the candidate whose gates hold. Unset: it stays in the workspace."
    )

    def stage(self, name: str) -> Stage:
        """The stage called ``name``.

        Raises:
            KeyError: there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def promoting_stage(self) -> Stage | None:
        """The evaluate stage whose best candidate is promoted; None if no stage has gates."""
        if self.promotion is not None and self.promotion.stage is not None:
            return self.stage(self.promotion.stage)
        gated = [stage for stage in self.stages if stage.evaluate is not None and stage.evaluate.gates]
        return gated[-1] if gated else None

    def runtime_of(self, stage: Stage) -> Runtime:
        """The runtime that applies to ``stage``."""
        return stage.runtime or self.runtime


class AlignmentJob(ApiModel):
    """An AlignmentJob runs a pipeline of alignment stages (SFT, reward model, DPO, evaluation) on gangs of Pods."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "size(self.metadata.name) <= 63",
            "metadata.name must have at most 63 characters: it is the value of a label on every Pod of the job",
        ),
    )

    api_version: Literal["alignment.dev/v1alpha1"] = Field(default="alignment.dev/v1alpha1")
    kind: Literal["AlignmentJob"] = Field(default="AlignmentJob")
    metadata: dict[str, Any] = Field(default_factory=dict)
    spec: AlignmentJobSpec = Field(description="What the user wants.")
    status: AlignmentJobStatus | None = Field(default=None, description="What the operator observed.")
