"""The Job that checks data and configuration on CPU before any gang starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignment_api.contract import CONFIG_MAPS_MOUNT, JobReference, token_variable
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.model import BaseModelSource, ModelSource, SecretKeyReference

from ..planning.observed import Settings
from .metadata import object_metadata, prepare_job_name, prepare_labels
from .pod import PodParts, build_pod_template


def build_prepare_job(job: JobReference, spec: AlignmentJobSpec, attempt: int, settings: Settings) -> dict[str, Any]:
    """Prepare's Job; its Pod alone gets hub tokens and ConfigMap datasets, gangs read what it prepared."""
    labels = prepare_labels(job, attempt)
    parts = PodParts(
        labels=labels,
        arguments=["prepare"],
        template=spec.prepare.pod_template,
        image=spec.runtime.image or settings.trainer_image,
        resources=spec.prepare.resources,
        environment=[_token_environment(reference) for reference in _token_references(spec)],
        volumes=_config_map_volumes(spec),
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": object_metadata(job, prepare_job_name(job, attempt), labels),
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "template": build_pod_template(job, spec, parts, settings),
        },
    }


def _token_references(spec: AlignmentJobSpec) -> list[SecretKeyReference]:
    """Every hub token that a model or dataset of the job names, each once."""
    return list({token_variable(reference): reference for reference in _all_token_references(spec)}.values())


def _all_token_references(spec: AlignmentJobSpec) -> Iterator[SecretKeyReference]:
    for model in _models(spec):
        if model is not None and model.hugging_face is not None and model.hugging_face.token_secret_ref is not None:
            yield model.hugging_face.token_secret_ref
    for stage in spec.stages:
        source = stage.dataset.hugging_face
        if source is not None and source.token_secret_ref is not None:
            yield source.token_secret_ref


def _models(spec: AlignmentJobSpec) -> Iterator[BaseModelSource | ModelSource | None]:
    yield spec.model
    for stage in spec.stages:
        yield stage.model
        if stage.evaluate is not None:
            yield stage.evaluate.candidate
            yield stage.evaluate.baseline
            yield from (judge.reward_model for judge in stage.evaluate.judges)


def _token_environment(reference: SecretKeyReference) -> dict[str, Any]:
    return {
        "name": token_variable(reference),
        "valueFrom": {"secretKeyRef": {"name": reference.name, "key": reference.key}},
    }


def _config_map_volumes(spec: AlignmentJobSpec) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """One volume per ConfigMap, with the keys that datasets read, each once."""
    keys: dict[str, dict[str, None]] = {}
    for stage in spec.stages:
        if stage.dataset.config_map is not None:
            keys.setdefault(stage.dataset.config_map.name, {})[stage.dataset.config_map.key] = None
    return [
        (
            {
                "name": f"config-map-{index}",
                "configMap": {"name": name, "items": [{"key": key, "path": key} for key in sorted(used)]},
            },
            {"name": f"config-map-{index}", "mountPath": str(CONFIG_MAPS_MOUNT / name), "readOnly": True},
        )
        for index, (name, used) in enumerate(sorted(keys.items()))
    ]
