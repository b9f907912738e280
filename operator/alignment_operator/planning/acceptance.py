"""Whether a manifest is a job that can be run at all."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.validation import validate_spec

from ..builders.metadata import MAX_LABEL_LENGTH
from ..status.text import bounded
from .allowances import Allowances, forbidden
from .observed import Manifest

_MAX_PROBLEM: Final = 1024
_MAX_KEY: Final = 64
_KEY: Final = "[key]"
"""Last part of a pydantic error location that means a map's key, not its value."""


def read_spec(job: Manifest, allowances: Allowances) -> tuple[AlignmentJobSpec | None, list[Problem]]:
    """The specification of ``job``, and all that is wrong with it; None when it cannot even be read."""
    try:
        spec = AlignmentJobSpec.model_validate(job.get("spec"))
    except ValidationError as error:
        return None, [
            _problem(details["loc"], details["msg"])
            for details in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    return spec, [*_name_problems(job), *validate_spec(spec), *forbidden(spec, allowances)]


def _name_problems(job: Manifest) -> list[Problem]:
    """The job's name is a label of its Pods, which the schema of a custom resource cannot bound."""
    name = job["metadata"]["name"]
    if len(name) <= MAX_LABEL_LENGTH:
        return []
    text = f"{name!r} has {len(name)} characters; shorten it to {MAX_LABEL_LENGTH}, the longest value of a label"
    return [Problem(field="metadata.name", message=text)]


def _problem(location: tuple[Any, ...], message: str) -> Problem:
    """What pydantic says of ``location``; of the keys of a map, which no CRD schema bounds, nobody said so before."""
    if location[-1:] == (_KEY,):
        *parents, key, _ = location
        text = f"key {bounded(str(key), _MAX_KEY)!r}: {message}; rename it"
        return Problem(field=_path(tuple(parents)), message=text)
    return Problem(field=_path(location), message=bounded(message, _MAX_PROBLEM))


def _path(location: tuple[Any, ...]) -> str:
    """A pydantic error location as a path in the manifest, such as ``spec.stages[2].dataset``."""
    path = "spec"
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path[:512]
