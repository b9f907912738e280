"""Reading files that may be missing, torn, huge or not ours: nothing raises, and nothing is read without bound."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

_log = logging.getLogger(__name__)

MAX_JSON_BYTES: Final = 16 << 20
_STRETCHES: Final = 32
"""In how many pieces a file is read that is too long to be read as a whole."""

Model = TypeVar("Model", bound=BaseModel)


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            _log.warning("%s is too large for the report", path)
            return {}
        content = loaded(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("the report does without %s: %s", path, error)
        return {}
    return content if isinstance(content, dict) else {}


def model(path: Path, kind: type[Model]) -> Model | None:
    """The model in a file; None if there is none that is whole."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        _log.warning("the report does without %s: %s", path, error)
        return None


def json_lines(path: Path, most: int) -> Iterator[Any]:
    """The values in a file of JSON Lines; lines that are torn are left out.

    Args:
        path: the file.
        most: bytes that are read; of a longer file, evenly spaced stretches with its beginning and its end.
    """
    try:
        with path.open("rb") as file:
            for stretch in _stretches(file.seek(0, 2), most):
                file.seek(stretch.start)
                content = file.read(len(stretch))
                lines = content.split(b"\n")
                for line in lines if stretch.start == 0 else lines[1:]:
                    try:
                        yield loaded(line)
                    except (ValueError, RecursionError):
                        continue
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("the report does without the rest of %s: %s", path, error)


def numbered_lines(path: Path, numbers: set[int], most: int) -> dict[int, Any]:
    """Some of the values in a file of JSON Lines, by the numbers of their lines from 0; without torn ones.

    Args:
        path: the file.
        numbers: the lines.
        most: bytes after which the file is given up.
    """
    found: dict[int, Any] = {}
    last = max(numbers, default=-1)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file):
                most -= len(line)
                if number > last or most < 0:
                    break
                if number in numbers:
                    try:
                        found[number] = loaded(line)
                    except (ValueError, RecursionError):
                        continue
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("the report does without the rest of %s: %s", path, error)
    return found


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts(value: Any) -> dict[str, str]:
    """The members of an object that are texts; none of anything else."""
    items = value.items() if isinstance(value, dict) else ()
    return {str(name): text for name, text in items if isinstance(text, str)}


def loaded(text: bytes) -> Any:
    """The JSON value in ``text``; halves of surrogate pairs, which nothing can encode, are replaced.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(text)
    return _encodable(value) if b"\\u" in text else value


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(name): _encodable(member) for name, member in value.items()}
    return [_encodable(member) for member in value] if isinstance(value, list) else value


def _stretches(size: int, most: int) -> list[range]:
    """What of a file of ``size`` bytes is read."""
    if size <= most:
        return [range(size)]
    length = most // _STRETCHES
    starts = ((size - length) * index // (_STRETCHES - 1) for index in range(_STRETCHES))
    return [range(start, start + length) for start in starts]
