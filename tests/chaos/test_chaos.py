"""A short cut of `make chaos`: one job, struck by faults of different kinds, comes to the same end all the same."""

from __future__ import annotations

import pytest

from .faults import BY_NAME
from .schedule import STEPS, plan_run
from .suite import Result, run_all
from .world import chaos_cluster

pytestmark = pytest.mark.e2e

_NODES = 2
_SEED = "short/57"
_KINDS = (
    "operator and rank killed",
    "rank killed while checkpointing",
    "kube-apiserver restarted",
    "node loses power",
    "disk full",
    "suspended and resumed",
)


@pytest.mark.timeout(1200)
def test_a_job_comes_to_the_same_end_whatever_strikes_it() -> None:
    plan = plan_run(_SEED, [BY_NAME[name] for name in _KINDS])
    assert plan.stages == tuple(STEPS)[:1], "a seed with one stage is enough here"
    result = Result()
    with chaos_cluster(_NODES) as cluster:
        run_all(cluster, [plan], result, nodes=_NODES)
    print(result.text())
    assert result.wrong == {}, result.text()
    assert len(result.measures) >= len(_KINDS) - 1
    assert sum(measure.restarted for measure in result.measures) >= 3
