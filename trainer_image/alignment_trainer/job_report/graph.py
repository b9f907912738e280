"""The pipeline as a graph of models, stages and places of promotion. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from alignment_api.v1alpha1 import AlignmentJobSpec, BaseModelSource, ModelSource, Stage, uses
from alignment_api.v1alpha1.promotion import Destination

from .model import Edge, Graph, Node, NodeKind, State

MODEL: Final = "model"
_CANDIDATE: Final = "evaluate.candidate"


def graph_of(spec: AlignmentJobSpec, states: Mapping[str, State], promoted: bool) -> Graph:
    """The graph of a job.

    Args:
        spec: the job.
        states: by stage.
        promoted: whether a model has been promoted.
    """
    nodes: dict[str, Node] = {}
    uses_of: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for stage in spec.stages:
        target = _stage_id(stage.name)
        for source, label, main in _taken(stage, spec):
            if isinstance(source, str):
                node = _stage_id(source)
            else:
                base = _base(source)
                node = nodes.setdefault(base.id, base).id
            uses_of.setdefault((node, target), []).append((label, main))
    for stage in spec.stages:
        nodes[_stage_id(stage.name)] = Node(
            id=_stage_id(stage.name),
            kind=NodeKind.STAGE,
            label=stage.name,
            detail=stage.method.value,
            state=states.get(stage.name, State.WAITING),
        )
    promoting = spec.promoting_stage()
    for index, place in enumerate(spec.promotion.to if spec.promotion is not None and promoting is not None else ()):
        node = f"promotion:{index}"
        kind, label = place_of(place)
        state = State.SUCCEEDED if promoted else State.WAITING
        nodes[node] = Node(id=node, kind=NodeKind.PROMOTION, label=label, detail=kind, state=state)
        if promoting is not None:
            uses_of[(_stage_id(promoting.name), node)] = [("promotion", True)]
    edges = [
        Edge(
            source=source,
            target=target,
            label=", ".join(dict.fromkeys(label for label, _ in labels)),
            main=any(main for _, main in labels),
        )
        for (source, target), labels in uses_of.items()
    ]
    return Graph(nodes=list(nodes.values()), edges=edges)


def place_of(place: Destination) -> tuple[str, str]:
    """Kind and name of a place that models are promoted to."""
    if place.volume is not None:
        return "workspace", place.volume.path
    if place.s3 is not None:
        return "S3", f"s3://{place.s3.bucket}/{place.s3.prefix}"
    if place.oci is not None:
        return "OCI", f"{place.oci.repository}:{place.oci.tag}"
    assert place.hugging_face is not None  # noqa: S101 - exactly one member is set
    return "hub", f"{place.hugging_face.repository}@{place.hugging_face.revision}"


def _taken(stage: Stage, spec: AlignmentJobSpec) -> Iterator[tuple[str | ModelSource | BaseModelSource, str, bool]]:
    """What a stage takes: a model or the name of a stage, what as, and whether it works on that."""
    if stage.evaluate is None and stage.model is None and spec.model is not None:
        yield spec.model, MODEL, True
    names = {f"evaluate.{field}": name for name, (field, _) in _candidates(stage).items()}
    for use in uses.models(stage):
        label = names.get(use.field, use.field.rpartition(".")[2] if use.field != MODEL else MODEL)
        yield use.source.from_stage or use.source, label, use.field == MODEL or use.field.startswith(_CANDIDATE)
    if stage.dataset.held_out_from_stage is not None:
        yield stage.dataset.held_out_from_stage, "held-out rows", False


def _candidates(stage: Stage) -> dict[str, tuple[str, ModelSource]]:
    return stage.evaluate.candidate_fields() if stage.evaluate is not None else {}


def _base(source: ModelSource | BaseModelSource) -> Node:
    if source.hugging_face is not None:
        name = f"{source.hugging_face.repository}@{source.hugging_face.revision}"
        return Node(id=f"hub:{name}", kind=NodeKind.MODEL, label=source.hugging_face.repository, detail="hub")
    if source.volume is not None:
        return Node(
            id=f"volume:{source.volume.path}", kind=NodeKind.MODEL, label=source.volume.path, detail="workspace"
        )
    assert source.from_job is not None  # noqa: S101 - of a model that is no stage's, exactly one member is set
    name = "/".join(filter(None, (source.from_job.name, source.from_job.stage)))
    return Node(id=f"job:{name}", kind=NodeKind.MODEL, label=name, detail="job")


def _stage_id(name: str) -> str:
    return f"stage:{name}"
