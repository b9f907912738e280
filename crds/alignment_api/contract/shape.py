"""The shape of one attempt: what may differ from the specification while the optimization stays the same."""

from __future__ import annotations

from typing import NamedTuple

from ..v1alpha1.alignment_job import AlignmentJobSpec


class AttemptShape(NamedTuple):
    """Size of an attempt's gang and of its micro batches; gradient accumulation makes up for both."""

    nodes: int
    micro_batch_size: int


def shape_of(
    spec: AlignmentJobSpec, stage: str, *, nodes: int | None = None, micro_batch_size: int | None = None
) -> AttemptShape:
    """What the specification says, but for what is given."""
    wanted = spec.stage(stage)
    return AttemptShape(nodes or spec.runtime_of(wanted).nodes, micro_batch_size or wanted.training.micro_batch_size)


def with_shape(spec: AlignmentJobSpec, stage: str, shape: AttemptShape) -> AlignmentJobSpec:
    """``spec`` with one stage's gang and micro batches of that shape; the same object if they are already."""
    if shape == shape_of(spec, stage):
        return spec
    wanted = spec.stage(stage)
    changed = wanted.model_copy(
        update={
            "runtime": spec.runtime_of(wanted).model_copy(update={"nodes": shape.nodes}),
            "training": wanted.training.model_copy(update={"micro_batch_size": shape.micro_batch_size}),
        }
    )
    stages = [changed if other.name == stage else other for other in spec.stages]
    return spec.model_copy(update={"stages": stages})
