"""A prefix in an S3-compatible store.

::

    <prefix>/<digest>/...         the model, by the digest of all its files; never changed
    <prefix>/latest.json          which one is the newest; written last

An object appears when its upload is complete, and not before. What is there already is not sent again, but read like
what was sent: the store's content is what counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from alignment_api.v1alpha1.promotion import S3Destination

from ...data.sources import s3_store
from ...data.sources.s3_store import Fault
from ...exceptions import StorageError, TrainerError
from ..artifact import BLOCK, Artifact
from .refusal import refused, unreachable

LATEST: Final = "latest.json"


def put(artifact: Artifact, place: S3Destination, field: str) -> str:
    """Put the model below its digest, and name it the newest; its address.

    Raises:
        ConfigurationError: the store refuses, or has no such bucket.
        UnavailableError: it cannot be reached.
        StorageError: what was written reads differently.
    """
    prefix = f"{place.bucket}/{place.prefix.rstrip('/')}"
    folder = f"{prefix}/{artifact.short_digest}"
    with _errors_explained(place, field):
        store = s3_store.connect(place, field, refused)
        for file in artifact.files:
            path = f"{folder}/{file.name}"
            if _sha256_of(store, path, file.size) == file.sha256:
                continue
            with store.open_output_stream(path, compression=None) as stream:
                for block in file.blocks():
                    stream.write(block)
            if _sha256_of(store, path, file.size) != file.sha256:
                raise StorageError(f"s3://{path} does not hold what was written to it")
        with store.open_output_stream(f"{prefix}/{LATEST}", compression=None) as stream:
            stream.write(_latest(artifact))
    return f"s3://{folder}"


def _latest(artifact: Artifact) -> bytes:
    """What `LATEST` says: the folder beside it, and what must be in there."""
    content = {
        "path": artifact.short_digest,
        "digest": f"sha256:{artifact.digest}",
        "name": artifact.name,
        "time": artifact.created.isoformat(),
        "files": {file.name: {"size": file.size, "sha256": file.sha256} for file in artifact.files},
    }
    return json.dumps(content, indent=2).encode()


def _sha256_of(store: Any, path: str, size: int) -> str | None:
    """Digest of an object as the store gives it out; None if there is none of that size."""
    from pyarrow.fs import FileType

    info = store.get_file_info(path)
    if info.type is not FileType.File or info.size != size:
        return None
    digest = hashlib.sha256()
    with store.open_input_stream(path, compression=None) as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _errors_explained(place: S3Destination, field: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not s3_store.is_of_store(error):
            raise  # of the workspace, from which files are read
        raise _explained(error, place, field) from error


def _explained(error: OSError, place: S3Destination, field: str) -> TrainerError:
    store = place.endpoint or "Amazon S3"
    match s3_store.fault_of(error):
        case Fault.NO_BUCKET | Fault.NO_OBJECT:
            return refused(f"{field}.bucket", f"{store} has no bucket {place.bucket}: make it, or correct the name")
        case Fault.REFUSED if place.credentials_secret is None:
            return refused(
                f"{field}.credentialsSecret",
                f"{store} refuses to write to bucket {place.bucket}: set credentialsSecret, or let the Pod's identity "
                f"write there ({error})",
            )
        case Fault.REFUSED:
            return refused(
                f"{field}.credentialsSecret",
                f"{store} refuses the credentials in Secret {place.credentials_secret}: correct its keys, or let that "
                f"account write to bucket {place.bucket} ({error})",
            )
        case Fault.UNREACHABLE:
            return unreachable(
                f"{field}.endpoint", f"{store} cannot be reached: check the address and the cluster's network ({error})"
            )
        case Fault.ELSEWHERE:
            return refused(f"{field}.region", f"{store} expects another region: set region to the bucket's ({error})")
        case _:
            return refused(field, f"{store} refuses: {error}")
