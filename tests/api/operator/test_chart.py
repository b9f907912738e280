"""The Helm chart: lint, messages, rendered objects, and install, upgrade and uninstall on a real API server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_operator.builders.metadata import gang_labels, promote_labels
from alignment_operator.builders.network_policy import build_network_policy
from alignment_operator.planning.allowances import Allowances, AllowedHostPath
from alignment_operator.settings import OperatorSettings, settings_from
from tests.cluster.tools import build_module
from tests.network_policies import Endpoint, allows

from ..client import Kubectl
from ..control_plane import ControlPlane, running_control_plane
from .process import CHART, OperatorProcess, wait_until
from .team import Team, alignment_job

LEAST: tuple[str | Path, ...] = ("--values", CHART / "ci" / "values.yaml")
CRD = "crd/alignmentjobs.alignment.dev"

Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def helm() -> Helm:
    """The helm program."""
    program = build_module("kubernetes") / "helm"

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def bare_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of its own, since what happens to the CRD here must not disturb the other tests."""
    with running_control_plane(tmp_path, build_module("kubernetes") / "kube") as plane:
        yield plane


def rendered(helm: Helm, *arguments: str) -> list[dict[str, Any]]:
    """The objects of a release called alignment-operator."""
    result = helm("template", "alignment-operator", CHART, "--namespace", "system", *LEAST, *arguments)
    assert result.returncode == 0, result.stderr
    return [item for item in yaml.safe_load_all(result.stdout) if item]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in objects if item["kind"] == kind]


def test_lint(helm: Helm) -> None:
    result = helm("lint", "--strict", CHART, *LEAST)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainerImage=", "trainerImage is required: the full reference of the trainer image"),
        ("image.repository=", "image.repository is required"),
        ("image.digest=sha256:12", "/image/digest"),
        ("trainerImgae=x", "trainerImgae"),
        ("watchNamespaces={Team_A}", "/watchNamespaces/0"),
        ("statusIntervalSeconds=0", "/statusIntervalSeconds"),
        ("replicas=9", "/replicas"),
        ("logging.level=LOUD", "/logging/level"),
        ("allowances.hostNetworks=true", "hostNetworks"),
        ("allowances.hostPaths[0].path=mnt", "/allowances/hostPaths/0/path"),
        ("networkPolicy.egress.apiServer.ports={0}", "/networkPolicy/egress/apiServer/ports/0"),
        ("reports.enable=true", "enable"),
        ("serviceAccount.create=false", "serviceAccount.name is required"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, setting: str, message: str) -> None:
    result = helm("template", "x", CHART, *LEAST, "--set", setting)
    assert result.returncode != 0
    assert message in result.stderr


