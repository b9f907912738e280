"""A job names objects of its own namespace only: no field of the API leads to another one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import TypeAdapter, ValidationError

from alignment_api.crd.schema import Schema, structural_schema
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.runtime import AbsolutePath
from alignment_api.v1alpha1.validation import validate_spec
from tests.unit.operator.manifests import pipeline_spec

_NAMES_AN_OBJECT = re.compile("secret|configMap|claim|serviceAccount", re.IGNORECASE)

FREE_FORM = {
    "spec.prepare.podTemplate.affinity": "chooses nodes by other Pods' labels, as in any Pod; reads nothing of them",
    "spec.runtime.podTemplate.affinity": "the same",
    "spec.stages[].runtime.podTemplate.affinity": "the same",
    "spec.stages[].trainerArgs": "options of TRL's config classes",
    "spec.stages[].grpo.rewards[].jsonSchema.schema": "a JSON schema for responses",
    "spec.stages[].rloo.rewards[].jsonSchema.schema": "the same",
    "spec.stages[].ppo.rewards[].jsonSchema.schema": "the same",
}
"""Objects without a schema, and why nothing in them names an object of another namespace that is then read."""


def _fields(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from _fields(child, f"{path}.{name}")
    for below in (node.get("items"), node.get("additionalProperties")):
        if isinstance(below, dict):
            yield from _fields(below, f"{path}[]")


_ALL = dict(_fields(structural_schema(AlignmentJobSpec), "spec"))
_REFERENCES = {
    path: node
    for path, node in _ALL.items()
    if _NAMES_AN_OBJECT.search(path) and node.get("type") == "string" and "enum" not in node
}


def test_no_field_is_about_namespaces() -> None:
    assert [path for path in _ALL if "namespace" in path.lower()] == []


def test_nothing_is_free_form_but_what_is_known_to_be() -> None:
    assert {path for path, node in _ALL.items() if node.get("x-kubernetes-preserve-unknown-fields")} == set(FREE_FORM)


@pytest.mark.parametrize("path", _REFERENCES)
def test_a_name_of_an_object_takes_no_namespace(path: str) -> None:
    pattern = re.compile(_REFERENCES[path]["pattern"])
    assert pattern.search("name")
    for other in ("other-team/name", "other-team:name", "../name", "name\n"):
        assert not pattern.fullmatch(other), other


def test_the_references_are_all_there() -> None:
    """Else the test above could run over nothing."""
    leaves = {path.rsplit(".", 1)[-1] for path in _REFERENCES}
    assert {"claimName", "secretName", "serviceAccountName", "credentialsSecret", "configMap", "name"} <= leaves
    assert len(_REFERENCES) > 40


@pytest.mark.parametrize("path", ["/mnt/models", "/mnt/.hidden/a..b", "/x"])
def test_paths(path: str) -> None:
    assert TypeAdapter(AbsolutePath).validate_python(path) == path


@pytest.mark.parametrize("path", ["/", "mnt", "/mnt/..", "/mnt/../etc", "/mnt/./x", "/mnt//x", "/mnt/", "/a:b", "/a\n"])
def test_paths_that_could_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AbsolutePath).validate_python(path)


@pytest.mark.parametrize("path", ["/workspace", "/workspace/models", "/etc", "/etc/alignment/job.json", "/dev", "/tmp"])
def test_volumes_do_not_cover_what_the_operator_mounts(path: str) -> None:
    template = {"volumes": [{"name": "own", "mountPath": path, "emptyDir": {}}]}
    spec = AlignmentJobSpec.model_validate(pipeline_spec(runtime={"nodes": 2, "podTemplate": template}))
    [problem] = validate_spec(spec)
    assert problem.field == "spec.runtime.podTemplate.volumes[0].mountPath"
    assert path in problem.message


def test_volumes_do_not_cover_each_other() -> None:
    volumes = [
        {"name": "one", "mountPath": "/data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "two", "mountPath": "/dev/infiniband", "hostPath": {"path": "/dev/infiniband"}},
        {"name": "three", "mountPath": "/data/more", "secret": {"secretName": "more"}},
    ]
    spec = AlignmentJobSpec.model_validate(pipeline_spec(prepare={"podTemplate": {"volumes": volumes}}))
    [problem] = validate_spec(spec)
    assert problem.field == "spec.prepare.podTemplate.volumes[2].mountPath"
    assert "volume one" in problem.message
