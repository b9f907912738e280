"""Prepares the data of one stage: read, check, sample, hold out, measure, store, report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from alignment_api.contract import JobLayout, Problem
from alignment_api.v1alpha1 import DataStatus, Stage

from ..exceptions import ConfigurationError, DataError
from ..files import write_atomically
from . import sources, store
from .lengths import Lengths, measure
from .load import Loaded, invalid_lines, load, refuse_if_too_bad
from .rows import Conversation, Prompt, Row, last_prompt
from .split import hold_out, sample

REPORT = "data.json"
INVALID = "invalid.jsonl"


def prepare_stage(stage: Stage, tokenizer: Any | None, layout: JobLayout, path: str) -> DataStatus | None:
    """Prepare the data of ``stage``, or find it complete.

    Args:
        stage: the stage; for rows held out from another stage, that one has been prepared.
        tokenizer: the tokenizer the stage will use; None, when that is what is wrong with the job, only checks rows.
        layout: the job's folders.
        path: path of the stage in the manifest, such as ``spec.stages[1]``.

    Returns:
        Its numbers; None without a tokenizer.

    Raises:
        DataError: rows are wrong or too few; the problems name them.
        ConfigurationError: the chat template refuses the rows.
        UnavailableError: the hub cannot be reached.
    """
    folders = layout.stage(stage.name)
    done = store.find(stage, folders)
    if done is not None:
        return done
    folders.report.mkdir(parents=True, exist_ok=True)
    loaded = _load(stage, layout, f"{path}.dataset")
    if tokenizer is None:
        return None
    dataset = stage.dataset
    used = [loaded.rows[i] for i in sample(len(loaded.rows), dataset.max_samples, dataset.seed)]
    held = hold_out(used, dataset.eval_fraction, dataset.seed) if stage.evaluate is None else [True] * len(used)
    train = [row for row, is_held in zip(used, held, strict=True) if not is_held]
    kept = [row for row, is_held in zip(used, held, strict=True) if is_held]
    if stage.evaluate is None and dataset.eval_fraction > 0 and not kept:
        message = "evalFraction needs rows with at least two different prompts, one to train on and one to hold out"
        raise DataError(message, [Problem(field=f"{path}.dataset.evalFraction", message=message)])
    lengths = _measure(train or kept, tokenizer, stage)
    status = DataStatus(
        rows=loaded.total,
        train_rows=len(train),
        eval_rows=len(kept),
        invalid_rows=len(loaded.invalid),
        truncated_rows=_check_lengths(stage, lengths, path),
        tokens=lengths.tokens,
        report=layout.relative(folders.report / REPORT),
    )
    report = _report(stage, loaded, used, lengths, status)
    write_atomically(folders.report / REPORT, json.dumps(report, indent=2))
    store.save(stage, folders, train, kept, status)
    return status


def _load(stage: Stage, layout: JobLayout, path: str) -> Loaded:
    """The stage's valid rows; the invalid ones go to a file of the report, also when they are too many."""
    other = stage.dataset.held_out_from_stage
    if other is not None:
        rows = [_question(row) for row in store.read_rows(layout.stage(other).data / store.EVAL)]
        return Loaded(total=len(rows), rows=rows)
    loaded = load(stage.dataset, stage.method, layout, path)
    file = layout.stage(stage.name).report / INVALID
    if loaded.invalid:
        write_atomically(file, "".join(json.dumps(line) + "\n" for line in invalid_lines(loaded)))
    refuse_if_too_bad(loaded, stage.dataset, path, layout.relative(file))
    return loaded


def _question(row: Row) -> Row:
    return Prompt(last_prompt(row)) if isinstance(row, Conversation) else row


def _measure(rows: Sequence[Row], tokenizer: Any, stage: Stage) -> Lengths:
    import jinja2

    try:
        return measure(rows, tokenizer)
    except jinja2.TemplateError as error:
        message = f"the chat template refuses the rows of stage {stage.name}: {error}"
        raise ConfigurationError(message, [Problem(field="spec.tokenizer.chatTemplate", message=message)]) from error


def _check_lengths(stage: Stage, lengths: Lengths, path: str) -> int:
    """How many rows exceed the stage's maxLength.

    Raises:
        DataError: all rows of a reward stage do, which leaves them out.
    """
    method = stage.sft or stage.reward or stage.dpo
    if method is None:
        return 0
    longer = lengths.longer_than(method.max_length)
    if stage.reward is not None and longer == len(lengths.row):
        message = (
            f"all {longer} training rows are longer than {method.max_length} tokens and would be left out: raise it"
        )
        raise DataError(message, [Problem(field=f"{path}.reward.maxLength", message=message)])
    return longer


def _report(stage: Stage, loaded: Loaded, used: Sequence[Row], lengths: Lengths, status: DataStatus) -> dict[str, Any]:
    """The data report: what status shows, and what helps to judge the data."""
    copies = Counter(used_row for used_row in map(repr, used))
    other = stage.dataset.held_out_from_stage
    report: dict[str, Any] = {
        "stage": stage.name,
        "source": f"rows held out from stage {other}" if other else sources.describe(stage.dataset),
        "format": loaded.format.value if loaded.format else None,
        **status.to_yaml_dict(),
        "usedRows": len(used),
        "duplicateRows": len(used) - len(copies),
        "rowTokens": lengths.percentiles(),
        "invalidExamples": [str(row) for row in loaded.invalid[:10]],
    }
    if lengths.chosen:
        report["meanTokens"] = {"chosen": fmean(lengths.chosen), "rejected": fmean(lengths.rejected)}
    return report
