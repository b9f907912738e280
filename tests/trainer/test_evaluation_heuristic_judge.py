"""The judge of form."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.v1alpha1.evaluation import HeuristicJudge
from alignment_trainer.evaluation.judges import heuristic
from alignment_trainer.evaluation.responses import Response


@pytest.mark.parametrize(
    ("text", "finished", "settings", "score"),
    [
        ("a fine answer", True, {}, 0),
        ("", True, {}, -1),
        ("cut off in the", False, {}, -1),
        ("go on and on " * 10, True, {}, -1),
        ("go on and on " * 10, False, {}, -2),
        ("go on and on " * 10, True, {"repetitionLimit": 1}, 0),
        ("I cannot help with that.", True, {}, 0),
        ("I cannot help with that.", True, {"refusals": True}, -1),
        ("I can help with that.", True, {"refusals": True}, 0),
        ("four", True, {"maxCharacters": 4}, 0),
        ("fives", True, {"maxCharacters": 4}, -1),
        ("think\nso: 5", True, {"pattern": r"think.*: \d"}, 0),
        ("think\nso: 5.", True, {"pattern": r"think.*: \d"}, -1),
    ],
)
def test_it_counts_faults(text: str, finished: bool, settings: dict[str, Any], score: float) -> None:
    judge = HeuristicJudge.model_validate(settings)
    assert heuristic.score(Response(text=text, tokens=9, finished=finished), judge) == score
