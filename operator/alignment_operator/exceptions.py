"""Every error the operator raises on purpose.

::

    OperatorError
    ├── SettingsError            the administrator must change something; the process ends
    ├── ProgressError            an answer of a gang's rank 0 that cannot be used
    └── ClusterError             the API server did not do what was asked
        ├── NotFoundError        the object is not there
        ├── RejectedError        it refuses for good: someone must change something; shown in the job's status
        └── UnavailableError     it may do so later: unreachable, overloaded, or another writer was faster
"""

from __future__ import annotations


class OperatorError(Exception):
    """Base of all errors of the operator."""


class SettingsError(OperatorError):
    """A setting is missing or wrong."""


class ProgressError(OperatorError):
    """What rank 0 answered is not a valid progress of its gang."""


class ClusterError(OperatorError):
    """The API server did not do what was asked.

    Attributes:
        reason: the API server's reason in one word (``Invalid``, ``Forbidden``), for metrics.
    """

    def __init__(self, message: str, reason: str = "Unknown") -> None:
        super().__init__(message)
        self.reason = reason


class NotFoundError(ClusterError):
    """The object, its namespace or its kind does not exist."""


class RejectedError(ClusterError):
    """The API server refuses the request for good, such as an invalid manifest or an exceeded quota."""


class UnavailableError(ClusterError):
    """The same request may succeed later."""