def test_the_digest_pins_the_image(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    deployment = of_kind(rendered(helm, "--set", f"image.digest={digest}"), "Deployment")[0]
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"registry.example.com/alignment-operator@{digest}"


def test_its_pod_is_allowed_by_the_restricted_profile(helm: Helm, team: Team) -> None:
    team.plane.request(
        "PATCH",
        f"/api/v1/namespaces/{team.namespace}",
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        content_type="application/merge-patch+json",
    )
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "alignment-operator"}}
    team.create(account)
    template = of_kind(rendered(helm), "Deployment")[0]["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": template["spec"]}
    assert team.create(pod)["metadata"]["name"] == "operator"
    assert template["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_role_has_wildcards_or_secrets(helm: Helm) -> None:
    for role in of_kind(rendered(helm), "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            assert "secrets" not in rule["resources"]


def test_one_replica_is_replaced_and_two_take_turns_on_different_nodes(helm: Helm) -> None:
    one, two = (of_kind(rendered(helm, "--set", f"replicas={count}"), "Deployment")[0]["spec"] for count in (1, 2))
    assert (one["replicas"], one["strategy"]) == (1, {"type": "Recreate"})
    assert "affinity" not in one["template"]["spec"]
    assert two["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    wished = two["template"]["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wished[0]["podAffinityTerm"]["labelSelector"]["matchLabels"] == two["selector"]["matchLabels"]
    own = rendered(helm, "--set", "replicas=2", "--set", "affinity.nodeAffinity.x=y")
    assert of_kind(own, "Deployment")[0]["spec"]["template"]["spec"]["affinity"] == {"nodeAffinity": {"x": "y"}}
    assert of_kind(rendered(helm), "PodDisruptionBudget") == []
    budget = of_kind(rendered(helm, "--set", "replicas=2"), "PodDisruptionBudget")[0]["spec"]
    assert (budget["maxUnavailable"], budget["selector"]) == (1, two["selector"])


def test_there_are_no_webhooks(helm: Helm) -> None:
    kinds = {item["kind"] for item in rendered(helm, "--set", "replicas=2")}
    assert not [kind for kind in kinds if "Webhook" in kind or "AdmissionPolicy" in kind]


def settings_of(objects: list[dict[str, Any]]) -> OperatorSettings:
    """What the operator makes of the environment that the chart gives it."""
    [container] = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    return settings_from({entry["name"]: entry.get("value", "x") for entry in container["env"]})


def test_allowances_reach_the_operator(helm: Helm) -> None:
    assert settings_of(rendered(helm)).planning.allowances == Allowances()
    values = {"hostNetwork": True, "hostPaths": [{"path": "/mnt/x", "writable": True}], "serviceAccounts": ["reader"]}
    given = settings_of(rendered(helm, "--set-json", f"allowances={json.dumps(values)}"))
    assert given.planning.allowances == Allowances(
        host_network=True,
        host_paths=(AllowedHostPath(path="/mnt/x", writable=True),),
        service_accounts=("reader",),
    )


def test_reports_are_served_unless_turned_off(helm: Helm) -> None:
    assert settings_of(rendered(helm)).planning.reports
    assert not settings_of(rendered(helm, "--set", "reports.enabled=false")).planning.reports


def test_network_policies(helm: Helm) -> None:
    """The operator is reached at its port, reaches what it needs, and gangs let it in."""
    switches = [f"networkPolicy.{part}enabled=true" for part in ("", "egress.", "gangs.")]
    objects = rendered(helm, *(argument for switch in switches for argument in ("--set", switch)))
    [own] = of_kind(objects, "NetworkPolicy")
    template = of_kind(objects, "Deployment")[0]["spec"]["template"]
    operator = Endpoint("10.1.0.1", "system", template["metadata"]["labels"], {"http": 8081})
    job = JobReference(namespace="team", name="job", uid="u1")
    gang = Endpoint("10.1.0.2", "team", gang_labels(job, "sft", 1))
    neighbour, outside = Endpoint("10.1.0.3", "team", {"app": "x"}), Endpoint("203.0.113.7")
    traffic = settings_of(objects).planning.gang_traffic
    assert traffic is not None
    spec = AlignmentJobSpec.model_validate(alignment_job("job")["spec"])
    policies = [own, build_network_policy(job, spec, traffic)]
    assert allows(policies, operator, gang, 8080)
    promotion = Endpoint("10.1.0.4", "team", promote_labels(job, 1))
    assert allows(policies, operator, promotion, 8080)
    assert allows(policies, promotion, outside, 443), "it writes to anywhere"
    assert not allows(policies, operator, gang, 29500)
    assert not allows(policies, operator, neighbour, 8080)
    assert not allows(policies, neighbour, gang, 8080)
    assert allows(policies, neighbour, operator, 8081)
    assert not allows(policies, neighbour, operator, 8080)
    assert allows(policies, operator, outside, 6443)
    assert allows(policies, operator, outside, 53, "UDP")
    assert not allows(policies, operator, outside, 80)


def test_rights_to_network_policies_only_where_they_are_made(helm: Helm) -> None:
    def resources(*arguments: str) -> set[str]:
        roles = of_kind(rendered(helm, *arguments), "ClusterRole")
        return {resource for role in roles for rule in role["rules"] for resource in rule["resources"]}

    assert "networkpolicies" not in resources()
    assert "networkpolicies" in resources("--set", "networkPolicy.gangs.enabled=true")


def test_install_upgrade_uninstall_keep_jobs(helm: Helm, bare_plane: ControlPlane) -> None:
    """The CRD is upgraded with the release and stays, with its objects, when the release goes."""
    kubectl = Kubectl(build_module("kubernetes") / "kubectl", bare_plane.kubeconfig())
    where = ("--kubeconfig", bare_plane.kubeconfig(), "--namespace", "system")
    assert (result := helm("install", "alignment", CHART, *where, "--create-namespace", *LEAST)).returncode == 0, result
    assert "all namespaces" in result.stdout
    kubectl("wait", "--for=condition=Established", "--timeout=30s", CRD)
    team = Team(bare_plane, "default")
    team.create(alignment_job("kept"))
    kubectl("patch", CRD, "--type=json", "-p", '[{"op": "remove", "path": "/spec/names/shortNames"}]')
    result = helm("upgrade", "alignment", CHART, *where, "--force-conflicts", *LEAST, "--set", "replicas=2")
    assert result.returncode == 0, result.stderr
    names = kubectl("get", CRD, "--output", "jsonpath={.spec.names.shortNames}")
    assert names == '["aj"]', "an upgrade brings the CRD up to date"
    assert len(kubectl("--namespace", "system", "get", "poddisruptionbudgets", "--output", "name").split()) == 1
    assert (result := helm("uninstall", "alignment", *where)).returncode == 0, result.stderr
    assert not kubectl("--namespace", "system", "get", "deployments,serviceaccounts,roles", "--output", "name").count(
        "alignment"
    )
    wait_until("the job is still there", lambda: kubectl.run("get", "alignmentjobs/kept").returncode == 0)


def test_one_namespace_only(
    helm: Helm, kubectl: Kubectl, control_plane: ControlPlane, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    """With watchNamespaces the operator works with Roles in these namespaces and touches no other."""
    namespaces = ("served", "unserved")
    teams = [Team(control_plane, name) for name in namespaces]
    for team in teams:
        kubectl("create", "namespace", team.namespace)
        team.create_claim()
        team.create(alignment_job("one"))
    roles = rendered(helm, "--set", "watchNamespaces={served}")
    assert of_kind(roles, "ClusterRoleBinding") == []
    kubectl("--namespace", "served", "create", "serviceaccount", "operator")
    binding, role = (
        next(item for item in of_kind(roles, kind) if item["metadata"]["namespace"] == "served")
        for kind in ("RoleBinding", "Role")
    )
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "operator", "namespace": "served"}]
    kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all([role, binding]))
    token = kubectl("--namespace", "served", "create", "token", "operator")
    kubeconfig = control_plane.kubeconfig("namespaced-operator", token)
    operator = OperatorProcess(kubeconfig, tmp_path / "log.jsonl", {"WATCH_NAMESPACES": "served"}).start()
    try:
        wait_until("Prepare starts", lambda: teams[0].find("Job"))
        second = teams[0].create(alignment_job("two"))
        wait_until("the watch sees a new job", lambda: teams[0].find("Job", second))
        assert not teams[1].find("Job")
        assert not [line for line in operator.lines() if line["level"] in ("WARNING", "ERROR")]
    finally:
        operator.stop()
