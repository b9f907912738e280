"""Types and reasons of conditions and events: every word the operator says to programs."""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Condition types of an AlignmentJob.

    Ready, Reconciling and Stalled follow kstatus, so that Flux and Argo CD understand a job; Complete and Failed
    follow batch/v1 Job, so that ``kubectl wait --for=condition=Complete`` works.
    """

    ACCEPTED = "Accepted"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"
    PROMOTED = "Promoted"


class Reason(StrEnum):
    """Reasons of conditions, stage phases and events."""

    # Accepted
    VALID = "Valid"
    INVALID_SPEC = "InvalidSpec"
    # life of a job and its stages
    PENDING = "Pending"
    PREPARING = "Preparing"
    PREPARED = "Prepared"
    WAITING_FOR_STAGE = "WaitingForStage"
    WAITING_FOR_JOB = "WaitingForJob"
    WAITING_FOR_SLOT = "WaitingForSlot"
    STARTING = "Starting"
    RUNNING = "Running"
    CHECKPOINTING = "Checkpointing"
    RESTARTING = "Restarting"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    # what a running job waits for
    QUEUED = "Queued"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    MISSING_SECRET = "MissingSecret"  # noqa: S105
    MISSING_CONFIG_MAP = "MissingConfigMap"
    MISSING_CLAIM = "MissingClaim"
    POD_REJECTED = "PodRejected"
    NOT_ALLOWED = "NotAllowed"
    # why an attempt or job ended
    DATA_ERROR = "DataError"
    CONFIGURATION_ERROR = "ConfigurationError"
    FUNCTION_ERROR = "FunctionError"
    STOPPED_BY_GUARD = "StoppedByGuard"
    UNAVAILABLE = "Unavailable"
    OUT_OF_MEMORY = "OutOfMemory"
    STORAGE_ERROR = "StorageError"
    COMMUNICATION_ERROR = "CommunicationError"
    PREEMPTED = "Preempted"
    PROCESS_KILLED = "ProcessKilled"
    POD_LOST = "PodLost"
    NODE_LOST = "NodeLost"
    DEVICE_ERROR = "DeviceError"
    CHECKPOINT_ERROR = "CheckpointError"
    NOT_PLACED = "NotPlaced"
    TRAINER_ERROR = "TrainerError"
    NO_PROGRESS = "NoProgress"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    # Promoted
    PROMOTED = "Promoted"
    PROMOTING = "Promoting"
    PROMOTION_FAILED = "PromotionFailed"
    GATES_PASSED = "GatesPassed"
    GATES_FAILED = "GatesFailed"
    # what went wrong in the operator itself
    RECONCILE_ERROR = "ReconcileError"
