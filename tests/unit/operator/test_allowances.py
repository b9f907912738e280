"""What lifts the restricted profile is refused unless the administrator allows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alignment_api.conditions import ConditionType
from alignment_api.v1alpha1 import AlignmentJobSpec, JobPhase, StagePhase
from alignment_operator.planning.allowances import Allowances, forbidden

from .manifests import SETTINGS, pipeline_spec
from .scene import Scene

_HOST_PATH = {"name": "models", "mountPath": "/models", "hostPath": {"path": "/mnt/models/llama"}}

# What a Pod template may say, the field that is refused, the allowance that lets it pass, and what the Pod then has.
ASKED: dict[str, tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]] = {
    "hostNetwork": (
        {"hostNetwork": True},
        "hostNetwork",
        {"hostNetwork": True},
        {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
    ),
    "privileged": ({"privileged": True}, "privileged", {"privileged": True}, {}),
    "serviceAccounts": (
        {"serviceAccountName": "reader"},
        "serviceAccountName",
        {"serviceAccounts": ["other", "reader"]},
        {"serviceAccountName": "reader", "automountServiceAccountToken": False},
    ),
    "hostPaths": ({"volumes": [_HOST_PATH]}, "volumes[0].hostPath.path", {"hostPaths": ["/mnt/models"]}, {}),
}


def _allowances(allowed: dict[str, Any]) -> Allowances:
    paths = [{"path": path, "writable": True} for path in allowed.get("hostPaths", ())]
    return Allowances.model_validate(allowed | ({"hostPaths": paths} if paths else {}))


def _with_template(where: str, template: dict[str, Any]) -> dict[str, Any]:
    spec = pipeline_spec()
    if where == "spec.prepare":
        spec["prepare"] = {"podTemplate": template}
    elif where == "spec.runtime":
        spec["runtime"] = {"nodes": 2, "podTemplate": template}
    else:
        spec["stages"][1]["runtime"] = {"nodes": 1, "podTemplate": template}
    return spec


@pytest.mark.parametrize("where", ["spec.prepare", "spec.runtime", "spec.stages[1].runtime"])
@pytest.mark.parametrize("allowance", ASKED)
def test_refused_by_name_without_the_allowance(where: str, allowance: str) -> None:
    template, field, _, _ = ASKED[allowance]
    scene = Scene(_with_template(where, template))
    plan = scene.reconcile()
    assert not plan.apply
    accepted = scene.condition(ConditionType.ACCEPTED)
    assert (accepted.status, accepted.reason) == ("False", "InvalidSpec")
    assert f"{where}.podTemplate.{field}" in accepted.message
    assert f"allowances.{allowance}" in accepted.message
    assert scene.status.phase is JobPhase.FAILED


@pytest.mark.parametrize("allowance", ASKED)
def test_built_with_the_allowance(allowance: str) -> None:
    template, _, allowed, expected = ASKED[allowance]
    scene = Scene(_with_template("spec.prepare", template))
    scene.settings = replace(SETTINGS, allowances=_allowances(allowed))
    plan = scene.reconcile()
    pod = plan.apply[-1]["spec"]["template"]["spec"]
    assert expected.items() <= pod.items()
    security = pod["containers"][0]["securityContext"]
    assert security.get("privileged", False) is (allowance == "privileged")
    if allowance == "hostPaths":
        assert {"name": "user-models", "hostPath": {"path": "/mnt/models/llama"}} in pod["volumes"]
        assert {"name": "user-models", "mountPath": "/models"} in pod["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(
    ("path", "read_only", "refused"),
    [
        ("/mnt/models", True, None),
        ("/mnt/models/a/b", True, None),
        ("/mnt/models", False, "readOnly"),
        ("/mnt/modelsextra", True, "hostPath.path"),
        ("/mnt", True, "hostPath.path"),
        ("/scratch/x", False, None),
    ],
)
def test_paths_of_the_node_are_allowed_with_all_below(path: str, read_only: bool, refused: str | None) -> None:
    volume = {"name": "v", "mountPath": "/v", "readOnly": read_only, "hostPath": {"path": path}}
    spec = AlignmentJobSpec.model_validate(_with_template("spec.runtime", {"volumes": [volume]}))
    allowed = Allowances.model_validate(
        {"hostPaths": [{"path": "/mnt/models"}, {"path": "/scratch", "writable": True}]}
    )
    fields = [problem.field for problem in forbidden(spec, allowed)]
    assert fields == ([f"spec.runtime.podTemplate.volumes[0].{refused}"] if refused else [])


def test_volumes_of_the_namespace_need_no_allowance() -> None:
    volumes = [
        {"name": "claim", "mountPath": "/a", "readOnly": True, "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "config", "mountPath": "/b", "configMap": {"name": "settings"}},
        {"name": "secret", "mountPath": "/c", "secret": {"secretName": "keys"}},
        {"name": "room", "mountPath": "/d", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    plan = Scene(_with_template("spec.prepare", {"volumes": volumes})).reconcile()
    pod = plan.apply[-1]["spec"]["template"]["spec"]
    assert pod["volumes"][-4:] == [
        {"name": "user-claim", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "user-config", "configMap": {"name": "settings"}},
        {"name": "user-secret", "secret": {"secretName": "keys"}},
        {"name": "user-room", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    assert pod["containers"][0]["volumeMounts"][-4] == {"name": "user-claim", "mountPath": "/a", "readOnly": True}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (
            {"model": {"volume": {"path": "models/tiny", "trustRemoteCode": True}}},
            "spec.model.volume.trustRemoteCode",
        ),
        (
            {"model": {"huggingFace": {"repository": "a/b", "trustRemoteCode": True}}},
            "spec.model.huggingFace.trustRemoteCode",
        ),
    ],
)
def test_code_of_models_needs_an_allowance(change: dict[str, Any], field: str) -> None:
    spec = AlignmentJobSpec.model_validate(pipeline_spec(**change))
    [problem] = forbidden(spec, Allowances())
    assert problem.field == field
    assert "allowances.trustRemoteCode" in problem.message
    assert forbidden(spec, Allowances(trust_remote_code=True)) == []


def test_code_of_a_stages_own_model_needs_it_too() -> None:
    spec = pipeline_spec()
    spec["stages"][2]["dpo"] = {"reference": {"volume": {"path": "models/other", "trustRemoteCode": True}}}
    [problem] = forbidden(AlignmentJobSpec.model_validate(spec), Allowances())
    assert problem.field == "spec.stages[2].dpo.reference.volume.trustRemoteCode"


class TestWithdrawn:
    """An allowance that is withdrawn while a job is under way."""

    @pytest.fixture
    def scene(self) -> Scene:
        scene = Scene(_with_template("spec.runtime", {"hostNetwork": True}))
        scene.settings = replace(SETTINGS, allowances=Allowances(host_network=True))
        scene.until_first_gang()
        scene.run_pods()
        scene.reconcile()
        assert scene.stage("sft").phase is StagePhase.RUNNING
        scene.settings = SETTINGS
        return scene

    def test_what_runs_goes_on_and_nothing_new_starts(self, scene: Scene) -> None:
        plan = scene.reconcile()
        assert not plan.delete
        assert scene.stage("sft").phase is StagePhase.RUNNING
        plan = scene.run_stage("-sft-")
        assert scene.stage("sft").phase is StagePhase.SUCCEEDED
        assert not plan.apply
        assert scene.holds(ConditionType.ACCEPTED)
        stalled = scene.condition(ConditionType.STALLED)
        assert (stalled.status, stalled.reason) == ("True", "NotAllowed")
        assert "spec.runtime.podTemplate.hostNetwork" in stalled.message

    def test_a_gang_that_fails_is_not_started_again_until_it_is_allowed(self, scene: Scene) -> None:
        scene.end("-sft-", 137)
        for _ in range(3):
            plan = scene.reconcile()
            scene.cluster.pass_time(600)
            assert not plan.apply
        assert scene.stage("sft").reason == "NotAllowed"
        scene.settings = replace(SETTINGS, allowances=Allowances(host_network=True))
        scene.reconcile()
        assert scene.stage("sft").attempt == 2
