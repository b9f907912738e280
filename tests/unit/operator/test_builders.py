"""Golden pairs: ``<name>.job.yaml`` is an AlignmentJob, ``<name>.objects.yaml`` all that is built for it.

After a wanted change, write the second file anew: ``REGENERATE_GOLDEN=1 pytest tests/unit/operator/test_builders.py``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_api.contract import JobReference, RunConfig, shape_of
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_operator.builders import metadata as names
from alignment_operator.builders.gang import Gang
from alignment_operator.builders.gang_job import build_gang_job
from alignment_operator.builders.prepare_job import build_prepare_job
from alignment_operator.builders.rendezvous_service import build_rendezvous_service
from alignment_operator.builders.run_config import build_run_config
from alignment_operator.builders.workspace_claim import build_workspace_claim

from .manifests import SETTINGS, UID

GOLDEN = Path(__file__).parent / "golden"
JOB = JobReference(namespace="team-a", name="assistant", uid=UID)


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines as such, and what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def objects_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that is ever built for the job: its first stage stands for all."""
    reference = JobReference(**job["metadata"])
    spec = AlignmentJobSpec.model_validate(job["spec"])
    built = [build_run_config(reference, spec), build_prepare_job(reference, spec, 1, SETTINGS)]
    if spec.workspace.volume_claim_template is not None:
        built.insert(0, build_workspace_claim(reference, spec.workspace.volume_claim_template))
    stage = spec.stages[0]
    if spec.runtime_of(stage).nodes > 1:
        built.append(build_rendezvous_service(reference, stage.name))
    return [*built, build_gang_job(reference, spec, Gang(stage.name, 2, shape_of(spec, stage.name)), SETTINGS)]


@pytest.mark.parametrize("pair", ["one_node", "gang_of_two"])
def test_golden(pair: str) -> None:
    job = yaml.safe_load((GOLDEN / f"{pair}.job.yaml").read_text())
    built = objects_of(job)
    golden = GOLDEN / f"{pair}.objects.yaml"
    if os.environ.get("REGENERATE_GOLDEN"):
        golden.write_text(yaml.dump_all(built, Dumper=_Readable, sort_keys=False, width=120))
    assert built == list(yaml.safe_load_all(golden.read_text()))


def test_gangs_get_no_secrets_and_no_config_maps() -> None:
    job = yaml.safe_load((GOLDEN / "gang_of_two.job.yaml").read_text())
    prepare, gang = [built for built in objects_of(job) if built["kind"] == "Job"]
    assert "secretKeyRef" in str(prepare)
    assert "pairs.jsonl" in str(prepare)
    assert "secretKeyRef" not in str(gang)
    assert "pairs.jsonl" not in str(gang)
    for built in (prepare, gang):
        pod = built["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True


def test_run_config_does_not_change_with_what_is_mutable() -> None:
    job = yaml.safe_load((GOLDEN / "one_node.job.yaml").read_text())
    before = build_run_config(JOB, AlignmentJobSpec.model_validate(job["spec"]))
    changes = {"suspend": True, "runPolicy": {"activeDeadlineSeconds": 5}}
    after = build_run_config(JOB, AlignmentJobSpec.model_validate({**job["spec"], **changes}))
    assert after == before
    assert RunConfig.model_validate_json(before["data"]["job.json"]).spec.stages[0].name == "sft"
    other = {**job["spec"], "model": {"volume": {"path": "models/other"}}}
    assert (
        build_run_config(JOB, AlignmentJobSpec.model_validate(other))["metadata"]["name"] != before["metadata"]["name"]
    )


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("a", "b"),
        ("a" * 63, "s" * 32),
        ("8b.chat", "sft"),
        ("a" * 39 + "-b", "c"),
        ("x.y", "prepare"),
        ("x" * 63, "promote"),
    ],
)
def test_names_are_host_names(name: str, stage: str) -> None:
    job = JobReference(namespace="team-a", name=name, uid=UID)
    label = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
    for attempt in (1, 9999):
        assert label.fullmatch(names.gang_name(job, stage, attempt) + "-1023")
        assert label.fullmatch(names.prepare_job_name(job, attempt) + "-0")
        assert label.fullmatch(names.promote_job_name(job, attempt) + "-0")
    assert label.fullmatch(names.rendezvous_service_name(job, stage))
    assert label.fullmatch(names.run_config_name(job, "content"))
    assert label.fullmatch(names.report_name(job))


def test_names_do_not_collide() -> None:
    def job(name: str, uid: str = UID) -> JobReference:
        return JobReference(namespace="team-a", name=name, uid=uid)

    assert (
        len(
            {
                names.gang_name(job("a"), "b-c", 1),
                names.gang_name(job("a-b", "other"), "c", 1),
                names.gang_name(job("a", "recreated"), "b-c", 1),
                names.gang_name(job("a"), "prepare", 1),
                names.prepare_job_name(job("a"), 1),
                names.gang_name(job("a"), "promote", 1),
                names.promote_job_name(job("a"), 1),
            }
        )
        == 7
    )
