"""Queues, pod groups and what is left of ended jobs, against a real API server with the least definitions of others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from alignment_api import labels
from alignment_api.contract import JobReference
from alignment_operator.builders.metadata import pod_group_name
from alignment_operator.cluster.client import Client
from alignment_operator.cluster.queues import Queues

from ..client import Kubectl
from ..control_plane import ApiError, ControlPlane
from .process import OperatorProcess, wait_until
from .team import Manifest, Team, alignment_job

_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def define(plane: ControlPlane, group: str, version: str, kind: str) -> None:
    """Define a kind of objects of which anything is accepted."""
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": _OPEN, "status": _OPEN}}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }
    plane.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    wait_until(f"{kind} is served", lambda: found(plane, f"/apis/{group}/{version}/{plural}"))


def found(plane: ControlPlane, path: str) -> Manifest | None:
    """What a path leads to; None when nothing is there."""
    try:
        return plane.request("GET", path)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def gangs(team: Team, job: Manifest) -> list[Manifest]:
    """The gangs' Jobs, oldest attempt first."""
    found = [one for one in team.find("Job", job) if one["metadata"]["labels"][labels.ROLE] == labels.ROLE_TRAIN]
    return sorted(found, key=lambda one: int(one["metadata"]["labels"][labels.ATTEMPT]))


def prepared(team: Team, manifest: Manifest) -> Manifest:
    """The job, created and with Prepare behind it."""
    team.create_claim()
    job = team.create(manifest)
    wait_until("Prepare is over", lambda: team.finish_pods(job, labels.ROLE_PREPARE))
    return job


def stage(team: Team, name: str) -> Manifest:
    """The status of the job's only stage."""
    stages: list[Manifest] = team.status(name).get("stages") or [{}]
    return stages[0]


