"""A connection to an S3-compatible store, and its errors in words a person can act on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from alignment_api.contract import Problem, token_variable
from alignment_api.v1alpha1.dataset import S3Dataset
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_api.v1alpha1.uses import S3_CREDENTIALS

from ...exceptions import ConfigurationError, DataError, TrainerError, UnavailableError
from .item import data_error

_IDENTITY: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
"""Variables by which a Pod is given an identity; without one, requests are anonymous instead of asking a metadata
service that most clusters do not have."""

_CODE: Final = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))?")
_UNKNOWN_CODE: Final = re.compile(r"ExceptionName: (\w+)")

_REFUSED: Final = frozenset(
    {
        "ACCESS_DENIED",
        "INVALID_ACCESS_KEY_ID",
        "INVALID_CLIENT_TOKEN_ID",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "SIGNATURE_DOES_NOT_MATCH",
        "UNRECOGNIZED_CLIENT",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "XAdminUserNotFound",
    }
)
_UNREACHABLE: Final = frozenset(
    {"NETWORK_CONNECTION", "INTERNAL_FAILURE", "REQUEST_TIMEOUT", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "THROTTLING"}
)
_ELSEWHERE: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "301", "400"})
"""What a store says to requests that are meant for another region."""


class Place(Protocol):
    """A bucket, and how to log in there."""

    @property
    def bucket(self) -> str: ...
    @property
    def endpoint(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...
    @property
    def credentials_secret(self) -> str | None: ...


class Fault(Enum):
    """What a store's error comes to."""

    NO_BUCKET = "no such bucket"
    NO_OBJECT = "no such object"
    REFUSED = "access refused"
    UNREACHABLE = "no answer"
    ELSEWHERE = "another region is meant"
    OTHER = "something else"


def connect(source: Place, field: str, refused: Callable[[str, str], TrainerError] = data_error) -> Any:
    """The store as a `pyarrow.fs.S3FileSystem`; its paths are ``bucket/key``.

    Args:
        source: where it is, and how to log in. `AWS_CA_BUNDLE` may name a file with certificates to trust.
        field: path of the source in the manifest.
        refused: makes the error of a field and a message.

    Raises:
        TrainerError: as ``refused`` makes it; the endpoint has a path, or Amazon S3 has no such bucket.
        ConfigurationError: the Secret lacks a key.
        OSError: Amazon S3 cannot be asked for the bucket's region.
    """
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    address = urlsplit(source.endpoint or "")
    if address.path.strip("/") or address.query:
        raise refused(f"{field}.endpoint", f"{source.endpoint} must be scheme, host and port alone: remove the path")
    return S3FileSystem(
        **_credentials(source, field),
        region=source.region or (_amazon_region(source.bucket, field, refused) if source.endpoint is None else None),
        endpoint_override=address.netloc or None,
        scheme=address.scheme or None,
        connect_timeout=10,
        request_timeout=60,
        background_writes=False,  # else what a slow store has not taken yet piles up in memory
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3),
        tls_ca_file_path=os.environ.get("AWS_CA_BUNDLE"),
    )


def _amazon_region(bucket: str, field: str, refused: Callable[[str, str], TrainerError]) -> str:
    from pyarrow.fs import resolve_s3_region

    try:
        return str(resolve_s3_region(bucket))
    except OSError as error:
        if is_of_store(error):
            raise
        raise refused(f"{field}.bucket", f"Amazon S3 has no bucket {bucket}: correct the name") from error


def _credentials(source: Place, field: str) -> dict[str, Any]:
    if source.credentials_secret is None:
        return {"anonymous": not any(os.environ.get(name) for name in _IDENTITY)}
    values = {}
    for option, key in zip(("access_key", "secret_key"), S3_CREDENTIALS, strict=True):
        value = os.environ.get(token_variable(SecretKeyReference(name=source.credentials_secret, key=key)))
        if not value:
            message = f"Secret {source.credentials_secret} has no key {key}: add it"
            raise ConfigurationError(message, [Problem(field=f"{field}.credentialsSecret", message=message)])
        values[option] = value.strip()
    return values


def keys_below(store: Any, path: str) -> list[str]:
    """The keys of the objects whose keys begin with those of the folder ``path``, a bucket and a part of a key.

    Of a request that the store refuses, only this one is answered with the reason.

    Raises:
        OSError: the store refuses; there being no such object is no error.
    """
    from pyarrow.fs import FileSelector, FileType

    try:
        found = store.get_file_info(FileSelector(path, recursive=True))
    except FileNotFoundError:
        return []
    return [info.path.partition("/")[2] for info in found if info.type is FileType.File]


def is_of_store(error: OSError) -> bool:
    """Whether an error comes from the store, not from what the object holds."""
    return isinstance(error, FileNotFoundError) or _CODE.search(str(error)) is not None


@contextmanager
def errors_explained(source: S3Dataset, field: str) -> Iterator[None]:
    """Turn the store's errors into errors that name the field and the way out.

    Args:
        source: what is read.
        field: its path in the manifest.
    """
    try:
        yield
    except OSError as error:
        if not is_of_store(error):
            raise
        kind, name, message = _explain(error, source)
        message = f"s3://{source.bucket}/{source.key}: {message}"
        raise kind(message, [Problem(field=f"{field}{name}", message=message)]) from error


def fault_of(error: OSError) -> Fault:
    """What an error of the store comes to."""
    text = str(error)
    found = _CODE.search(text)
    unknown = _UNKNOWN_CODE.search(text)
    codes = {*(found.groups() if found else ()), unknown[1] if unknown else None} - {None}
    if "NO_SUCH_BUCKET" in codes:
        return Fault.NO_BUCKET
    if not codes:
        return Fault.NO_OBJECT
    if codes & _REFUSED:
        return Fault.REFUSED
    if codes & _UNREACHABLE or any(code and code.isdigit() and code >= "500" for code in codes):
        return Fault.UNREACHABLE
    return Fault.ELSEWHERE if codes & _ELSEWHERE else Fault.OTHER


def _explain(error: OSError, source: S3Dataset) -> tuple[type[TrainerError], str, str]:
    """Error class, member of the source to blame, and message."""
    store = source.endpoint or "Amazon S3"
    match fault_of(error):
        case Fault.NO_BUCKET:
            return DataError, ".bucket", f"{store} has no bucket {source.bucket}: correct the name or the endpoint"
        case Fault.NO_OBJECT:
            return DataError, ".key", "the object was removed while it was read"
        case Fault.REFUSED if source.credentials_secret is None:
            return ConfigurationError, "", f"{store} refuses access: set credentialsSecret, or make the data public"
        case Fault.REFUSED:
            way_out = f"correct its keys, or let that account read the bucket ({error})"
            message = f"{store} refuses the credentials in Secret {source.credentials_secret}: {way_out}"
            return ConfigurationError, ".credentialsSecret", message
        case Fault.UNREACHABLE:
            message = f"{store} cannot be reached: check the address and the cluster's network ({error})"
            return UnavailableError, ".endpoint", message
        case Fault.ELSEWHERE:
            message = f"{store} expects another region: set region to the bucket's ({error})"
            return ConfigurationError, ".region", message
        case _:
            return ConfigurationError, "", f"{store} refuses: {error}"
