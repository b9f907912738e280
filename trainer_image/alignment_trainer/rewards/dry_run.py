"""Tries every reward of a stage on prompts of its own before a gang exists."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alignment_api.v1alpha1 import Stage

from ..exceptions import TrainerError
from ..files import write_atomically
from .registry import make_function, surroundings, terms
from .scoring import Batch

_log = logging.getLogger(__name__)

DRY_RUN_ROWS: Final = 8
REPORT: Final = "rewards.json"
_EVASIVE: Final = (
    "I am not sure about this. Let me think: it depends on what exactly is asked, and there is more to say."
)
_LIKELY_COLUMNS: Final = ("answer", "solution", "chosen", "response", "completion", "output", "target", "reference")


@dataclass(frozen=True)
class Trial:
    """What one reward gave.

    Attributes:
        name: the reward.
        field: its path in the manifest.
        seconds: how long it took, the start of its process included.
        rewards: one for each response.
    """

    name: str
    field: str
    seconds: float
    rewards: Sequence[float | None]

    def warning(self) -> str | None:
        """What is suspicious about rewards of responses that have next to nothing in common."""
        given = {reward for reward in self.rewards if reward is not None}
        if not given:
            return "gives no reward to any response of the first rows"
        if len(given) == 1 and len(self.rewards) > 1:
            return (
                f"gives {given.pop():g} to answer-like, evasive and empty responses alike: nothing is learned from it"
            )
        return None


def dry_run(
    stage: Stage, path: str, rows: Sequence[Mapping[str, Any]], tokenizer: Any | None, report: Path
) -> list[TrainerError]:
    """Score likely and unlikely responses to the stage's first prompts with every reward, and note what they got.

    Reward models are left out: they may not exist yet, and the Pod that prepares may be too small for them.

    Args:
        stage: an online stage.
        path: its path in the manifest.
        rows: prepared rows, with ``prompt`` and the dataset's other columns; without any, the rewards are only built.
        tokenizer: the policy's; None if it cannot be loaded.
        report: folder for ``rewards.json``.

    Returns:
        What is wrong, of all rewards.
    """
    batch = responses(rows[:DRY_RUN_ROWS], stage)
    errors: list[TrainerError] = []
    trials: list[Trial] = []
    for around in surroundings(stage, {}, tokenizer, "cpu", path):
        if around.term.reward_model is not None or (around.term.length is not None and tokenizer is None):
            continue
        try:
            function = make_function(around)
            began = time.monotonic()
            try:
                rewards = function.score(batch) if len(batch) else []
            finally:
                function.close()
        except TrainerError as error:
            errors.append(error)
            continue
        trials.append(Trial(around.term.name, function.field, time.monotonic() - began, rewards))
    if len(batch):
        _note(batch, trials, report)
    return errors


def responses(rows: Sequence[Mapping[str, Any]], stage: Stage) -> Batch:
    """Three responses to each row's prompt: what an answer may look like, an evasive text, and nothing."""
    column = next((name for name in _answer_columns(stage) if rows and isinstance(rows[0].get(name), str | int)), None)
    answered = [
        (row, text)
        for row in rows
        for text in ("Yes." if column is None or row[column] is None else str(row[column]), _EVASIVE, "")
    ]
    names = [name for name in rows[0] if name != "prompt"] if rows else []
    return Batch(
        prompts=[tuple(row["prompt"]) for row, _ in answered],
        completions=[text for _, text in answered],
        columns={name: [row[name] for row, _ in answered] for name in names},
    )


def _answer_columns(stage: Stage) -> Iterator[str]:
    """Columns that may hold answers, those that rewards compare with first."""
    for term in terms(stage):
        settings = term.exact_answer or term.math_answer
        if settings is not None:
            yield settings.column
    yield from _LIKELY_COLUMNS


def _note(batch: Batch, trials: Sequence[Trial], report: Path) -> None:
    for trial in trials:
        _log.info("%s: %r scored %d responses in %.1f s", trial.field, trial.name, len(batch), trial.seconds)
        if trial.warning():
            _log.warning("%s: %r %s", trial.field, trial.name, trial.warning())
    content = {
        "rewards": [
            {"name": trial.name, "field": trial.field, "seconds": round(trial.seconds, 3), "warning": trial.warning()}
            for trial in trials
        ],
        "responses": [
            {
                "prompt": question,
                "response": text,
                "rewards": {trial.name: trial.rewards[row] for trial in trials},
            }
            for row, (question, text) in enumerate(zip(batch.questions(), batch.completions, strict=True))
        ],
    }
    report.mkdir(parents=True, exist_ok=True)
    write_atomically(report / REPORT, json.dumps(content, indent=1, ensure_ascii=False))
