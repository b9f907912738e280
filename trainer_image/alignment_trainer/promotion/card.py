"""The model card: what a model is, how it was made and what was measured, in the Hugging Face hub's format.

https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from alignment_api.contract import RunConfig
from alignment_api.v1alpha1 import GateStatus, Stage

from ..evaluation.results import Number
from .artifact import LINEAGE
from .choice import Choice
from .lineage import versions
from .manifest import public_manifest
from .record import JobRecord, StageRecord

_PIPELINE: Final = "text-generation"
_PERCENT: Final = 100
_NOTHING: Final = 1e-12
"""Below it a number is what rounding has left of a zero."""


def card(record: JobRecord, choice: Choice, name: str) -> str:
    """The card of the chosen model, Markdown with YAML metadata.

    Args:
        record: how the job went.
        choice: which model of it this is, and why.
        name: what the model is called.
    """
    sections = [
        [f"# {name}", "", summary(record, choice)],
        ["## Use", "", *_use(record, choice)],
        ["## Training", "", *_training(record, choice)],
        ["## Evaluation", "", *_evaluation(record, choice)],
        ["## Limitations", "", *(f"- {line}" for line in _limitations(record, choice))],
        ["## Lineage", "", *_lineage()],
        ["## Reproduction", "", *_reproduction(record)],
    ]
    body = "\n\n".join("\n".join(lines) for lines in sections)
    return f"---\n{_metadata(record, choice)}\n---\n\n{body}\n"


def summary(record: JobRecord, choice: Choice) -> str:
    """One sentence on the model."""
    made = [stage.name for stage in ancestry(record.config, choice)]
    how = f"aligned in {_count(len(made), 'stage')} ({', '.join(made)})" if made else "evaluated"
    start = _start_of(record, choice)
    what = "An adapter" if choice.is_adapter else "A language model"
    job = record.config.job
    return f"{what} {how}{f', starting from {start}' if start else ''}, by AlignmentJob {job.namespace}/{job.name}."


def ancestry(config: RunConfig, choice: Choice) -> list[Stage]:
    """The stages that made the model, the first one first."""
    found: list[Stage] = []
    stage = choice.trained_by
    while stage is not None:
        found.insert(0, stage)
        source = stage.model.from_stage if stage.model is not None else None
        stage = config.spec.stage(source) if source is not None else None
    return found


def _metadata(record: JobRecord, choice: Choice) -> str:
    from huggingface_hub import ModelCardData

    base = record.base_of(choice.stage)
    on_hub = base is not None and base.commit is not None  # the hub knows repositories alone
    stages = ancestry(record.config, choice)
    datasets = [
        source.hugging_face.name
        for stage in stages
        for _, source in stage.dataset.sources()
        if source.hugging_face is not None
    ]
    data = ModelCardData(
        base_model=base.name if base is not None and on_hub else None,
        base_model_relation=("adapter" if choice.is_adapter else "finetune") if on_hub else None,
        datasets=list(dict.fromkeys(datasets)) or None,
        library_name="peft" if choice.is_adapter else "transformers",
        pipeline_tag=_PIPELINE,
        tags=["alignment", *dict.fromkeys(stage.method.value for stage in stages)],
    )
    return str(data.to_yaml()).strip()


def _start_of(record: JobRecord, choice: Choice) -> str | None:
    base = record.base_of(choice.stage)
    if base is None:
        return None
    return f"{base.name} at commit {base.commit}" if base.commit is not None else base.name


def _use(record: JobRecord, choice: Choice) -> Iterator[str]:
    if choice.is_adapter:
        yield "The adapter alone, in PEFT's format, for the model that its stage started from."
        load = [
            "from peft import AutoPeftModelForCausalLM",
            "",
            'model = AutoPeftModelForCausalLM.from_pretrained(".")',
        ]
    else:
        yield "The whole model, with its tokenizer and chat template."
        load = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
        load += ['model = AutoModelForCausalLM.from_pretrained(".")', 'tokenizer = AutoTokenizer.from_pretrained(".")']
    yield from ["", "```python", *load, "```"]


def _training(record: JobRecord, choice: Choice) -> Iterator[str]:
    made = {stage.name for stage in ancestry(record.config, choice)}
    columns = ["stage", "method", "what is trained", "rows", "held out", "tokens", "learning rate", "seed", "attempts"]
    yield from _table(columns, [_trained(stage) for stage in record.stages if stage.stage.name in made])
    others = [stage.stage.name for stage in record.stages if stage.stage.name not in made]
    if others:
        yield from ["", f"Other stages of the job: {', '.join(others)}."]
    found = ", ".join(f"{name} {number}" for name, number in versions(record).items())
    yield from ["", f"Libraries: {found}."]


def _trained(record: StageRecord) -> list[str]:
    stage, data = record.stage, record.data
    rate = record.resolved.get("options", {}).get("learning_rate", {}).get("value", stage.training.learning_rate)
    lora = f"LoRA of rank {stage.adapter.lora.rank}" if stage.adapter is not None else "all weights"
    numbers = [data.train_rows, data.eval_rows, data.tokens] if data is not None else ["", "", ""]
    seed = record.resolved.get("seed", stage.training.seed)
    rate_text = f"{rate:g}" if rate else ""
    return [stage.name, stage.method.value, lora, *map(str, numbers), rate_text, str(seed), str(record.attempts)]


def _evaluation(record: JobRecord, choice: Choice) -> Iterator[str]:
    results, candidate = choice.results, choice.candidate
    baseline = next((b.name for b in record.bases if b.path == results.baseline.path), results.baseline.path)
    heat = results.generation.temperature
    decoding = "greedy decoding" if heat == 0 else f"temperature {heat:g}"
    yield (
        f"{_count(results.prompts, 'held-out prompt')}, {decoding}, at most {results.generation.max_new_tokens} new "
        f"tokens. Baseline: {baseline}. Intervals cover {results.confidence * _PERCENT:g} %, those of "
        "gates what the gate asks for."
    )
    yield from ["", "### Gates", ""]
    gates = [[_named(g.metric, g.judge or g.measure), _bound(g), _number(g), str(g.samples)] for g in candidate.gates]
    yield from _table(["metric", "required", "measured", "samples"], gates)
    yield from ["", "### Metrics", ""]
    metrics = [
        [_named(m.metric, m.of), _number(m.own), _number(m.baseline), _number(m.difference), str(m.samples)]
        for m in candidate.metrics
        if m.problem is None
    ]
    yield from _table(["metric", "this model", "baseline", "difference", "samples"], metrics)
    if candidate.tallies:
        yield from ["", "### Comparisons with the baseline", ""]
        tallies = [[t.judge, *map(str, (t.wins, t.ties, t.losses, t.without_verdict))] for t in candidate.tallies]
        yield from _table(["judge", "wins", "ties", "losses", "no verdict"], tallies)


def _limitations(record: JobRecord, choice: Choice) -> Iterator[str]:
    """What a reader of the numbers should know that they do not say."""
    results, candidate = choice.results, choice.candidate
    yield (
        f"The numbers hold for prompts like the {results.prompts} held-out ones and for the judges that are named; "
        "nothing else was tested."
    )
    for metric in candidate.metrics:
        if metric.problem is not None:
            yield f"{_named(metric.metric, metric.of)} could not be measured: {metric.problem}"
    told = [metric.problem for metric in candidate.metrics if metric.problem is not None]
    yield from (problem for problem in results.problems if not problem.endswith(tuple(told)))
    for agreement in candidate.agreements:
        if agreement.kappa is not None:
            first, second = agreement.judges
            yield f"Judges {first} and {second} agree with a Cohen's kappa of {agreement.kappa:.2f}."
    measured = {metric.metric for metric in candidate.metrics if metric.problem is None}
    if "classifier" not in measured:
        yield "No classifier looked at the responses, for toxicity or anything else."
    if not measured & {"perplexity", "task"}:
        yield "What alignment cost in general abilities was not measured: no general text and no task was given."
    for stage in record.stages:
        if stage.data is not None and stage.data.truncated_rows:
            rows = _count(stage.data.truncated_rows, "row")
            yield f"Stage {stage.stage.name} saw {rows} of its {stage.data.train_rows} cut at its maximum length."
    stage_model = choice.trained_by.model if choice.trained_by is not None else None
    if choice.is_adapter and stage_model is not None and stage_model.from_stage is not None:
        yield (
            f"The adapter belongs on the model of stage {stage_model.from_stage}, not on the base model: without that "
            "one it is of no use."
        )


def _lineage() -> list[str]:
    return [
        f"`{LINEAGE}` is an in-toto statement with SLSA provenance: the SHA-256 of every other file here, the base "
        "models, data, configuration and libraries they were made from, and the numbers above.",
        "",
        "```sh",
        f"jq -r '.subject[] | .digest.sha256 + \"  \" + .name' {LINEAGE} | sha256sum --check",
        "```",
    ]


def _reproduction(record: JobRecord) -> list[str]:
    import yaml

    manifest = yaml.safe_dump(
        public_manifest(record.config, brief=True), sort_keys=False, allow_unicode=True, width=120
    )
    seeds = {stage.stage.name: stage.resolved["seed"] for stage in record.stages if "seed" in stage.resolved}
    return [
        f"Apply the job's manifest with the same trainer image and data; seeds: {json.dumps(seeds)}. Values of "
        "variables in Pod templates are hidden.",
        "",
        "```yaml",
        manifest.rstrip(),
        "```",
    ]


def _named(metric: str, of: str | None) -> str:
    return f"{metric} ({of})" if of else metric


def _bound(gate: GateStatus) -> str:
    bound = f"at least {gate.at_least:g}" if gate.at_least is not None else f"at most {gate.at_most:g}"
    relative = f" as a {gate.relative_to_baseline} to the baseline" if gate.relative_to_baseline else ""
    sure = f", by the bound of the {gate.confidence * _PERCENT:g} % interval" if gate.confidence is not None else ""
    return f"{bound}{relative}{sure}"


def _number(number: Number | GateStatus | None) -> str:
    if number is None or number.value is None:
        return ""
    interval = ""
    if number.lower is not None and number.upper is not None:
        interval = f" ({_digits(number.lower)} to {_digits(number.upper)})"
    return f"{_digits(number.value)}{interval}"


def _digits(value: float) -> str:
    return f"{0.0 if abs(value) < _NOTHING else value:.4g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    for cells in (columns, ["---"] * len(columns), *rows):
        yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
