"""Prepares the data of one stage: read, check, choose, store, report; or finds it prepared."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1 import Dataset, DataStatus, Stage

from ..exceptions import DataError
from ..files import link_or_copy, write_atomically
from . import flaws, quality, store
from .cache import Cache
from .dropped import DroppedRows
from .identity import Identity, identify
from .load import Loaded, Loader
from .report import Findings, report_of, status_of
from .report_page import page
from .row_files import places, write_dataset
from .samples import samples_of
from .selection import select
from .table import Columns

REPORT: Final = "data.json"
PAGE: Final = "data.html"
DROPPED: Final = "dropped.jsonl"
_SAMPLES: Final = 5


def prepare_stage(stage: Stage, tokenizer: Any | None, layout: JobLayout, path: str) -> DataStatus | None:
    """Prepare the data of ``stage``, or find it complete, in its folder or in the cache of the workspace.

    Memory grows by some 50 bytes for each row, whatever its length.

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
        UnavailableError: the hub or store cannot be reached.
    """
    folders = layout.stage(stage.name)
    done = store.find(stage, folders)
    if done is not None:
        return done
    folders.report.mkdir(parents=True, exist_ok=True)
    return _Preparation(stage, tokenizer, layout, path).run()


class _Preparation:
    def __init__(self, stage: Stage, tokenizer: Any | None, layout: JobLayout, path: str) -> None:
        self._stage = stage
        self._tokenizer = tokenizer
        self._layout = layout
        self._path = path
        self._folders = layout.stage(stage.name)
        self._cache = Cache(layout)

    def run(self) -> DataStatus | None:
        identity = None
        if self._tokenizer is not None:
            identity = identify(self._stage, self._tokenizer, self._layout, f"{self._path}.dataset")
        entry = self._cache.find(identity.key) if identity is not None else None
        if entry is not None:
            folder, status = entry
            return self._publish(folder, status.model_copy(update={"cached": True}))
        built = self._cache.workplace(self._stage.name)
        try:
            return self._build(built, identity)
        finally:
            shutil.rmtree(built, ignore_errors=True)

    def _build(self, built: Path, identity: Identity | None) -> DataStatus | None:
        rows = built / "rows"
        rows.mkdir()
        with DroppedRows(self._folders.report / DROPPED) as dropped:
            loaded = self._load(identity.dataset if identity is not None else self._stage.dataset, rows, dropped)
            report = self._layout.relative(self._folders.report / DROPPED)
            quality.refuse_invalid(loaded, self._stage, report)
            if self._tokenizer is None:
                return None
            found = self._choose(loaded, dropped)
        status, summary = status_of(found), dropped.summary()
        try:
            quality.refuse_selection(found.quality, found.facts, found.selection, self._stage, self._path, found.places)
        except DataError:
            self._report(report_of(found, status, summary, samples=[]))  # it shows why
            raise
        self._write(found, built)
        values = report_of(found, status, summary, self._samples(found, built))
        write_atomically(built / REPORT, json.dumps(values, indent=1))
        shutil.rmtree(rows)
        if (self._folders.report / DROPPED).exists():
            link_or_copy(self._folders.report / DROPPED, built / DROPPED)
        if identity is None or not identity.holds(self._layout):
            return self._publish(built, status)
        return self._publish(self._cache.add(identity.key, built, status), status)

    def _load(self, dataset: Dataset, rows: Path, dropped: DroppedRows) -> Loaded:
        loader = Loader(self._stage, self._tokenizer, self._layout, rows, dropped)
        path = f"{self._path}.dataset"
        if dataset.held_out_from_stage is None:
            return loader.load(dataset, path)
        records = store.read_records(self._layout.stage(dataset.held_out_from_stage).data / store.EVAL)
        return loader.load_records(records, f"rows held out from stage {dataset.held_out_from_stage}", path)

    def _choose(self, loaded: Loaded, dropped: DroppedRows) -> Findings:
        """Decide which rows are used."""
        found_flaws = flaws.find(loaded.facts, self._stage)
        unwanted = flaws.dropped(found_flaws, self._stage.dataset.quality)
        wishes = flaws.wishes(self._stage.dataset.quality)
        for number, where in places(loaded.files, np.flatnonzero(unwanted)):
            dropped.add(where, [flaw.value for flaw in wishes if found_flaws[flaw][number]])
        selection = select(loaded.facts, ~unwanted, self._stage)
        limits = quality.quality_limits(loaded.facts, found_flaws, selection, self._stage)
        return Findings(self._stage, loaded, found_flaws, unwanted, selection, limits)

    def _write(self, found: Findings, built: Path) -> None:
        """Write the splits that have rows; both get the same columns."""
        facts = found.facts[np.concatenate(found.selection)]
        optional = {"chosen": facts["chosen"] > 0, "rejected": facts["chosen"] > 0, "margin": facts["margin"]}
        columns = Columns(frozenset(name for name, has in optional.items() if not np.any(has)), found.loaded.kinds)
        for name, order in ((store.TRAIN, found.selection.train), (store.EVAL, found.selection.held_out)):
            if len(order):
                fingerprint = hashlib.sha256(found.facts["row"][order].tobytes()).hexdigest()[:16]
                write_dataset(found.loaded.files, order, columns, built / name, fingerprint)

    def _samples(self, found: Findings, built: Path) -> list[dict[str, Any]]:
        evaluates = found.stage.evaluate is not None
        split, order = (store.EVAL, found.selection.held_out) if evaluates else (store.TRAIN, found.selection.train)
        return samples_of(built / split, found.places(order[:_SAMPLES]))

    def _publish(self, folder: Path, status: DataStatus) -> DataStatus:
        """Make what is in ``folder`` the stage's data and report."""
        report = self._folders.report
        (report / DROPPED).unlink(missing_ok=True)
        if (folder / DROPPED).exists():
            link_or_copy(folder / DROPPED, report / DROPPED)
        status = status.model_copy(update={"report": self._layout.relative(report / REPORT)})
        self._report({**json.loads((folder / REPORT).read_text()), **status.to_yaml_dict()})
        store.publish(folder, self._stage, self._folders, status)
        return status

    def _report(self, values: dict[str, Any]) -> None:
        """Write the report of this stage, with values that may have been found for another one."""
        values = {"stage": self._stage.name, "method": self._stage.method.value, **values}
        write_atomically(self._folders.report / REPORT, json.dumps(values, indent=1))
        write_atomically(self._folders.report / PAGE, page(values))
