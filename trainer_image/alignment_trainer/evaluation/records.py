"""Every prompt with what the models answered and what the judges say: JSON Lines for programs and people, Parquet for
tables.

::

    {"prompt": [{"role": "user", "content": "..."}],
     "responses": {"baseline": {"text": "...", "tokens": 12, "finishReason": "stop"}, "candidate": {...}},
     "judges": {"reward": {"scores": {"baseline": 0.1, "candidate": 0.7}, "outcomes": {"candidate": 1.0},
                           "reasons": {"candidate": null}}}}

An outcome is 1 where the candidate wins, 0.5 for a tie, 0 where it loses, and null without a verdict.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from .comparisons import Outcomes
from .findings import Findings
from .results import RESPONSES, RESPONSES_TABLE

_ROWS_AT_ONCE: Final = 1000


def write(folder: Path, findings: Findings, outcomes: Mapping[str, Mapping[str, Outcomes]]) -> None:
    """Write both files into ``folder``, each in one step.

    Args:
        folder: the stage's report.
        findings: what was found.
        outcomes: judge -> candidate -> outcomes.
    """
    lines = folder / f".{RESPONSES}.{os.getpid()}"
    with lines.open("w", encoding="utf-8") as file:
        for record in records(findings, outcomes):
            file.write(json.dumps(record) + "\n")
    os.replace(lines, folder / RESPONSES)
    table = folder / f".{RESPONSES_TABLE}.{os.getpid()}"
    schema = _schema(findings, outcomes)
    rows = records(findings, outcomes)
    with pq.ParquetWriter(str(table), schema) as writer:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
    os.replace(table, folder / RESPONSES_TABLE)


def records(findings: Findings, outcomes: Mapping[str, Mapping[str, Outcomes]]) -> Iterator[dict[str, Any]]:
    """One record for each prompt, in the order of the prompts."""
    for index, prompt in enumerate(findings.prompts):
        yield {
            "prompt": list(prompt),
            "responses": {
                name: {
                    "text": answers[index].text,
                    "tokens": answers[index].tokens,
                    "finishReason": answers[index].finish_reason.value,
                }
                for name, answers in findings.responses.items()
            },
            "judges": {
                judge: {
                    "scores": {name: values[index] for name, values in findings.scores.get(judge, {}).items()},
                    "outcomes": {name: own[index] for name, own in by_candidate.items()},
                    "reasons": {name: own[index].reason for name, own in findings.verdicts.get(judge, {}).items()},
                }
                for judge, by_candidate in outcomes.items()
            },
        }


def _schema(findings: Findings, outcomes: Mapping[str, Mapping[str, Outcomes]]) -> pa.Schema:
    """The columns; a judge of no scores, or of no reasons, has an empty member, which Parquet cannot hold."""

    def members(names: Any, kind: Any) -> list[tuple[str, Any]]:
        return [(name, kind) for name in names]

    response = pa.struct([("text", pa.string()), ("tokens", pa.int64()), ("finishReason", pa.string())])
    judges = []
    for judge, by_candidate in outcomes.items():
        found = {
            "scores": members(findings.scores.get(judge, {}), pa.float64()),
            "outcomes": members(by_candidate, pa.float64()),
            "reasons": members(findings.verdicts.get(judge, {}), pa.string()),
        }
        judges.append((judge, pa.struct([(name, pa.struct(own)) for name, own in found.items() if own])))
    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    return pa.schema(
        [
            ("prompt", pa.list_(turn)),
            ("responses", pa.struct(members(findings.responses, response))),
            ("judges", pa.struct(judges)),
        ]
    )
