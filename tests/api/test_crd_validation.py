"""What the API server does with manifests: defaults, unknown fields, immutability, the status subresource."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from alignment_api.crd.generate import CHECKOUT
from alignment_api.v1alpha1 import KIND, AlignmentJob
from alignment_api.v1alpha1.validation import validate_spec

from .client import AlignmentJobs, Kubectl
from .control_plane import ApiError
from .manifests import Manifest, changed, load


def _examples() -> Iterator[Any]:
    for path in sorted((CHECKOUT / "examples").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and document.get("kind") == KIND:
                name = f"{path.relative_to(CHECKOUT)}-{document['metadata']['name']}"
                yield pytest.param(document, id=name)


_MANIFESTS = [pytest.param(load(name), id=name) for name in ("minimal", "valid")]


@pytest.mark.parametrize("manifest", [*_MANIFESTS, *_examples()])
def test_valid_manifests_are_accepted_and_get_the_defaults_of_the_models(
    jobs: AlignmentJobs, manifest: Manifest
) -> None:
    stored = jobs.create(changed(manifest, {"metadata.namespace": "default"}), dry_run=True)
    assert stored["spec"] == AlignmentJob.model_validate(manifest).spec.to_yaml_dict()
    assert AlignmentJob.model_validate(stored).spec == AlignmentJob.model_validate(manifest).spec
    assert validate_spec(AlignmentJob.model_validate(stored).spec) == []


def test_kubectl_refuses_unknown_fields(jobs: AlignmentJobs, kubectl: Kubectl) -> None:
    manifest = yaml.safe_dump(changed(load("valid"), {"spec.runtime.gpus": 8}))
    result = kubectl.run("apply", "--dry-run=server", "--filename=-", stdin=manifest)
    assert result.returncode != 0
    assert 'unknown field "spec.runtime.gpus"' in result.stderr


class TestUpdates:
    """A stored job, changed."""

    @pytest.fixture
    def stored(self, jobs: AlignmentJobs) -> Iterator[Manifest]:
        yield jobs.create(load("valid"))
        jobs.delete("valid")

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("spec.model.huggingFace.revision", "v2"),
            ("spec.model", None),
            ("spec.tokenizer.padToken", "<pad>"),
            ("spec.workspace.volumeClaimTemplate.storage", "300Gi"),
            ("spec.runtime.nodes", 4),
            ("spec.runtime.podTemplate.nodeSelector", {"pool": "cpu"}),
            ("spec.prepare.podTemplate.priorityClassName", "low"),
            ("spec.stages[2].dpo.beta", 0.2),
            ("spec.stages[2].dpo.loss", [{"type": "hinge"}]),
            ("spec.stages[3].evaluate.gates[0].atLeast", 0),
            # Fields whose content has no schema: the API server must compare them too.
            ("spec.stages[2].trainerArgs.optim_args.betas[0]", 0.8),
            ("spec.stages[2].dataset.inline.rows[0].rejected.text", "Nice."),
            (
                "spec.runtime.podTemplate.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
                ".nodeSelectorTerms[0].matchExpressions[0].values[0]",
                "other",
            ),
        ],
    )
    def test_what_defines_the_job_is_immutable(
        self, jobs: AlignmentJobs, stored: Manifest, path: str, value: object
    ) -> None:
        field = ".".join(path.split(".")[:2]).split("[")[0]
        with pytest.raises(ApiError, match=f"{field} is immutable: create a new AlignmentJob"):
            jobs.replace(changed(stored, {path: value}))

    def test_a_stage_cannot_be_added(self, jobs: AlignmentJobs, stored: Manifest) -> None:
        extra = changed(stored["spec"]["stages"][0], {"name": "again"})
        with pytest.raises(ApiError, match=r"spec\.stages is immutable"):
            jobs.replace(changed(stored, {"spec.stages": [*stored["spec"]["stages"], extra]}))

    def test_suspend_and_run_policy_can_be_changed(self, jobs: AlignmentJobs, stored: Manifest) -> None:
        policy = {"activeDeadlineSeconds": 60, "maxParallelStages": 2}
        change = {"suspend": True, "runPolicy": policy | {"retries": {"infrastructure": 9}}}
        spec = jobs.patch("valid", {"spec": change})["spec"]
        assert spec["suspend"] is True
        assert spec["runPolicy"].items() >= policy.items()
        assert spec["runPolicy"]["retries"]["infrastructure"] == 9

    def test_applying_the_same_manifest_again_changes_nothing(self, jobs: AlignmentJobs, stored: Manifest) -> None:
        version = stored["metadata"]["resourceVersion"]
        again = jobs.replace(changed(load("valid"), {"metadata.resourceVersion": version}))
        assert again["metadata"]["generation"] == 1

    def test_status_cannot_be_written_through_the_main_resource(self, jobs: AlignmentJobs, stored: Manifest) -> None:
        jobs.patch("valid", {"status": {"phase": "Succeeded"}})
        assert "status" not in jobs.get("valid")

    def test_spec_cannot_be_written_through_the_status_subresource(self, jobs: AlignmentJobs, stored: Manifest) -> None:
        jobs.patch("valid", {"spec": {"suspend": True}, "status": {"phase": "Running"}}, subresource="status")
        job = jobs.get("valid")
        assert job["spec"]["suspend"] is False
        assert job["status"]["phase"] == "Running"

    def test_status_is_merged_by_condition_type_and_stage_name(self, jobs: AlignmentJobs, stored: Manifest) -> None:
        """Another controller may own a condition of its own beside the operator's."""
        jobs.apply_status("valid", {"conditions": [_condition("Ready")], "stages": [_stage("sft")]}, "operator")
        jobs.apply_status("valid", {"conditions": [_condition("Audited")], "stages": [_stage("dpo")]}, "auditor")
        status = jobs.get("valid")["status"]
        assert [condition["type"] for condition in status["conditions"]] == ["Ready", "Audited"]
        assert [stage["name"] for stage in status["stages"]] == ["sft", "dpo"]


def _condition(name: str) -> dict[str, str]:
    return {"type": name, "status": "True", "reason": "Test", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def _stage(name: str) -> dict[str, str]:
    return {"name": name, "method": name}
