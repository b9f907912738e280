"""The shape of the next attempt: a smaller micro batch after memory ran out, fewer nodes when not all can be had.

What is decided stands in the status of the stage; the global batch, and so the optimization, stays what it is.
"""

from __future__ import annotations

from alignment_api.contract import AttemptShape, shape_of, with_shape
from alignment_api.v1alpha1 import AlignmentJobSpec, Method, StageStatus
from alignment_api.v1alpha1.validation import validate_spec


def shape_for(spec: AlignmentJobSpec, stage: StageStatus) -> AttemptShape:
    """The shape of the stage's current or next attempt."""
    return shape_of(spec, stage.name, nodes=stage.nodes, micro_batch_size=stage.micro_batch_size)


def smaller_micro_batch(spec: AlignmentJobSpec, stage: StageStatus) -> int | None:
    """The largest micro batch of at most half the size that fits the global batch; None if there is none."""
    shape = shape_for(spec, stage)
    if spec.stage(stage.name).method is Method.EVALUATE:
        return None
    for size in range(shape.micro_batch_size // 2, 0, -1):
        if _fits(spec, stage.name, shape._replace(micro_batch_size=size)):
            return size
    return None


def fewer_nodes(spec: AlignmentJobSpec, stage: StageStatus, available: int) -> int | None:
    """The largest gang of at most ``available`` nodes that ``minNodes`` and the global batch allow, if there is one.

    Args:
        available: nodes that the gang could have had.
    """
    least = spec.runtime_of(spec.stage(stage.name)).min_nodes
    if least is None:
        return None
    shape = shape_for(spec, stage)
    for nodes in range(min(available, shape.nodes - 1), least - 1, -1):
        if _fits(spec, stage.name, shape._replace(nodes=nodes)):
            return nodes
    return None


def _fits(spec: AlignmentJobSpec, stage: str, shape: AttemptShape) -> bool:
    """Whether the stage could have been specified so; rules of CEL, which the API server applies, included."""
    wanted = spec.stage(stage)
    if wanted.kto is not None and wanted.kto.loss == "kto" and shape.micro_batch_size < 2:
        return False  # its KL term needs two rows
    return not validate_spec(with_shape(spec, stage, shape))
