"""The headless Service that gives the Pods of a gang their host names."""

from __future__ import annotations

from typing import Any

from alignment_api.contract import PROGRESS_PORT, RENDEZVOUS_PORT, JobReference

from .metadata import object_metadata, rendezvous_service_name, stage_labels, stage_selector


def build_rendezvous_service(job: JobReference, stage: str) -> dict[str, Any]:
    """The Service of all attempts at ``stage``: host names contain the attempt, so attempts cannot meet.

    Addresses are published before Pods are ready, since the Pods become ready only after having met.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": object_metadata(job, rendezvous_service_name(job, stage), stage_labels(job, stage)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": stage_selector(job, stage),
            "ports": [
                {"name": "rendezvous", "port": RENDEZVOUS_PORT, "protocol": "TCP"},
                {"name": "http", "port": PROGRESS_PORT, "protocol": "TCP"},
            ],
        },
    }
