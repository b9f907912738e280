"""API server and models agree on random manifests: what the one accepts, the other reads, with the same defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hypothesis import HealthCheck, Phase, given, settings

from alignment_api.crd.schema import structural_schema
from alignment_api.v1alpha1 import AlignmentJob, AlignmentJobSpec
from alignment_api.v1alpha1.base import ApiModel
from alignment_api.v1alpha1.validation import validate_spec

from .client import AlignmentJobs
from .control_plane import ApiError
from .manifests import Manifest, load
from .strategies import documents

_SPECS = documents(structural_schema(AlignmentJobSpec))


def _models(base: type[ApiModel]) -> Iterator[type[ApiModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


# What only CEL refuses; the strategy does not know it. "must be" stands for bounds with a fraction.
_RULES = "|".join(
    ["must be [<>]", *(re.escape(rule.message) for model in _models(ApiModel) for rule in model.cel_rules)]
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking would take minutes of API calls
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(spec=_SPECS)
def test_what_the_api_server_accepts_the_models_read(jobs: AlignmentJobs, spec: Manifest) -> None:
    manifest = load("minimal") | {"spec": spec}
    try:
        stored = jobs.create(manifest, dry_run=True)
    except ApiError as refusal:
        if re.search(_RULES, refusal.message):
            return
        raise
    parsed = AlignmentJob.model_validate(manifest).spec
    assert stored["spec"] == parsed.to_yaml_dict()
    validate_spec(parsed)  # finds problems or none, and never fails itself
