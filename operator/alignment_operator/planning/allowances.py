"""What the administrator allows jobs beyond the restricted Pod security profile, and what of it a job asks for.

Asked when a job is accepted, and again at each new attempt: what is forbidden meanwhile starts nothing any more, and
what runs already goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import AlignmentJobSpec, BaseModelSource, ModelSource, uses
from alignment_api.v1alpha1.base import ApiModel, ObjectName
from alignment_api.v1alpha1.runtime import AbsolutePath, PodTemplate, PodVolume


class AllowedHostPath(ApiModel):
    """A path on the nodes, with everything below it."""

    path: AbsolutePath
    writable: bool = False


class Allowances(ApiModel):
    """The chart value ``allowances``; by default nothing."""

    host_network: bool = False
    privileged: bool = False
    host_paths: tuple[AllowedHostPath, ...] = ()
    service_accounts: tuple[ObjectName, ...] = ()
    trust_remote_code: bool = False


def forbidden(spec: AlignmentJobSpec, allowances: Allowances) -> list[Problem]:
    """All that the job asks for and may not have."""
    templates = [
        problem for field, template in uses.pod_templates(spec) for problem in _of_template(field, template, allowances)
    ]
    return [*_of_models(spec, allowances), *templates]


def forbidden_to_prepare(spec: AlignmentJobSpec, allowances: Allowances) -> list[Problem]:
    """What Prepare may not start with."""
    return [
        *_of_models(spec, allowances),
        *_of_template("spec.prepare.podTemplate", spec.prepare.pod_template, allowances),
    ]


def forbidden_to_stage(spec: AlignmentJobSpec, name: str, allowances: Allowances) -> list[Problem]:
    """What a gang of the stage called ``name`` may not start with."""
    stage = spec.stage(name)
    runtime = "spec.runtime" if stage.runtime is None else f"spec.stages[{spec.stages.index(stage)}].runtime"
    template = spec.runtime_of(stage).pod_template
    return [*_of_models(spec, allowances), *_of_template(f"{runtime}.podTemplate", template, allowances)]


def _of_models(spec: AlignmentJobSpec, allowances: Allowances) -> Iterator[Problem]:
    """Models that may not bring code. A stage's model keeps the code of the one it descends from."""
    if allowances.trust_remote_code:
        return
    sources: list[tuple[str, BaseModelSource | ModelSource]] = []
    if spec.model is not None:
        sources.append(("spec.model", spec.model))
    for index, stage in enumerate(spec.stages):
        sources += [(f"spec.stages[{index}].{use.field}", use.source) for use in uses.models(stage)]
    for field, source in sources:
        for member, model in (("huggingFace", source.hugging_face), ("volume", source.volume)):
            if model is not None and model.trust_remote_code:
                yield _not_allowed(f"{field}.{member}.trustRemoteCode", "true", "trustRemoteCode")


def _of_template(field: str, template: PodTemplate, allowances: Allowances) -> Iterator[Problem]:
    account = template.service_account_name
    if account is not None and account not in allowances.service_accounts:
        yield _not_allowed(f"{field}.serviceAccountName", account, "serviceAccounts")
    if template.host_network and not allowances.host_network:
        yield _not_allowed(f"{field}.hostNetwork", "true", "hostNetwork")
    if template.privileged and not allowances.privileged:
        yield _not_allowed(f"{field}.privileged", "true", "privileged")
    for index, volume in enumerate(template.volumes or ()):
        yield from _of_volume(f"{field}.volumes[{index}]", volume, allowances)


def _of_volume(field: str, volume: PodVolume, allowances: Allowances) -> Iterator[Problem]:
    if volume.host_path is None:
        return
    path = volume.host_path.path
    above = [allowed for allowed in allowances.host_paths if PurePosixPath(path).is_relative_to(allowed.path)]
    if not above:
        yield _not_allowed(f"{field}.hostPath.path", path, "hostPaths")
    elif not volume.read_only and not any(allowed.writable for allowed in above):
        message = f"false is not allowed for {path}, which may only be read here: set it to true"
        yield Problem(field=f"{field}.readOnly", message=message)


def _not_allowed(field: str, value: str, allowance: str) -> Problem:
    message = (
        f"{value} is not allowed here: remove the field, or ask the administrator of the operator to allow it with the "
        f"chart value allowances.{allowance}"
    )
    return Problem(field=field, message=message)
