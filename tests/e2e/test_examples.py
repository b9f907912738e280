"""The tiny example of every method, applied as it stands, to its end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.cluster.layout import CHECKOUT

from .namespace import Namespace, Object, holds

pytestmark = pytest.mark.e2e

_METHODS = CHECKOUT / "examples" / "methods"
_TINY = {path.parent.name: path for path in sorted(_METHODS.glob("*/tiny.yaml"))}
_AT_ONCE = 2  # as many as this machine has processors


def _job_name(path: Path) -> str:
    documents = yaml.safe_load_all(path.read_text())
    name: str = next(one["metadata"]["name"] for one in documents if one["kind"] == "AlignmentJob")
    return name


def _run(namespace: Namespace, path: Path) -> Object:
    namespace.run("apply", "-f", str(path))
    return namespace.wait_finished(_job_name(path), 600)


@pytest.fixture(scope="module")
def runs(seeded: Namespace) -> Iterator[dict[str, Future[Object]]]:
    """Every example, started when there is room for it; the tests wait for the one they are about."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {name: pool.submit(_run, seeded, path) for name, path in _TINY.items()}
        pool.shutdown(cancel_futures=True)


def test_every_method_has_both_sizes() -> None:
    production = {path.parent.name for path in _METHODS.glob("*/production.yaml")}
    assert production == set(_TINY) == {path.name for path in _METHODS.iterdir() if path.is_dir()}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", _TINY)
def test_the_tiny_example_runs_to_its_end(runs: dict[str, Future[Object]], name: str) -> None:
    job = runs[name].result()
    assert holds(job, "Complete"), job["status"]
    for entry in job["status"]["stages"]:
        assert entry["phase"] == "Succeeded", entry
        assert entry["attempt"] == 1, entry
        assert entry["progress"]["step"] == entry["progress"]["totalSteps"] > 0
        assert entry["model"]["digest"].startswith("sha256:")
        assert entry["data"]["trainRows"] > 0
        assert {"loss", "reward"} & entry["metrics"].keys(), entry["metrics"]
