"""Tasks of the user's own in the harness's format, on the words of the tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from .tiny import WORDS

CHOICE: dict[str, Any] = {
    "task": "colours",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "questions.jsonl", "train": "examples.jsonl"}},
    "test_split": "test",
    "fewshot_split": "train",
    "output_type": "multiple_choice",
    "doc_to_text": "say {{word}}",
    "doc_to_choice": "choices",
    "doc_to_target": "gold",
    "metric_list": [
        {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm", "brier_score")
    ],
}
CHOICE["metric_list"][2] |= {"aggregation": "brier_score", "higher_is_better": False}
WRITING: dict[str, Any] = {
    "include": "colours.yaml",
    "task": "writing",
    "output_type": "generate_until",
    "doc_to_choice": None,
    "doc_to_target": "answer",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 5},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
ROLLING: dict[str, Any] = {
    "include": "colours.yaml",
    "task": "rolling",
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_choice": None,
    "doc_to_target": "say {{word}} and {{choices[0]}}",
    "metric_list": [{"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}],
}


def rows(answers: list[str] | None = None) -> list[dict[str, Any]]:
    """Questions with three answers of different length each."""
    return [
        {
            "word": word,
            "choices": [f"kind {word}", WORDS[(i * 5 + 2) % len(WORDS)], f"a {WORDS[(i + 4) % len(WORDS)]} thing"],
            "gold": i * 7 % 3,
            "answer": answers[i] if answers else "kind",
        }
        for i, word in enumerate(WORDS)
    ]


def save(folder: Path, answers: list[str] | None = None) -> None:
    """Write three tasks and their data into ``folder``; ``answers`` are those that writing expects."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in (CHOICE, WRITING, ROLLING):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(task))
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(answers)))
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()[::-1]))
