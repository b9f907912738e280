"""What the attempts at a stage have reported: their ``metrics.jsonl``, which `alignment_trainer.reporter` writes."""

from __future__ import annotations

import json

from alignment_api.contract import StageLayout


def values_of(metric: str, stage: StageLayout, up_to_attempt: int, up_to_step: int) -> list[float]:
    """The values of a metric over the steps that a resumed attempt builds on, in their order.

    Args:
        metric: its name.
        stage: folders of the stage.
        up_to_attempt: the attempts from 1 to this one count; of two reports of a step, that of the later one.
        up_to_step: the step that was resumed from.
    """
    found: dict[int, float] = {}
    for attempt in range(1, up_to_attempt + 1):
        try:
            lines = stage.attempt(attempt).metrics.read_text().splitlines()
        except OSError:  # it reported nothing
            continue
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:  # cut off with its writer
                continue
            if metric in entry and entry["step"] <= up_to_step:
                found[entry["step"]] = entry[metric]
    return [found[step] for step in sorted(found)]
