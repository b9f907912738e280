"""Rows of objects in an S3-compatible store."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1.dataset import S3Dataset

from ...exceptions import UnavailableError
from ..files import is_columnar, kind_of
from . import s3_store
from .item import SourceItem, data_error
from .opened import check_kind, items, local_items, of_one_kind

_CHUNK: Final = 16 << 20


def read(source: S3Dataset, cache: Path, field: str, *, stream: bool) -> Iterator[SourceItem]:
    """The rows of an object, or of the objects below a prefix in the order of their keys.

    Args:
        source: the objects.
        cache: where downloads are kept; an object that has not changed is not downloaded again.
        field: path of the source in the manifest.
        stream: read in place, over the network, instead of downloading each object first.
    """
    with s3_store.errors_explained(source, field):
        store = s3_store.connect(source, field)
        for key in _keys(store, source, field):
            name = f"s3://{source.bucket}/{key}"
            if stream:
                yield from _in_place(store, f"{source.bucket}/{key}", name, f"{field}.key")
            else:
                yield from local_items(
                    _download(store, source, key, cache / "s3", f"{field}.key"), name, f"{field}.key"
                )


def versions(source: S3Dataset, field: str) -> list[str]:
    """What tells the objects' content from any other: each key with the tag that the store gives its content."""
    with s3_store.errors_explained(source, field):
        store = s3_store.connect(source, field)
        return [f"{key} {_tag_of(store, f'{source.bucket}/{key}')}" for key in _keys(store, source, field)]


def _tag_of(store: Any, path: str) -> str:
    with store.open_input_file(path) as remote:
        return _tag(remote)


def _tag(remote: Any) -> str:
    tag: bytes = remote.metadata()["ETag"]
    return tag.decode()


def _keys(store: Any, source: S3Dataset, field: str) -> list[str]:
    """The objects to read.

    Raises:
        DataError: there are none, or they are no files of rows of one kind.
    """
    from pyarrow.fs import FileType

    path = f"{source.bucket}/{source.key}"
    if source.key.endswith("/"):
        return of_one_kind(s3_store.keys_below(store, path), f"s3://{path}", f"{field}.key")
    (info,) = store.get_file_info([path])
    if info.type is FileType.Directory:
        raise data_error(f"{field}.key", f"s3://{path} is a prefix of other keys: write a / at its end to read them")
    if info.type is FileType.NotFound:
        s3_store.keys_below(store, path)  # a missing bucket and a wrong access key look the same until here
        raise data_error(f"{field}.key", f"there is no object s3://{path}: correct the key, or put the data there")
    check_kind(path, f"{field}.key")
    return [source.key]


def _in_place(store: Any, path: str, name: str, field: str) -> Iterator[SourceItem]:
    if is_columnar(kind_of(path) or ""):
        opened = store.open_input_file(path)
    else:
        opened = store.open_input_stream(path, compression=None, buffer_size=1 << 20)
    with opened as file:
        try:
            yield from items(name, file, field)
        except OSError as error:
            if s3_store.is_of_store(error):
                raise
            raise data_error(field, f"{name} cannot be read: {error}") from error


def _download(store: Any, source: S3Dataset, key: str, cache: Path, field: str) -> Path:
    """The object as a local file, complete or not there at all; jobs may download the same one at the same time.

    Raises:
        UnavailableError: it was replaced meanwhile.
    """
    path = f"{source.bucket}/{key}"
    with store.open_input_file(path) as remote:
        tag = _tag(remote)
        version = [source.endpoint or "", source.bucket, key, tag]
        folder = cache / hashlib.sha256("\n".join(version).encode()).hexdigest()[:32]
        target = folder / PurePosixPath(key).name
        if target.is_file():
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as building:
            partial = Path(building) / target.name
            with partial.open("wb") as file:
                shutil.copyfileobj(remote, file, _CHUNK)
            if _tag_of(store, path) != tag:
                message = f"s3://{path} was replaced while it was downloaded"
                raise UnavailableError(message, [Problem(field=field, message=message)])
            partial.rename(target)
    return target
