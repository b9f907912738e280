"""Labels of every object the operator creates, and the fixed names inside a Pod."""

from __future__ import annotations

from typing import Final

JOB_NAME: Final = "alignment.dev/job-name"
JOB_UID: Final = "alignment.dev/job-uid"
STAGE: Final = "alignment.dev/stage"
ATTEMPT: Final = "alignment.dev/attempt"
ROLE: Final = "alignment.dev/role"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"

COMPLETION_INDEX: Final = "batch.kubernetes.io/job-completion-index"
"""Kubernetes puts it on the Pods of an Indexed Job: the machine rank."""

ROLE_PREPARE: Final = "prepare"
ROLE_TRAIN: Final = "train"
ROLE_PROMOTE: Final = "promote"
MANAGER: Final = "alignment-operator"

CONTAINER: Final = "trainer"
