"""What is promoted: the files of a model and what is said about it, each with its digests.

Nothing is copied here. A file of the model stays where the stage left it, and what is written for the promotion (model
card, lineage) is held in memory; every destination takes both alike.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import xxhash

from ..completion import FileEntry
from ..exceptions import StorageError

CARD: Final = "README.md"
LINEAGE: Final = "lineage.json"
CONFIG: Final = "config.json"
ADAPTER_CONFIG: Final = "adapter_config.json"

BLOCK: Final = 1 << 22
"""Bytes that are held in memory of a file that is read."""


@dataclass(frozen=True)
class ArtifactFile:
    """One file.

    Attributes:
        name: its path below the artifact, with slashes.
        entry: its size, and the digest by which the workspace finds damage.
        sha256: hexadecimal, by which everyone else does.
        source: where it lies, or what is in it.
    """

    name: str
    entry: FileEntry
    sha256: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return self.entry.size

    def open(self) -> BinaryIO:
        """Its content."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def blocks(self) -> Iterator[bytes]:
        """Its content in parts that fit into memory."""
        with self.open() as stream:
            while block := stream.read(BLOCK):
                yield block

    @classmethod
    def holding(cls, name: str, content: bytes) -> ArtifactFile:
        """A file that is written for the artifact."""
        entry, sha256 = _read(io.BytesIO(content))
        return cls(name, entry, sha256, content)

    @classmethod
    def at(cls, name: str, path: Path) -> ArtifactFile:
        """A file of the workspace.

        Raises:
            OSError: it cannot be read.
        """
        real = path.resolve()  # snapshots of the hub are links
        with real.open("rb") as stream:
            entry, sha256 = _read(stream)
        return cls(name, entry, sha256, real)


@dataclass(frozen=True)
class Artifact:
    """All files of a promoted model.

    Attributes:
        name: what the model is called where names are shown.
        description: one sentence on it.
        created: when its lineage was written.
        model_digest: digest over its weight files, as status shows it.
        files: in the order of their names.
    """

    name: str
    description: str
    created: datetime
    model_digest: str
    files: tuple[ArtifactFile, ...]

    @property
    def digest(self) -> str:
        """Hexadecimal digest over the names and contents of all files, as `digest_of_files` computes it."""
        return digest_of_files({file.name: file.sha256 for file in self.files})

    @property
    def short_digest(self) -> str:
        """Enough of the digest to tell it from every other."""
        return self.digest[:12]

    def file(self, name: str) -> ArtifactFile | None:
        """The file of that name."""
        return next((file for file in self.files if file.name == name), None)

    def text(self, name: str) -> str:
        """The content of a small file.

        Raises:
            KeyError: there is no such file.
        """
        file = self.file(name)
        if file is None:
            raise KeyError(name)
        return b"".join(file.blocks()).decode()


def digest_of_files(files: Mapping[str, str]) -> str:
    """One digest for many files: in-toto's ``dirHash``, which is what ``sha256sum`` says of its own sorted output.

    ``find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum`` gives the same.

    Args:
        files: path -> hexadecimal SHA-256.
    """
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(files.items(), key=lambda item: item[0].encode()))
    return hashlib.sha256(lines.encode()).hexdigest()


def files_of_model(folder: Path, entries: Mapping[str, FileEntry] | None, below: str = "") -> Iterator[ArtifactFile]:
    """The files of a model in the workspace, each read once, and compared with what they were written as.

    Args:
        folder: where it lies.
        entries: every file according to its completion marker; None for a model without one.
        below: prefix of the files that are wanted, which their names in the artifact do not have.

    Raises:
        StorageError: a file is missing or altered.
        OSError: a file cannot be read.
    """
    names = entries if entries is not None else _names(folder)
    for name in sorted(names):
        if not name.startswith(below):
            continue
        try:
            file = ArtifactFile.at(name.removeprefix(below), folder / name)
        except FileNotFoundError as error:
            raise StorageError(f"the model in {folder} is damaged: {name} is missing: run its stage again") from error
        written = entries[name] if entries is not None else file.entry
        if file.entry.size != written.size or written.xxh3 not in (None, file.entry.xxh3):
            raise StorageError(
                f"the model in {folder} is damaged: {name} is not as it was written (it has {file.size} bytes, and had "
                f"{written.size}): run its stage again"
            )
        yield file


def in_order(files: Iterable[ArtifactFile]) -> tuple[ArtifactFile, ...]:
    """Files by name; of several with one name the last one."""
    return tuple(file for _, file in sorted({file.name: file for file in files}.items()))


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _read(stream: BinaryIO) -> tuple[FileEntry, str]:
    """Size and both digests, in one pass."""
    sha256, xxh3, size = hashlib.sha256(), xxhash.xxh3_128(), 0
    while block := stream.read(BLOCK):
        sha256.update(block)
        xxh3.update(block)
        size += len(block)
    return FileEntry(size=size, xxh3=xxh3.hexdigest()), sha256.hexdigest()
