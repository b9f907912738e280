"""Which task is meant: one of the harness's own, or of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from lm_eval import tasks as harness_tasks
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Entry, Kind
from pydantic import BaseModel, ConfigDict

from .refusals import Refused, refuse_code

_ROOT: Final = Path(harness_tasks.__file__).parent


class Definition(BaseModel):
    """A task, in a form from which every process builds the same.

    Attributes:
        name: the harness's name of the task or group; of the user's own, the name in its YAML.
        folders: where the harness's YAML files lie that define it, below its folder of tasks; None for the user's own.
        config: the user's own YAML; None for the harness's.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    folders: list[str] | None = None
    config: dict[str, Any] | None = None

    @classmethod
    def of_harness(cls, name: str) -> Self:
        """The task or group that the harness calls ``name``.

        Raises:
            Refused: it has none of that name, or one that cannot be run here.
        """
        index = _manager().task_index
        entry = index.get(name)
        if entry is None:
            raise Refused(f"the harness has no task {name!r}{nearest(name, list(index))}")
        if entry.kind is Kind.TAG:
            members = ", ".join(sorted(entry.tags)[:20])
            raise Refused(f"{name} is a tag of several tasks, which have no score together: name one: {members}")
        entries = list(_with_members(name, index))
        for each in entries:
            if each.kind is Kind.PY_TASK:
                raise Refused(f"{each.name} is a Python class of the harness, which is not supported: name another")
            refuse_code(each.name, each.cfg or {}, own=False)
        paths = {each.yaml_path.parent.relative_to(_ROOT).as_posix() for each in entries if each.yaml_path is not None}
        return cls(name=name, folders=sorted(paths))

    def manager(self) -> TaskManager:
        """A task manager that knows this task of the harness, and little else: knowing all takes ten seconds."""
        return TaskManager(include_defaults=False, include_path=[_ROOT / folder for folder in self.folders or ()])


def nearest(name: str, names: list[str]) -> str:
    """Names like ``name``, for a message."""
    close = get_close_matches(name, names, n=5, cutoff=0.6)
    return f"; did you mean {', '.join(close)}?" if close else ""


@cache
def _manager() -> TaskManager:
    return TaskManager()


def _with_members(name: str, index: dict[str, Entry]) -> Iterator[Entry]:
    """The task or group, and all that it consists of."""
    entry = index.get(name)
    if entry is None:
        return
    yield entry
    members: list[Any] = sorted(entry.tags) if entry.kind is Kind.TAG else []
    if entry.kind is Kind.GROUP:
        task = (entry.cfg or {}).get("task", [])
        members = task if isinstance(task, list) else [task]
    for member in members:
        yield from _with_members(_name_of(member), index)


def _name_of(member: Any) -> str:
    return str(member.get("group") or member.get("task")) if isinstance(member, dict) else str(member)
