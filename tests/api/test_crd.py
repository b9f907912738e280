"""The CustomResourceDefinition on a real API server: accepted, small enough, shown well."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from alignment_api.v1alpha1 import GROUP, PLURAL

from .client import CRD_PATH, AlignmentJobs, Kubectl
from .control_plane import ControlPlane
from .manifests import load

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module")
def definition(control_plane: ControlPlane, jobs: AlignmentJobs) -> dict[str, Any]:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}"
    return control_plane.request("GET", path)


def test_every_condition_of_the_definition_is_good(definition: dict[str, Any]) -> None:
    conditions = {condition["type"]: condition["status"] for condition in definition["status"]["conditions"]}
    # NonStructuralSchema appears only when the schema is not structural.
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_client_side_apply_keeps_the_whole_definition_in_its_annotation(definition: dict[str, Any]) -> None:
    applied = json.loads(definition["metadata"]["annotations"][_LAST_APPLIED])
    assert applied["spec"] == yaml.safe_load(CRD_PATH.read_text())["spec"]


def test_client_side_apply_has_room_to_spare(definition: dict[str, Any]) -> None:
    """`kubectl apply` keeps what it applied in an annotation, and the API server takes 256 KiB of annotations."""
    assert len(definition["metadata"]["annotations"][_LAST_APPLIED].encode()) < 160 * 1024


def test_the_api_server_changes_nothing_in_the_schema(definition: dict[str, Any]) -> None:
    """Else a GitOps tool would see drift for ever."""
    [stored] = definition["spec"]["versions"]
    [written] = yaml.safe_load(CRD_PATH.read_text())["spec"]["versions"]
    assert stored == written


def test_get_shows_the_columns_people_ask_for(jobs: AlignmentJobs, kubectl: Kubectl) -> None:
    jobs.create(load("minimal"))
    jobs.apply_status(
        "minimal",
        {
            "phase": "Running",
            "restarts": 1,
            "current": {"stage": "dpo", "method": "dpo", "step": "120/500", "loss": "0.4213", "eta": "12m"},
            "conditions": [
                {
                    "type": "Promoted",
                    "status": "True",
                    "reason": "GatesPassed",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        },
        "test",
    )
    header, row = kubectl("get", "aj", "minimal").splitlines()
    assert header.split() == ["NAME", "METHOD", "STAGE", "PHASE", "STEP", "LOSS", "ETA", "RESTARTS", "AGE"]
    assert row.split()[:-1] == ["minimal", "dpo", "dpo", "Running", "120/500", "0.4213", "12m", "1"]
    header, row = kubectl("get", "alignment", "minimal", "--output=wide").splitlines()
    assert (header.split()[-1], row.split()[-1]) == ("PROMOTED", "True")
    jobs.delete("minimal")


def test_explain_describes_fields(jobs: AlignmentJobs, kubectl: Kubectl) -> None:
    assert "kept near the reference" in kubectl("explain", "alignmentjobs.spec.stages.dpo.beta")
