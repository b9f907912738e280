"""What attempts at one stage differ in: arguments, nodes to avoid, queue and PodGroup."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.contract import AttemptShape, JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_operator.builders.affinity import avoiding
from alignment_operator.builders.gang import Gang
from alignment_operator.builders.gang_job import build_gang_job
from alignment_operator.builders.pod_group import build_pod_group
from alignment_operator.planning.policies.avoided_nodes import avoided_nodes
from alignment_operator.planning.policies.shape import fewer_nodes, smaller_micro_batch

from .manifests import SETTINGS, UID, pipeline_spec
from .scene import Scene

JOB = JobReference(namespace="team-a", name="assistant", uid=UID)
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def gang_job(gang: Gang, **fields: Any) -> dict[str, Any]:
    return build_gang_job(JOB, AlignmentJobSpec.model_validate(pipeline_spec(**fields)), gang, SETTINGS)


def arguments(job: dict[str, Any]) -> list[str]:
    found: list[str] = job["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def test_only_what_differs_is_told() -> None:
    as_specified = gang_job(Gang("sft", 1, AttemptShape(2, 1)))
    assert arguments(as_specified)[5:6] == ["--rendezvous-host"]
    assert len(arguments(as_specified)) == 7
    assert "suspend" not in as_specified["spec"]
    shrunk = gang_job(Gang("sft", 3, AttemptShape(1, 4), resumes=True))
    assert arguments(shrunk)[5:] == ["--nodes", "1", "--micro-batch-size", "4", "--resume"]
    assert (shrunk["spec"]["completions"], shrunk["spec"]["parallelism"]) == (1, 1)
    assert "subdomain" not in shrunk["spec"]["template"]["spec"]


def test_every_alternative_of_the_users_affinity_avoids_the_nodes() -> None:
    zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    bad = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    theirs = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [zone, {"matchFields": [bad]}]}}, "podAffinity": {}}
    ours = avoiding(theirs, ("x", "y"))
    away = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in ("x", "y")]
    assert ours["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] == [
        {**zone, "matchFields": away},
        {"matchFields": [bad, *away]},
    ]
    assert ours["podAffinity"] == {}
    assert "matchFields" not in theirs["nodeAffinity"][REQUIRED]["nodeSelectorTerms"][0], "the spec is not changed"


@pytest.mark.parametrize(
    ("wanted", "version", "group", "labels", "annotations"),
    [
        (
            {"coscheduling": {"scheduleTimeoutSeconds": 60}},
            "scheduling.x-k8s.io/v1alpha1",
            {"minMember": 2, "scheduleTimeoutSeconds": 60},
            {"scheduling.x-k8s.io/pod-group"},
            None,
        ),
        (
            {"volcano": {"queue": "research"}},
            "scheduling.volcano.sh/v1beta1",
            {"minMember": 2, "queue": "research"},
            set(),
            {"scheduling.k8s.io/group-name"},
        ),
    ],
)
def test_pods_name_their_pod_group(
    wanted: dict[str, Any], version: str, group: dict[str, Any], labels: set[str], annotations: set[str] | None
) -> None:
    spec = AlignmentJobSpec.model_validate(pipeline_spec(scheduling={"podGroup": wanted}))
    gang = Gang("sft", 1, AttemptShape(2, 1))
    made, job = build_pod_group(JOB, spec, gang), build_gang_job(JOB, spec, gang, SETTINGS)
    assert (made["apiVersion"], made["spec"]) == (version, group)
    metadata = job["spec"]["template"]["metadata"]
    assert {metadata["labels"].get(name) for name in labels} <= {made["metadata"]["name"]}
    assert set(metadata.get("annotations") or {}) == (annotations or set())
    assert all(value == made["metadata"]["name"] for value in (metadata.get("annotations") or {}).values())


class TestShapes:
    """The global batch decides which shapes there are."""

    def spec(self, **stage: Any) -> AlignmentJobSpec:
        fields = pipeline_spec(runtime={"nodes": 8, "minNodes": 2})
        fields["stages"] = [{**fields["stages"][0], "training": {"globalBatchSize": 48, "microBatchSize": 2}, **stage}]
        return AlignmentJobSpec.model_validate(fields)

    @pytest.mark.parametrize(("available", "nodes"), [(7, 6), (5, 4), (4, 4), (3, 3), (2, 2), (1, None), (0, None)])
    def test_nodes_divide_the_batch(self, available: int, nodes: int | None) -> None:
        stage = Scene(pipeline_spec())
        stage.reconcile()
        assert fewer_nodes(self.spec(), stage.stage("sft"), available) == nodes

    def test_kto_keeps_two_rows(self) -> None:
        scene = Scene(pipeline_spec())
        scene.reconcile()
        kto = {"sft": None, "kto": {}, "dataset": {"volume": {"path": "x.jsonl"}}}
        assert smaller_micro_batch(self.spec(**kto), scene.stage("sft")) is None
        assert smaller_micro_batch(self.spec(), scene.stage("sft")) == 1


def test_no_limit_avoids_nothing() -> None:
    policy = AlignmentJobSpec.model_validate(pipeline_spec(runPolicy={"avoidNodeAfterFailures": 0})).run_policy
    assert avoided_nodes({"node-1": 99}, policy) == ()
