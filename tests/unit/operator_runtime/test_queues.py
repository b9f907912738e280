"""What is said of a Workload that Kueue has not admitted."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator.cluster.queues import why_not_admitted


def workload(*conditions: tuple[str, str, str], **fields: Any) -> dict[str, Any]:
    status: dict[str, Any] = {
        "conditions": [{"type": type_, "status": status, "message": text} for type_, status, text in conditions]
    }
    return {"metadata": {"name": "job-x"}, "spec": fields.pop("spec", {}), "status": status | fields}


_RESERVED = ("QuotaReserved", "True", "Quota reserved in ClusterQueue gangs")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"metadata": {"name": "job-x"}}, "Kueue has not looked at it yet"),
        (workload(("QuotaReserved", "False", "quota for pods is used up")), "quota for pods is used up"),
        (workload(_RESERVED, ("Admitted", "False", "The workload failed checks")), "The workload failed checks"),
        (
            workload(_RESERVED, admissionChecks=[{"name": "nodes", "state": "Pending", "message": "asks for nodes"}]),
            "admission check nodes: asks for nodes",
        ),
        (
            workload(
                _RESERVED,
                admissionChecks=[{"name": "a", "state": "Ready"}, {"name": "b", "state": "Retry"}],
            ),
            "admission check b: Retry",
        ),
        (workload(_RESERVED, ("Admitted", "True", "admitted")), "Kueue has admitted it and starts it now"),
        (workload(spec={"active": False}), "its Workload job-x is deactivated: set its spec.active to true"),
    ],
)
def test_why_a_gang_is_not_admitted(seen: dict[str, Any], words: str) -> None:
    assert why_not_admitted(seen) == words
