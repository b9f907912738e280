"""Asks a judge about many comparisons, as a process that a test can kill: arguments are an address and a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from alignment_api.v1alpha1.evaluation import LlmJudge
from alignment_trainer.data.rows import Role, message
from alignment_trainer.evaluation.judges import llm
from alignment_trainer.evaluation.judges.rubrics import Comparison

COUNT = 50
CONCURRENCY = 4


def ask(url: str, folder: Path, attempt: int) -> list[float | None]:
    """The outcomes of `COUNT` comparisons; by `judge_endpoint.longer`, the candidate wins every other one."""
    judge = LlmJudge(url=url, model="judge", concurrency=CONCURRENCY)
    cases = [
        Comparison((message(Role.USER, f"question {number}"),), "a long answer" if number % 2 == 0 else "no", "short")
        for number in range(COUNT)
    ]
    cache, spent = folder / "verdicts", folder / "spent"
    return [one.outcome for one in llm.compare(judge, "llm", cases, cache=cache, spent=spent, attempt=attempt)]


if __name__ == "__main__":
    print(ask(sys.argv[1], Path(sys.argv[2]), attempt=1))
