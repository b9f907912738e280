"""Every error the operator raises on purpose.

::

    OperatorError
    ├── SettingsError            the administrator must change something; the process ends
    ├── LeadershipLostError      another replica may write now; the process ends
    ├── ProgressError            an answer of a gang's rank 0 that cannot be used
    ├── ReportError              a job's report that cannot be fetched or read
    └── ClusterError             the API server did not do what was asked
        ├── NotFoundError        the object is not there
        ├── RejectedError        it refuses for good: someone must change something; shown in the job's status
        └── UnavailableError     it may do so later: unreachable or overloaded
            └── ConflictError    another writer was faster; to be planned again from what the object is now
"""

from __future__ import annotations


class OperatorError(Exception):
    """Base of all errors of the operator."""


class SettingsError(OperatorError):
    """A setting is missing or wrong."""


class LeadershipLostError(OperatorError):
    """This replica may not write any more."""


class ProgressError(OperatorError):
    """What rank 0 answered is not a valid progress of its gang."""


class ReportError(OperatorError):
    """A job's report is not there, too large, or no report."""


class ClusterError(OperatorError):
    """The API server did not do what was asked.

    Attributes:
        reason: the API server's reason in one word (``Invalid``, ``Forbidden``), for metrics.
        retry_after: for how many seconds it wants to be left alone; 0 when it did not say.
    """

    def __init__(self, message: str, reason: str = "Unknown", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class NotFoundError(ClusterError):
    """The object, its namespace or its kind does not exist."""


class RejectedError(ClusterError):
    """The API server refuses the request for good, such as an invalid manifest or an exceeded quota."""


class UnavailableError(ClusterError):
    """The same request may succeed later."""


class ConflictError(UnavailableError):
    """The object is not what the request was made for: it was changed or replaced meanwhile."""
