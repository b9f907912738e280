"""Rulings of language models, kept under a digest of all that decides them.

Every ruling is a file of its own, written in one step as soon as it is known: what was paid for is paid for once, by
whichever attempt or job. Two that write the same one at the same time both leave it whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alignment_api.v1alpha1.evaluation.judges import LlmJudge

from ...data.rows import Message
from .verdicts import Choice, Ruling

_VERSION: Final = 1


def digest(judge: LlmJudge, question: Sequence[Message]) -> str:
    """SHA-256 of what decides a ruling: endpoint, model, temperature, and the question with rubric, texts and order.

    The key is no part of it, nor is anything that decides only whether there is an answer.
    """
    content = [_VERSION, judge.url.rstrip("/"), judge.model, judge.temperature, list(question)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class VerdictCache:
    """The rulings in a folder, which several processes may use together.

    Args:
        folder: made when the first ruling is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Ruling | None:
        """The ruling that is kept under ``key``; None if there is none, or it is torn."""
        try:
            value = json.loads(self._path(key).read_text())
            return Ruling(Choice(value["verdict"]), str(value["reason"]))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def put(self, key: str, ruling: Ruling, model: str) -> None:
        """Keep ``ruling``; it has reached the volume when this returns.

        Args:
            key: its digest.
            ruling: what was said.
            model: who said it, for people who look at the file.
        """
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"model": model, "verdict": ruling.choice.value, "reason": ruling.reason}
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
