"""What a job names outside of itself: models, ConfigMaps, Secrets and Pod templates, each with its path.

The one list from which validation, the operator's Pods and Prepare's downloads are made: a member that can name a
model is added here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from .alignment_job import AlignmentJobSpec, Stage
from .dataset import RowSource, field_below
from .model import JobModel, ModelSource, SecretKeyReference
from .promotion import Promotion
from .runtime import PodTemplate
from .status import ResolvedModel


class ModelKind(Enum):
    """What a model is used as."""

    LANGUAGE_MODEL = "a language model"
    REWARD_MODEL = "a reward model"
    CLASSIFIER = "a classifier"
    ANY = "a model"


class ModelUse(NamedTuple):
    """A model that a stage uses.

    Attributes:
        field: path below the stage, such as ``dpo.reference``.
        source: where the model comes from.
        kind: what it is used as.
    """

    field: str
    source: ModelSource
    kind: ModelKind


class ConfigMapUse(NamedTuple):
    """A key of a ConfigMap that a stage reads.

    Attributes:
        name: name of the ConfigMap.
        key: its key.
        name_field: path of the name below the stage.
        key_field: path of the key below the stage.
    """

    name: str
    key: str
    name_field: str
    key_field: str


def pod_templates(spec: AlignmentJobSpec) -> Iterator[tuple[str, PodTemplate]]:
    """Every Pod template of the job, with its path in the manifest."""
    yield "spec.prepare.podTemplate", spec.prepare.pod_template
    yield "spec.runtime.podTemplate", spec.runtime.pod_template
    for index, stage in enumerate(spec.stages):
        if stage.runtime is not None:
            yield f"spec.stages[{index}].runtime.podTemplate", stage.runtime.pod_template


def models(stage: Stage) -> Iterator[ModelUse]:
    """Every model that the stage names."""

    def of(field: str, source: ModelSource | None, kind: ModelKind) -> Iterator[ModelUse]:
        if source is not None:
            yield ModelUse(field, source, kind)

    language, reward = ModelKind.LANGUAGE_MODEL, ModelKind.REWARD_MODEL
    yield from of("model", stage.model, language)
    if stage.dpo is not None:
        yield from of("dpo.reference", stage.dpo.reference, language)
    if stage.kto is not None:
        yield from of("kto.reference", stage.kto.reference, language)
    if stage.online is not None:
        for index, term in enumerate(stage.online.rewards):
            yield from of(f"{stage.method}.rewards[{index}].rewardModel", term.reward_model, reward)
    if stage.ppo is not None:
        yield from of("ppo.value.model", stage.ppo.value.model, ModelKind.ANY)
    if stage.evaluate is not None:
        for field, candidate in stage.evaluate.candidate_fields().values():
            yield from of(f"evaluate.{field}", candidate, language)
        yield from of("evaluate.baseline", stage.evaluate.baseline, language)
        for index, judge in enumerate(stage.evaluate.judges):
            yield from of(f"evaluate.judges[{index}].rewardModel", judge.reward_model, reward)
        for index, classifier in enumerate(stage.evaluate.measures.classifiers):
            yield from of(f"evaluate.measures.classifiers[{index}].model", classifier.model, ModelKind.CLASSIFIER)


def row_sources(stage: Stage) -> Iterator[tuple[str, RowSource]]:
    """The places that the stage's rows come from, each with its path below the stage."""
    for path, source in stage.dataset.sources():
        yield field_below("dataset", path), source
    for index, text in enumerate(stage.evaluate.measures.texts if stage.evaluate is not None else ()):
        yield f"evaluate.measures.texts[{index}]", text


def data_config_maps(stage: Stage) -> Iterator[ConfigMapUse]:
    """The ConfigMaps that the stage's data comes from; Prepare alone reads them."""
    for path, source in row_sources(stage):
        if source.config_map is not None:
            field = f"{path}.configMap"
            reference = source.config_map
            yield ConfigMapUse(reference.name, reference.key, f"{field}.name", f"{field}.key")


