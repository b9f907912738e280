"""Whom nobody has to trust: what jobs may see and do, what the operator may; and where secrets are not found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import canary, rights
from .harness import Cluster
from .namespace import Namespace, Object, condition, holds, stage
from .rights import Right

pytestmark = pytest.mark.e2e

_NEVER_USED_HERE = {
    Right("alignment.dev", "alignmentjobs", "get"): "looks again when an answer to a write was lost",
    Right("alignment.dev", "alignmentjobs/finalizers", "update"): "OpenShift asks for it; nothing is written there",
    Right("", "pods", "delete"): "Pods that outlive their Job",
    Right("scheduling.x-k8s.io", "podgroups", "create"): "a scheduler that is not in this cluster",
    Right("scheduling.x-k8s.io", "podgroups", "patch"): "the same",
    Right("scheduling.volcano.sh", "podgroups", "create"): "the same",
    Right("scheduling.volcano.sh", "podgroups", "patch"): "the same",
}


@dataclass(frozen=True)
class Loud:
    """Jobs that failed with the secret in their environment.

    Attributes:
        value: the secret.
        service: the reward service that it is for.
        model: the job whose model's own code failed in the gang.
        function: the job whose reward function failed in Prepare.
        hub: the job that asked a hub that is not there, with a claim of its own.
        log: output of the gang.
        pods: of all jobs.
        places: where the secret was found.
    """

    value: str
    service: canary.Service
    model: Object
    function: Object
    hub: Object
    log: str
    pods: list[Object]
    places: list[str]


@pytest.fixture(scope="module")
def loud(cluster: Cluster, seeded: Namespace) -> Iterator[Loud]:
    value = canary.new_secret(seeded)
    workspace = canary.workspace_of(seeded, "alignment")
    path = canary.write_model(workspace)
    with canary.reward_service() as service:
        tiny = {"volume": {"path": "models/tiny-llama"}}
        hub = canary.job("canary-hub", service.url, {"huggingFace": {"repository": "a/b"}})
        hub["spec"]["model"]["huggingFace"]["tokenSecretRef"] = {"name": canary.SECRET}
        hub["spec"]["workspace"] = {"volumeClaimTemplate": {"storage": "1Gi", "whenDeleted": "Delete"}}
        hub["spec"]["runPolicy"] = {"retries": {"infrastructure": 0}}
        own_code = {"volume": {"path": path, "trustRemoteCode": True}}
        jobs = [
            canary.job("canary-model", service.url, own_code),
            canary.job("canary-function", service.url, tiny, python=True),
            hub,
        ]
        for job in jobs:
            seeded.apply(job)
        model, function, hub = (seeded.wait_finished(job["metadata"]["name"], 240) for job in jobs)
    pods = [pod for job in jobs for pod in seeded.items("pods", f"alignment.dev/job-name={job['metadata']['name']}")]
    gang = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"]["alignment.dev/role"] == "train"]
    log = "".join(seeded.run("logs", name) for name in gang)
    workspaces: list[Path] = [workspace, canary.workspace_of(seeded, "canary-hub-workspace")]
    places = canary.places_with(value, cluster, pods, workspaces)
    yield Loud(value, service, model, function, hub, log, pods, places)
    seeded.run("delete", "alignmentjobs", *(job["metadata"]["name"] for job in jobs), "--ignore-not-found")


class TestSecret:
    """One secret, used by three jobs that fail with all they know in their messages."""

    @pytest.mark.timeout(300)
    def test_it_was_used(self, loud: Loud) -> None:
        assert loud.service.authorizations == {f"Bearer {loud.value}"}

    def test_the_jobs_failed_loudly(self, loud: Loud) -> None:
        reasons = [(condition(job, "Failed") or {})["reason"] for job in (loud.model, loud.function, loud.hub)]
        assert reasons[:2] == ["TrainerError", "FunctionError"]
        assert holds(loud.hub, "Failed")
        assert "ALIGNMENT_SECRET_" in loud.log, "the gang had the secret in its environment, and printed it"
        assert "environment" in stage(loud.function, "grpo")["message"]

    def test_it_is_found_nowhere_but_in_the_secret(self, loud: Loud, seeded: Namespace) -> None:
        assert loud.places == []
        assert canary.is_found_in_the_secret(loud.value, seeded)

    def test_pods_hold_no_token_of_the_api_server(self, loud: Loud) -> None:
        assert "service account mounted: False" in loud.log
        assert len(loud.pods) == 4
        for pod in loud.pods:
            assert pod["spec"]["automountServiceAccountToken"] is False
            sources = [set(volume) for volume in pod["spec"]["volumes"]]
            assert not any("projected" in source for source in sources), sources


def test_a_gang_has_a_network_policy(loud: Loud, seeded: Namespace) -> None:
    uid = loud.model["metadata"]["uid"]
    [policy] = seeded.items("networkpolicies", f"alignment.dev/job-uid={uid}")
    assert policy["spec"]["podSelector"]["matchLabels"]["alignment.dev/job-uid"] == uid
    assert policy["metadata"]["ownerReferences"][0]["name"] == "canary-model"


def test_code_of_models_needs_an_allowance_that_is_given_here_but_privileges_are_not(seeded: Namespace) -> None:
    job = canary.job("too-much", "http://127.0.0.1", {"volume": {"path": "models/tiny-llama"}})
    job["spec"]["runtime"]["podTemplate"] = {"hostNetwork": True, "privileged": True}
    seeded.apply(job)
    refused = seeded.wait_finished("too-much", 60)
    accepted = condition(refused, "Accepted")
    assert accepted is not None
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSpec")
    for name in ("hostNetwork", "privileged"):
        assert f"spec.runtime.podTemplate.{name}" in accepted["message"]
        assert f"allowances.{name}" in accepted["message"]


def test_what_is_left_of_jobs_goes_with_their_time_to_live(loud: Loud, seeded: Namespace) -> None:
    """A finished job's `ttlSecondsAfterFinished` may still be set; with it the operator uses its rights to delete."""
    for name, policy in (("canary-function", "Delete"), ("canary-model", "KeepRecord")):
        patch = f'{{"spec": {{"runPolicy": {{"ttlSecondsAfterFinished": 0, "ttlPolicy": "{policy}"}}}}}}'
        seeded.run("patch", "alignmentjob", name, "--type=merge", "--patch", patch)
    seeded.run("wait", "alignmentjob/canary-function", "--for=delete", "--timeout=60s")
    seeded.wait_for("canary-model", "expired", lambda job: "expirationTime" in job["status"], 60)
    assert seeded.items("pods", "alignment.dev/job-name in (canary-function,canary-model)") == []


class TestRights:
    """The operator's rights, after everything else has run."""

    def test_every_right_is_used(self, cluster: Cluster, request: pytest.FixtureRequest) -> None:
        here = Path(__file__).parent
        collected = {item.path for item in request.session.items if item.path.parent == here}
        if collected != set(here.glob("test_*.py")):
            pytest.skip("needs all end-to-end tests before it")
        granted = rights.granted(cluster.kubectl, "alignment-operator")
        unused = granted - rights.used(cluster.audit_log)
        assert unused <= set(_NEVER_USED_HERE), sorted(map(str, unused - set(_NEVER_USED_HERE)))
        assert set(_NEVER_USED_HERE) <= granted, "an exception for what is not granted any more"

    def test_nothing_was_asked_for_without_a_right(self, cluster: Cluster) -> None:
        assert rights.used(cluster.audit_log), "the record is there"
        assert rights.refused(cluster.audit_log) == []

    def test_its_namespace_enforces_the_restricted_profile(self, cluster: Cluster) -> None:
        namespace = cluster.kubectl.get_json("namespace", "alignment-system")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert Namespace("alignment-system", cluster.kubectl).items("pods"), "and the operator runs there"
