"""The evaluation report: numbers for programs, a page for people, and every response."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from alignment_api.v1alpha1 import GateStatus, Stage

from ..data.rows import Messages
from ..files import write_atomically
from .language_model import Response
from .statistics import Tally, interval

RESPONSES = "responses.jsonl"
NUMBERS = "report.json"
PAGE = "report.md"
_SAMPLES = 8
_CONFIDENCE = 0.95


def write(
    folder: Path,
    stage: Stage,
    prompts: Sequence[Messages],
    responses: Mapping[str, Sequence[Response]],
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    tallies: Mapping[str, Tally],
    metrics: Mapping[str, float],
    gates: Sequence[GateStatus],
) -> None:
    """Write the report's three files into ``folder``, each in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"prompt": prompt}
        | {side: vars(answers[i]) for side, answers in responses.items()}
        | {"scores": {judge: {side: values[i] for side, values in sides.items()} for judge, sides in scores.items()}}
        for i, prompt in enumerate(prompts)
    ]
    write_atomically(folder / RESPONSES, "".join(json.dumps(line) + "\n" for line in lines))
    numbers = {
        "stage": stage.name,
        "prompts": len(prompts),
        "metrics": dict(metrics),
        "gates": [gate.to_yaml_dict() for gate in gates],
    }
    write_atomically(folder / NUMBERS, json.dumps(numbers, indent=2))
    write_atomically(folder / PAGE, page(stage.name, prompts, responses, tallies, metrics, gates))


def page(
    name: str,
    prompts: Sequence[Messages],
    responses: Mapping[str, Sequence[Response]],
    tallies: Mapping[str, Tally],
    metrics: Mapping[str, float],
    gates: Sequence[GateStatus],
) -> str:
    """The report as Markdown."""
    verdicts = [f"- **{'passed' if gate.passed else 'failed'}**: {_gate(gate)}" for gate in gates]
    judged = [_judged(judge, tally) for judge, tally in tallies.items()]
    numbers = [[key, f"{value:.4g}"] for key, value in sorted(metrics.items())]
    samples = [
        [prompt[-1]["content"], *(answers[i].text for answers in responses.values())]
        for i, prompt in enumerate(prompts[:_SAMPLES])
    ]
    columns = ["judge", "wins", "ties", "losses", "win rate", f"{_CONFIDENCE:.0%} interval"]
    sections = [
        [f"# Evaluation {name}", "", f"{len(prompts)} held-out prompts."],
        ["## Gates", "", *(verdicts or ["None: no verdict."])],
        ["## Candidate against baseline", "", *_table(columns, judged)],
        ["## Responses", "", *_table(["prompt", *responses], samples)],
        ["## Metrics", "", *_table(["metric", "value"], numbers)],
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _gate(gate: GateStatus) -> str:
    judge = f" by judge {gate.judge}" if gate.judge else ""
    if gate.value is None:
        return f"{gate.metric}{judge} could not be measured; {_bound(gate)} is required"
    return (
        f"{gate.metric}{judge} is {gate.value:.3f} ({gate.lower:.3f} to {gate.upper:.3f}, {gate.samples} samples); "
        f"{_bound(gate)} is required"
    )


def _bound(gate: GateStatus) -> str:
    return f"at least {gate.at_least:g}" if gate.at_least is not None else f"at most {gate.at_most:g}"


def _judged(judge: str, tally: Tally) -> list[str]:
    lower, upper = interval(tally, _CONFIDENCE)
    counts = [str(count) for count in (tally.wins, tally.ties, tally.losses)]
    return [judge, *counts, f"{tally.rate:.3f}", f"{lower:.3f} to {upper:.3f}"]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    cells = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(map(_cell, row)) + " |" for row in cells]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
