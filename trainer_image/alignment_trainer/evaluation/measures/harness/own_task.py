"""Tasks of the user's own: YAML in the harness's format, and data, in a folder of the workspace."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from .definition import Definition, nearest
from .refusals import Function, Refused, refuse_code

_FILE_FORMATS: Final = ("json", "csv", "parquet", "arrow", "text")
"""Names of builders of `datasets` that read files."""
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*(/[-A-Za-z0-9_.]+)?")
_OPTIONS: Final = frozenset({"data_files", "data_dir", "revision", "trust_remote_code"})


class _Loader(yaml.SafeLoader):
    """YAML whose functions are names."""


def _function(loader: _Loader, node: yaml.ScalarNode) -> Function:
    return Function(str(loader.construct_scalar(node)))


_Loader.add_constructor("!function", _function)


def read(root: Path, name: str, shown: str) -> Definition:
    """The task ``name`` in a folder; its files are named as they lie there, relative to the file that names them.

    Args:
        root: the folder.
        name: the task's name in its YAML.
        shown: the folder as the manifest names it.

    Raises:
        Refused: there is no such task, or it is not what a task may be.
    """
    if not root.is_dir():
        raise Refused(f"{shown} is no folder in the workspace volume: write the task there or correct the path")
    found: dict[str, Path] = {}
    unreadable = ""
    for path in sorted(root.rglob("*.yaml")):
        try:
            config = _load(path, root)
        except Refused as error:
            unreadable = unreadable or f"; {error}"
            continue
        found.setdefault(str(config.get("task")), path)
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise Refused(f"{shown} has no task {name!r}, but {there}{nearest(name, list(found))}{unreadable}")
    config = _load(found[name], root)
    refuse_code(name, config, own=True)
    return Definition(name=name, config=_with_data(config, name, found[name].parent, root))


def _load(path: Path, root: Path, including: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The content of a file, on top of that of the files that it includes."""
    shown = path.relative_to(root).as_posix()
    try:
        config = yaml.load(path.read_text(), _Loader)  # noqa: S506 - a safe loader
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refused(f"{shown} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise Refused(f"{shown} is not a YAML mapping")
    included = config.pop("include", [])
    merged: dict[str, Any] = {}
    for name in included if isinstance(included, list) else [included]:
        other = _inside(path.parent / str(name), root, f"{shown} includes {name}")
        if other in (path, *including):
            raise Refused(f"{shown} includes {name}, which includes it")
        merged |= _load(other, root, (path, *including))
    return merged | config


def _with_data(config: dict[str, Any], name: str, folder: Path, root: Path) -> dict[str, Any]:
    """``config`` with the full paths of its data files, all of which lie in the task's folder."""
    source, options = str(config.get("dataset_path")), config.get("dataset_kwargs") or {}
    unknown = sorted(set(options) - _OPTIONS) if isinstance(options, dict) else ["a list"]
    if unknown:
        raise Refused(f"task {name}: dataset_kwargs may not have {unknown[0]}, but {', '.join(sorted(_OPTIONS))}")
    if source not in _FILE_FORMATS:
        if not _REPOSITORY.fullmatch(source):
            formats = ", ".join(_FILE_FORMATS)
            raise Refused(f"task {name}: dataset_path {source!r} is neither a dataset on the hub nor one of {formats}")
        for value in _strings([options.get("data_files"), options.get("data_dir")]):
            if value.startswith("/") or "://" in value or ".." in PurePosixPath(value).parts:
                raise Refused(f"task {name}: {value!r} does not lie in the dataset {source}")
        return config
    files = options.get("data_files")
    if not list(_strings(files)):
        raise Refused(f"task {name}: dataset_kwargs.data_files must name the {source} files of each split")
    return config | {"dataset_kwargs": {"data_files": _resolved(files, name, folder, root)}}


def _resolved(files: Any, name: str, folder: Path, root: Path) -> Any:
    match files:
        case dict():
            return {str(split): _resolved(value, name, folder, root) for split, value in files.items()}
        case list():
            return [_resolved(value, name, folder, root) for value in files]
        case _:
            return str(_inside(folder / str(files), root, f"task {name}: data file {files}"))


def _inside(path: Path, root: Path, what: str) -> Path:
    """``path`` if it is a file in the task's folder, through links or not."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise Refused(f"{what} does not lie in the task's folder: move it there")
    if not path.is_file():
        raise Refused(f"{what} does not exist: write it there or correct its name")
    return path


def _strings(value: Any) -> list[str]:
    match value:
        case dict():
            return [found for below in value.values() for found in _strings(below)]
        case list():
            return [found for below in value for found in _strings(below)]
        case None:
            return []
        case _:
            return [str(value)]
