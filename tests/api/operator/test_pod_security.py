"""A namespace that enforces the restricted profile admits the Pods of every example, and not what goes beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from alignment_api.contract import JobReference, shape_of
from alignment_api.crd.generate import CHECKOUT
from alignment_api.v1alpha1 import KIND, AlignmentJobSpec
from alignment_operator.builders.gang import Gang
from alignment_operator.builders.gang_job import build_gang_job
from alignment_operator.builders.prepare_job import build_prepare_job
from alignment_operator.planning.observed import Settings

from ..control_plane import ApiError, ControlPlane
from .process import wait_until
from .team import Manifest, alignment_job

NAMESPACE = "restricted"
SETTINGS = Settings(trainer_image="registry.example.com/alignment-trainer:0.1.0")


def _examples() -> Iterator[Any]:
    for path in sorted((CHECKOUT / "examples").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and document.get("kind") == KIND:
                name = f"{path.relative_to(CHECKOUT / 'examples')}-{document['metadata']['name']}"
                yield pytest.param(document, id=name)


@pytest.fixture(scope="module")
def restricted(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, with a namespace that enforces the restricted profile."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    control_plane.request("POST", "/api/v1/namespaces", namespace)

    def has_account() -> bool:
        try:
            control_plane.request("GET", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default")
        except ApiError:
            return False
        return True

    wait_until("the namespace can have Pods", has_account)
    return control_plane


def pods_of(manifest: Manifest) -> list[Manifest]:
    """The Pods of Prepare and of every stage's gang."""
    spec = AlignmentJobSpec.model_validate(manifest["spec"])
    job = JobReference(namespace=NAMESPACE, name=manifest["metadata"]["name"], uid="uid")
    gangs = [Gang(stage.name, 1, shape_of(spec, stage.name)) for stage in spec.stages]
    jobs = [
        build_prepare_job(job, spec, 1, SETTINGS),
        *(build_gang_job(job, spec, gang, SETTINGS) for gang in gangs),
    ]
    return [_pod(job) for job in jobs]


def _pod(job: Manifest) -> Manifest:
    template = job["spec"]["template"]
    template["spec"].pop("priorityClassName", None)  # the class is not here, and says nothing about rights
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": job["metadata"]["name"]}, "spec": template["spec"]}


def admit(plane: ControlPlane, pod: Manifest) -> None:
    """Try to create the Pod, without it coming to be."""
    plane.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)


@pytest.mark.parametrize("manifest", list(_examples()))
def test_pods_of_examples_are_admitted(restricted: ControlPlane, manifest: Manifest) -> None:
    pods = pods_of(manifest)
    assert len(pods) == 1 + len(manifest["spec"]["stages"])
    for pod in pods:
        admit(restricted, pod)


def test_further_volumes_are_admitted(restricted: ControlPlane) -> None:
    volumes = [
        {"name": "claim", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "config", "mountPath": "/b", "configMap": {"name": "settings"}},
        {"name": "secret", "mountPath": "/c", "secret": {"secretName": "keys"}},
        {"name": "room", "mountPath": "/d", "emptyDir": {}},
    ]
    for pod in pods_of(alignment_job("volumes", runtime={"podTemplate": {"volumes": volumes}})):
        admit(restricted, pod)


@pytest.mark.parametrize(
    ("runtime", "named"),
    [
        ({"podTemplate": {"hostNetwork": True}}, "host namespaces"),
        ({"podTemplate": {"privileged": True}}, "privileged"),
        (
            {"podTemplate": {"volumes": [{"name": "x", "mountPath": "/x", "hostPath": {"path": "/x"}}]}},
            "restricted volume types",
        ),
        ({"communication": {"ipcLock": True}}, "IPC_LOCK"),
    ],
)
def test_what_goes_beyond_is_the_namespaces_to_admit_too(
    restricted: ControlPlane, runtime: Manifest, named: str
) -> None:
    """Built as asked for, so that the API server takes it for well-formed and only its admission refuses it."""
    _, gang = pods_of(alignment_job("beyond", runtime=runtime))
    with pytest.raises(ApiError, match="violates PodSecurity") as refused:
        admit(restricted, gang)
    assert named in str(refused.value)
