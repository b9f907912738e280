"""An evaluate stage, in one process of its gang.

Results are gathered on all processes; rank 0 concludes and writes. What is done is kept below the stage's
``evaluation/``, so that an attempt goes on where the one before was cut off.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from alignment_api.contract import JobLayout, RunConfig, TrainerPhase
from alignment_api.v1alpha1 import CandidateStatus, GateStatus, Stage

from .. import device, distributed
from ..distributed import agree
from ..files import write_atomically
from ..prepared import Prepared
from ..reporter import Reporter
from ..run_files import RunFiles
from . import engines, records
from .collection import Collection
from .conclusion import conclude
from .contestants import contestants
from .findings import Findings
from .gang import Gang
from .results import RESULTS, Cost, EvaluationResults
from .status_metrics import status_metrics


@dataclass(frozen=True)
class Decision:
    """What an evaluate stage came to.

    Attributes:
        gates: what each gate decided about the chosen candidate, in their order.
        candidates: the candidates, in the order of the manifest.
    """

    gates: list[GateStatus]
    candidates: list[CandidateStatus]


def run(config: RunConfig, layout: JobLayout, stage: Stage, attempt: int) -> Decision:
    """Evaluate, write the report, and decide.

    Args:
        config: the whole job.
        layout: its folders.
        stage: an evaluate stage.
        attempt: number of the attempt.

    Returns:
        The same on every process.

    Raises:
        ConfigurationError: a judge's model is no reward model, an endpoint refuses, or the engine cannot run here.
        UnavailableError: a judge's endpoint is gone.
    """
    begun = time.monotonic()
    evaluate = stage.evaluate
    if evaluate is None:
        raise ValueError(f"stage {stage.name} is not an evaluate stage")
    process = distributed.join_gang(device.detect(), config.spec.runtime_of(stage))
    folders = layout.stage(stage.name)
    own = folders.attempt(attempt)
    if process.is_main_process:
        own.root.mkdir(parents=True, exist_ok=True)
    reporter = Reporter(
        RunFiles.of_this_process() if process.is_local_main_process else None,
        stage.name,
        attempt,
        own.metrics if process.is_main_process else None,
    )
    prepared = Prepared.load(layout)
    prepared.trust_models(layout)
    path = f"spec.stages[{config.spec.stages.index(stage)}]"
    gang = Gang(process, reporter, folder=folders.evaluation, attempt=attempt)
    models, overrides = prepared.models[stage.name], config.spec.tokenizer
    engine = engines.choose(
        evaluate.generation.engine,
        has_gpu=gang.device.type == "cuda",
        field=f"{path}.evaluate.generation.engine",
    )
    # One process looks: on a network volume others may see other times of change.
    compared = agree(contestants(evaluate, models, layout, overrides) if gang.is_main else [])
    collection = Collection(stage, path, evaluate, compared, models, overrides, engine, layout, gang)
    findings = collection.run()
    decision, metrics = gang.alone(lambda _: _finish(collection, findings, begun))
    reporter.metrics(metrics, phase=TrainerPhase.FINISHED)
    return decision


def _finish(collection: Collection, findings: Findings, begun: float) -> tuple[Decision, dict[str, float]]:
    """Conclude and write the report; the decision, and the numbers for status."""
    stage, evaluate, gang = collection.stage, collection.evaluate, collection.gang
    conclusion = conclude(evaluate, collection.contestants, findings, collection.layout)
    results = EvaluationResults(
        stage=stage.name,
        attempt=gang.attempt,
        prompts=len(findings.prompts),
        pairs=len(findings.pairs),
        generation=evaluate.generation,
        engine=collection.engine.value,
        processes=gang.process.num_processes,
        baseline=conclusion.baseline,
        candidates=conclusion.candidates,
        judges=conclusion.judges,
        problems=conclusion.problems,
        costs=[Cost(part=name, items=spent.items, seconds=spent.seconds) for name, spent in gang.spent.items()],
        seconds=time.monotonic() - begun,
        tokens=sum(model.response_tokens for model in (conclusion.baseline, *conclusion.candidates)),
    )
    report = collection.layout.stage(stage.name).report
    report.mkdir(parents=True, exist_ok=True)
    records.write(report, findings, conclusion.outcomes)
    write_atomically(report / RESULTS, results.model_dump_json(by_alias=True, indent=1), durable=True)
    return Decision(conclusion.gates, conclusion.statuses), status_metrics(results)
