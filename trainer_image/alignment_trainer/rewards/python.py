"""The value of a function of the user's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from alignment_api.contract.pod import CONFIG_MAPS_MOUNT
from alignment_api.v1alpha1.methods.rewards import PythonReward

from ..sandbox.process import LoadError, RaisedError, Sandbox, SandboxError, Source
from .scoring import Batch, Scorer, ScoringError, TermError


class PythonScorer(Scorer):
    """Calls the function in a sandbox.

    The source is read once: a ConfigMap that changes while a stage trains does not change the reward.

    Args:
        settings: where the function is.
        timeout: seconds that a batch may take.

    Raises:
        ValueError: the ConfigMap has no such key.
    """

    def __init__(self, settings: PythonReward, timeout: float) -> None:
        text = _read(CONFIG_MAPS_MOUNT / settings.config_map / settings.key, settings)
        self._sandbox = Sandbox(Source(text=text, file=settings.key, function=settings.function))
        self._timeout = timeout

    def score(self, batch: Batch) -> Sequence[object]:
        """What the function returned.

        Raises:
            ScoringError: it cannot be loaded, raised an exception, took too long, or ended its process.
        """
        end = time.monotonic() + self._timeout
        try:
            return self._sandbox.call(_arguments(batch), self._timeout)
        except LoadError as error:
            raise TermError(str(error)) from error
        except RaisedError as error:
            raise ScoringError(str(error), self._row_to_blame(batch, error, end)) from error
        except SandboxError as error:
            raise ScoringError(str(error)) from error
        except (TypeError, ValueError) as error:
            raise TermError(f"cannot be given the dataset's columns: {error}") from error

    def close(self) -> None:
        """End the process."""
        self._sandbox.close()

    def _row_to_blame(self, batch: Batch, raised: RaisedError, end: float) -> int | None:
        """The first row that raises the exception by itself too, if it is found in the time that is left."""
        for row in range(len(batch)):
            try:
                self._sandbox.call(_arguments(batch.row(row)), end - time.monotonic())
            except RaisedError as error:
                if error.place == raised.place:
                    return row
            except SandboxError:
                return None
        return None


def _arguments(batch: Batch) -> dict[str, Any]:
    return {
        **batch.columns,
        "prompts": batch.questions(),
        "completions": batch.completions,
        "conversations": [list(prompt) for prompt in batch.prompts],
    }


def _read(path: Path, settings: PythonReward) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{settings.key} of ConfigMap {settings.config_map} is no UTF-8 text: {error}") from error
    except OSError as error:
        there: list[str] = []
        with suppress(OSError):
            there = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
        keys = ", ".join(there) or "none"
        message = f"ConfigMap {settings.config_map} has no key {settings.key!r}; its keys: {keys}"
        raise ValueError(message) from error
