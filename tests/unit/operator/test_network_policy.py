"""Whom the gangs of a job talk to where the network enforces policies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_operator.builders.metadata import gang_labels, prepare_labels, promote_labels
from alignment_operator.builders.network_policy import build_network_policy
from alignment_operator.planning.observed import GangTraffic
from tests.network_policies import Endpoint, allows

from .manifests import SETTINGS, pipeline_spec
from .scene import Scene, kinds

JOB = JobReference(namespace="team", name="mine", uid="u1")
OTHER = JobReference(namespace="team", name="other", uid="u2")
NAMESAKE = JobReference(namespace="elsewhere", name="mine", uid="u1")
TRAFFIC = GangTraffic(
    operator_namespace="system",
    operator_labels={"app.kubernetes.io/name": "alignment-operator"},
    scrapers=({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},),
)


def gang(job: JobReference, stage: str = "sft", attempt: int = 1) -> Endpoint:
    return Endpoint("10.1.0.2", job.namespace, gang_labels(job, stage, attempt))


OPERATOR = Endpoint("10.1.0.3", "system", {"app.kubernetes.io/name": "alignment-operator", "pod-template-hash": "x"})
IMPOSTOR = replace(OPERATOR, namespace="team")
NEIGHBOUR = Endpoint("10.1.0.4", "team", {"app": "notebook"})
PROMETHEUS = Endpoint("10.1.0.5", "monitoring", {"app": "prometheus"})
PREPARE = Endpoint("10.1.0.6", "team", prepare_labels(JOB, 1))
PROMOTION = Endpoint("10.1.0.7", "team", promote_labels(JOB, 1))
API_SERVER = Endpoint("10.0.0.1")
NAME_SERVER = Endpoint("169.254.20.10")
INTERNET = Endpoint("203.0.113.7")


def policy(**spec: Any) -> dict[str, Any]:
    return build_network_policy(JOB, AlignmentJobSpec.model_validate(pipeline_spec(**spec)), TRAFFIC)


@pytest.mark.parametrize(
    ("source", "port", "passes"),
    [
        (gang(JOB), 29500, True),
        (gang(JOB), 43210, True),
        (gang(JOB, "dpo", 2), 29500, True),
        (gang(OTHER), 29500, False),
        (gang(NAMESAKE), 29500, False),
        (OPERATOR, 8080, True),
        (OPERATOR, 29500, False),
        (IMPOSTOR, 8080, False),
        (PROMETHEUS, 8080, True),
        (PROMETHEUS, 29500, False),
        (NEIGHBOUR, 8080, False),
        (PREPARE, 8080, False),
        (INTERNET, 8080, False),
    ],
)
def test_who_reaches_a_gang(source: Endpoint, port: int, passes: bool) -> None:
    assert allows([policy()], source, gang(JOB), port) is passes


@pytest.mark.parametrize(
    ("target", "port", "protocol", "passes"),
    [
        (gang(JOB, "dpo", 2), 29500, "TCP", True),
        (gang(OTHER), 29500, "TCP", False),
        (NAME_SERVER, 53, "UDP", True),
        (NAME_SERVER, 53, "TCP", True),
        (API_SERVER, 443, "TCP", False),
        (API_SERVER, 6443, "TCP", False),
        (INTERNET, 443, "TCP", False),
        (NEIGHBOUR, 80, "TCP", False),
        (OPERATOR, 8081, "TCP", False),
    ],
)
def test_what_a_gang_reaches(target: Endpoint, port: int, protocol: str, passes: bool) -> None:
    assert allows([policy()], gang(JOB), target, port, protocol) is passes


@pytest.mark.parametrize("target", [INTERNET, API_SERVER, NEIGHBOUR])
@pytest.mark.parametrize("pod", [PREPARE, PROMOTION])
def test_prepare_and_the_promotion_are_left_alone(pod: Endpoint, target: Endpoint) -> None:
    assert allows([policy()], pod, target, 443)
    assert allows([policy()], OPERATOR, pod, 8080)


def test_services_that_compute_rewards_are_reached_at_their_ports() -> None:
    urls = {"judge": "http://judge:9000/score", "other": "https://a.example"}
    stages = [
        {
            "name": "grpo",
            "dataset": {"inline": {"rows": [{"prompt": "a"}]}},
            "grpo": {"rewards": [{"name": name, "http": {"url": url}} for name, url in urls.items()]},
        }
    ]
    made = policy(stages=stages)
    assert allows([made], gang(JOB), NEIGHBOUR, 9000)
    assert allows([made], gang(JOB), INTERNET, 443)
    assert not allows([made], gang(JOB), INTERNET, 80)


def test_language_models_that_judge_are_reached_at_their_ports() -> None:
    stages = pipeline_spec()["stages"]
    judge = {"name": "llm", "llm": {"url": "http://judge:8000/v1", "model": "m"}}
    stages[3]["evaluate"]["judges"].append(judge)
    made = policy(stages=stages)
    assert allows([made], gang(JOB), NEIGHBOUR, 8000)
    assert not allows([made], gang(JOB), NEIGHBOUR, 8001)


def test_it_is_made_with_prepare_and_only_where_it_is_wanted() -> None:
    assert "NetworkPolicy" not in kinds(Scene().reconcile())
    scene = Scene()
    scene.settings = replace(SETTINGS, gang_traffic=TRAFFIC)
    assert kinds(scene.reconcile()) == ["ConfigMap", "NetworkPolicy", "Job"]
    assert "NetworkPolicy" not in kinds(scene.run_stage("-prepare-"))
