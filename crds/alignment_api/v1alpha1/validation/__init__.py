"""What a manifest can get wrong that neither its schema nor CEL can say: references, arithmetic, combinations.

Pure functions of the specification. The operator refuses a job with these problems (``Accepted=False``) before any
Pod exists; a client can call them to check a manifest without a cluster.
"""

from __future__ import annotations

from ...contract.summary import Problem
from ..alignment_job import AlignmentJobSpec
from . import data, evaluation, guard, judges, online, references, resources, rewards, volumes

__all__ = ["validate_spec"]


def validate_spec(spec: AlignmentJobSpec) -> list[Problem]:
    """All problems of ``spec``, in the order of the manifest's fields; an empty list when there is none."""
    return [
        problem
        for module in (resources, volumes, online, rewards, guard, references, data, judges, evaluation)
        for problem in module.problems(spec)
    ]