@pytest.mark.parametrize(
    ("wanted", "group", "version"),
    [
        ({"coscheduling": {"scheduleTimeoutSeconds": 90}}, "scheduling.x-k8s.io", "v1alpha1"),
        ({"volcano": {"queue": "research"}}, "scheduling.volcano.sh", "v1beta1"),
    ],
    ids=["coscheduling", "volcano"],
)
def test_a_pod_group_comes_with_the_gang_once_its_kind_is_known(
    operator: OperatorProcess, team: Team, wanted: Manifest, group: str, version: str
) -> None:
    job = prepared(team, alignment_job("grouped", scheduling={"podGroup": wanted}))

    def told() -> bool:
        return "scheduling.podGroup" in team.condition("grouped", "Stalled").get("message", "")

    wait_until("the missing kind is named", told)
    message = team.condition("grouped", "Stalled")["message"]
    assert f"{group}/{version}" in message
    assert "CustomResourceDefinitions" in message
    assert not gangs(team, job), "no gang without its group"

    define(team.plane, group, version, "PodGroup")
    wait_until("the gang exists", lambda: gangs(team, job))
    reference = JobReference(namespace=team.namespace, name="grouped", uid=job["metadata"]["uid"])
    name = pod_group_name(reference, "sft")
    path = f"/apis/{group}/{version}/namespaces/{team.namespace}/podgroups/{name}"
    made = team.plane.request("GET", path)
    assert made["spec"] == {"minMember": 2} | next(iter(wanted.values()))
    assert made["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    template = gangs(team, job)[0]["spec"]["template"]
    if group == "scheduling.volcano.sh":
        assert template["spec"]["schedulerName"] == "volcano"
        assert template["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == name
    else:
        assert template["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == name
    wait_until("nothing is wrong any more", lambda: team.condition("grouped", "Stalled").get("status") != "True")


def test_a_queued_gang_shows_the_queues_words(operator: OperatorProcess, team: Team) -> None:
    job = prepared(team, alignment_job("queued", scheduling={"queueName": "team-a", "workloadPriorityClass": "low"}))
    wait_until("the gang exists", lambda: gangs(team, job))
    gang = gangs(team, job)[0]
    assert gang["spec"]["suspend"] is True
    assert gang["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert gang["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "low"
    wait_until("it is queued", lambda: "Kueue is not installed" in stage(team, "queued").get("message", ""))
    assert stage(team, "queued")["phase"] == "Queued"

    # An older Kueue, which does not serve the newest version of Workloads.
    define(team.plane, "kueue.x-k8s.io", "v1beta1", "Workload")
    words = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu"
    condition = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": words}
    team.plane.request(
        "POST",
        f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{team.namespace}/workloads",
        {
            "apiVersion": "kueue.x-k8s.io/v1beta1",
            "kind": "Workload",
            "metadata": {"name": "job-x", "labels": {"kueue.x-k8s.io/job-uid": gang["metadata"]["uid"]}},
            "status": {"conditions": [condition]},
        },
    )
    team.patch("AlignmentJob", "queued", {"metadata": {"labels": {"look": "now"}}})  # it would, after a while
    wait_until("its words are shown", lambda: words in stage(team, "queued").get("message", ""))
    assert words in team.condition("queued", "Reconciling")["message"]

    # Admitted, it runs; suspended again by Kueue, it comes back as another attempt.
    team.patch("Job", gang["metadata"]["name"], {"spec": {"suspend": False}})

    def runs() -> bool:
        team.run_pods(job, labels.ROLE_TRAIN)
        return bool(stage(team, "queued").get("phase") == "Running")

    wait_until("the gang runs", runs)
    team.patch("Job", gang["metadata"]["name"], {"spec": {"suspend": True}})
    wait_until("attempt 2 is queued", lambda: stage(team, "queued").get("attempt") == 2)
    shown = stage(team, "queued")
    assert shown["phase"] == "Queued"
    assert [(one["attempt"], one["reason"]) for one in shown["failures"]] == [(1, "Preempted")]
    assert "failures" not in team.status("queued"), "it costs nothing"
    assert [one["metadata"]["labels"][labels.ATTEMPT] for one in gangs(team, job)] == ["2"]


def test_a_queue_that_may_not_be_read_is_no_obstacle(control_plane: ControlPlane, kubectl: Kubectl, team: Team) -> None:
    kubectl("--namespace", team.namespace, "create", "serviceaccount", "nobody")
    token = kubectl("--namespace", team.namespace, "create", "token", "nobody").strip()
    kubeconfig = control_plane.kubeconfig("nobody", token)

    async def ask() -> dict[str, str]:
        configuration = Configuration()
        await config.load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
        client = Client(configuration, lambda *_: None)
        try:
            gang = {"metadata": {"name": "gang", "uid": "1"}, "spec": {"suspend": True}}
            return dict(await Queues(client).messages(team.namespace, [gang, {**gang, "spec": {}}]))
        finally:
            await client.close()

    said = asyncio.run(ask())
    assert list(said) == ["gang"]
    assert "cannot list" in said["gang"]
    assert "HTTP 403" in said["gang"]


def ended(team: Team, name: str, annotations: dict[str, str] | None = None, **policy: Any) -> Manifest:
    """A job that has succeeded."""
    manifest = alignment_job(name, runPolicy=policy)
    manifest["metadata"]["annotations"] = annotations or {}
    job = prepared(team, manifest)
    wait_until("the gang is over", lambda: len(_finished(team, job)) == 2)
    return job


def _finished(team: Team, job: Manifest) -> list[Manifest]:
    team.finish_pods(job, labels.ROLE_TRAIN)
    pods = [pod for pod in team.find("Pod", job) if pod["metadata"]["labels"][labels.ROLE] == labels.ROLE_TRAIN]
    return [pod for pod in pods if pod["status"]["phase"] == "Succeeded"]


def test_an_expired_job_goes_with_all_it_made(operator: OperatorProcess, team: Team, kubectl: Kubectl) -> None:
    job = ended(team, "gone", ttlSecondsAfterFinished=3)
    wait_until("it is complete", lambda: team.condition("gone", "Complete").get("status") == "True")
    assert team.find("Job", job), "until then everything is there to be read"
    wait_until("the job is gone", lambda: "gone" not in kubectl("-n", team.namespace, "get", "aj", "-o", "name"))
    assert not team.find("Job", job)
    assert not team.find("Pod", job)


def test_of_a_job_that_gitops_manages_the_record_stays(operator: OperatorProcess, team: Team) -> None:
    tracked = {"argocd.argoproj.io/tracking-id": "team:alignment.dev/AlignmentJob:team/kept"}
    job = ended(team, "kept", tracked, ttlSecondsAfterFinished=0)
    wait_until("it has expired", lambda: team.status("kept").get("expirationTime"))
    for kind in ("Job", "Pod", "Service", "ConfigMap"):
        assert not team.find(kind, job), kind
    assert team.status("kept")["phase"] == "Succeeded"
    version = team.get("AlignmentJob", "kept")["metadata"]["resourceVersion"]
    team.patch("AlignmentJob", "kept", {"metadata": {"labels": {"seen": "again"}}})
    wait_until("it is left alone", lambda: team.get("AlignmentJob", "kept")["metadata"]["resourceVersion"] != version)
    assert not team.find("Job", job)


def test_all_pods_go_at_the_end_if_asked_to(operator: OperatorProcess, team: Team) -> None:
    job = ended(team, "clean", cleanPodPolicy="All")
    wait_until("no Pod is left", lambda: not team.find("Pod", job) and not team.find("Job", job))
    assert team.condition("clean", "Complete")["status"] == "True"
