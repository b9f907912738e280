"""The quickstart's seed script and manifests, as far as Prepare takes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from alignment_api.contract import JobLayout, JobReference, RunConfig
from alignment_api.v1alpha1 import AlignmentJob
from alignment_trainer import prepare
from alignment_trainer.data import store
from alignment_trainer.data.rows import Pair, opening

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that the seed Job's script has filled."""
    workspace = tmp_path_factory.mktemp("workspace")
    documents = list(yaml.safe_load_all((QUICKSTART / "seed.yaml").read_text()))
    (script,) = (document["data"]["seed.py"] for document in documents if document["kind"] == "ConfigMap")
    (workspace / "seed.py").write_text(script)
    subprocess.run([sys.executable, workspace / "seed.py", workspace], check=True, timeout=120)
    return workspace


@pytest.mark.parametrize("manifest", ["alignmentjob.yaml", "swapped.yaml"])
def test_the_same_prompts_are_held_out_of_every_stage(seeded: Path, manifest: str) -> None:
    job = AlignmentJob.model_validate(yaml.safe_load((QUICKSTART / manifest).read_text()))
    reference = JobReference(namespace="demo", name=job.metadata["name"], uid="0123456789")
    layout = JobLayout(seeded, reference)
    summary = prepare.main(RunConfig(job=reference, spec=job.spec), layout)
    assert [entry.stage for entry in summary.data or []] == ["sft", "reward", "dpo", "check"]
    assert all(entry.data.invalid_rows == entry.data.truncated_rows == 0 for entry in summary.data or [])

    def openings(stage: str, split: str) -> set[str]:
        return {repr(opening(row)) for row in store.read_rows(layout.stage(stage).data / split)}

    asked = openings("check", store.EVAL)
    assert len(asked) > 50
    for stage in ("sft", "reward", "dpo"):
        assert openings(stage, store.EVAL) == asked
        assert not openings(stage, store.TRAIN) & asked
    judged = store.read_rows(layout.stage("check").data / store.EVAL)
    assert all(isinstance(row, Pair) and len(row.chosen[0]["content"]) > 0 for row in judged)
    assert not any("manual" in row.chosen[0]["content"] for row in judged if isinstance(row, Pair))