def code_config_maps(stage: Stage) -> Iterator[ConfigMapUse]:
    """The ConfigMaps with functions of the user's, which Prepare and the gang run."""
    for index, term in enumerate(stage.online.rewards if stage.online is not None else ()):
        if term.python is not None:
            field = f"{stage.method}.rewards[{index}].python"
            yield ConfigMapUse(term.python.config_map, term.python.key, f"{field}.configMap", f"{field}.key")


def download_secrets(stage: Stage) -> Iterator[SecretKeyReference]:
    """Keys of Secrets that downloads of the stage's models and data need; Prepare alone gets them."""
    for use in models(stage):
        if use.source.hugging_face is not None and use.source.hugging_face.token_secret_ref is not None:
            yield use.source.hugging_face.token_secret_ref
    for _, source in row_sources(stage):
        if source.hugging_face is not None and source.hugging_face.token_secret_ref is not None:
            yield source.hugging_face.token_secret_ref
        if source.s3 is not None and source.s3.credentials_secret is not None:
            yield from keys_of(source.s3.credentials_secret, S3_CREDENTIALS)
    for task in stage.evaluate.measures.tasks if stage.evaluate is not None else ():
        if task.token_secret_ref is not None:
            yield task.token_secret_ref


S3_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys of a Secret with credentials of an S3-compatible store."""


OCI_CREDENTIALS = ("username", "password")
"""Keys of a Secret with credentials of an OCI registry."""


def keys_of(secret: str, keys: tuple[str, ...]) -> Iterator[SecretKeyReference]:
    """References to ``keys`` of one Secret."""
    for key in keys:
        yield SecretKeyReference(name=secret, key=key)


def service_secrets(stage: Stage) -> Iterator[SecretKeyReference]:
    """Keys of Secrets for services that rewards and judges ask: in Prepare, for the dry run, and in the gang."""
    for term in stage.online.rewards if stage.online is not None else ():
        if term.http is not None and term.http.token_secret_ref is not None:
            yield term.http.token_secret_ref
    for judge in stage.evaluate.judges if stage.evaluate is not None else ():
        if judge.llm is not None and judge.llm.token_secret_ref is not None:
            yield judge.llm.token_secret_ref


def promotion_secrets(promotion: Promotion) -> Iterator[SecretKeyReference]:
    """Keys of Secrets for the places that a model is promoted to; the Pod that promotes alone gets them."""
    for place in promotion.to:
        if place.hugging_face is not None:
            yield place.hugging_face.token_secret_ref
        if place.s3 is not None and place.s3.credentials_secret is not None:
            yield from keys_of(place.s3.credentials_secret, S3_CREDENTIALS)
        if place.oci is not None and place.oci.credentials_secret is not None:
            yield from keys_of(place.oci.credentials_secret, OCI_CREDENTIALS)


class JobUse(NamedTuple):
    """A model of another job.

    Attributes:
        field: its path in the manifest.
        source: which job, and which stage of it.
    """

    field: str
    source: JobModel


def job_models(spec: AlignmentJobSpec) -> Iterator[JobUse]:
    """Every model that the job takes from another one."""
    if spec.model is not None and spec.model.from_job is not None:
        yield JobUse("spec.model", spec.model.from_job)
    for index, stage in enumerate(spec.stages):
        for use in models(stage):
            if use.source.from_job is not None:
                yield JobUse(f"spec.stages[{index}].{use.field}", use.source.from_job)


def with_job_models(spec: AlignmentJobSpec, models: Iterable[ResolvedModel]) -> AlignmentJobSpec:
    """``spec`` with the folders of ``models`` in place of the references to other jobs that they are of.

    Fields that ``spec`` does not set stay unset.

    Raises:
        pydantic.ValidationError: a model does not lie in the workspace.
    """
    found = tuple(models)
    if not found:
        return spec
    content: Any = {"spec": spec.model_dump(mode="json", by_alias=True, exclude_unset=True)}
    for model in found:
        *above, last = re.findall(r"[^.\[\]]+", model.field)
        holder = content
        for part in above:
            holder = holder[int(part) if part.isdigit() else part]
        holder[last] = {"volume": {"path": model.model.path}}
    return AlignmentJobSpec.model_validate(content["spec"])
