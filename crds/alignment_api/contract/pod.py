"""What a trainer Pod is given: one configuration file, arguments, environment and mounts.

The container's arguments are one of::

    prepare
    train --stage NAME --attempt N [--rendezvous-host HOST] [--nodes N] [--micro-batch-size M] [--resume]
    promote --attempt N

HOST is given to gangs of more than one Pod; N and M where the attempt differs from the specification (`shape`). With
``--resume`` an earlier attempt is known to have had a complete checkpoint: one that cannot be found is an error.

``promote`` puts the chosen candidate of the promoting stage, which ``<stage>/report/evaluation.json`` names, where
``spec.promotion`` says. The specification that Pods get names no other jobs: the operator puts the folders of their
models in place of ``fromJob``.

``evaluate`` stages are run by ``train`` too. ``JOB_COMPLETION_INDEX``, set by Kubernetes, is the machine rank.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from ..v1alpha1.alignment_job import AlignmentJobSpec
from ..v1alpha1.base import ApiModel
from ..v1alpha1.model import SecretKeyReference

CONFIG_FILE: Final = Path("/etc/alignment/job.json")
"""The job's RunConfig, from a ConfigMap."""

CONFIG_MAPS_MOUNT: Final = Path("/etc/alignment/config-maps")
"""ConfigMaps are mounted as ``<name>/<key>`` below this folder: datasets and reward functions."""

SECRET_VARIABLE_PREFIX: Final = "ALIGNMENT_SECRET_"  # noqa: S105 - not a password
"""How the names of environment variables begin that hold values of the user's Secrets."""

POD_NAME_VARIABLE: Final = "ALIGNMENT_POD_NAME"
NODE_NAME_VARIABLE: Final = "ALIGNMENT_NODE_NAME"

IMAGE_VARIABLE: Final = "ALIGNMENT_TRAINER_IMAGE"
"""Reference of the image that a promotion runs in, for the lineage; the gangs' is the same."""

REPORT_WAIT_VARIABLE: Final = "ALIGNMENT_REPORT_WAIT_SECONDS"
"""How long a Pod with a new report waits for the operator to fetch it. Unset: it does not."""

GANG_GRACE_SECONDS: Final = 120
"""Time of a gang's Pods from SIGTERM to SIGKILL: all ranks agree on a step and write a checkpoint in it."""

PROGRESS_PORT: Final = 8080
"""The supervisor's HTTP port: /progress /history /metrics /healthz, and /report (HTML) and /report.json, gzipped."""

RENDEZVOUS_PORT: Final = 29500


class JobReference(ApiModel):
    """Which AlignmentJob a Pod works for."""

    namespace: Annotated[str, Field(max_length=63)]
    name: Annotated[str, Field(max_length=253)]
    uid: Annotated[str, Field(max_length=64)]


class RunConfig(ApiModel):
    """The configuration file of every Pod of a job: whose it is and the whole specification."""

    job: JobReference
    spec: AlignmentJobSpec


def token_variable(reference: SecretKeyReference) -> str:
    """Name of the environment variable that holds the value of a key of a Secret.

    One variable per (Secret, key), so that a model and a dataset may need different ones.
    """
    digest = hashlib.sha256(f"{reference.name}/{reference.key}".encode()).hexdigest()[:8]
    return f"{SECRET_VARIABLE_PREFIX}{digest.upper()}"
