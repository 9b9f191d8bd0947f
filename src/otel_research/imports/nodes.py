"""Copies from other nodes into a disk store: journal segments, folders of experiments, whole stores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from otel_research.errors import ConfigurationError, StoreError
from otel_research.experiments import ExperimentRecord, is_id
from otel_research.handle import Experiment
from otel_research.imports.intake import Brought, Problem, Report
from otel_research.imports.share import known_record
from otel_research.spans.digest import content_hash
from otel_research.store import merge
from otel_research.store.library import Library
from otel_research.store.tail import segment_files


def is_copy(file: object) -> bool:
    """Whether it is a folder with experiments, or a journal segment, rather than a file of spans."""
    if not isinstance(file, (str, Path)):
        return False
    path = Path(file)
    return bool(merge.copies_in(path)) if path.is_dir() else merge.is_segment(path)


def import_copy(file: str | Path, library: Library, name: str | None = None) -> Report:
    """Merge a copy; the same again, in any order and also of a live process, changes nothing that is known.

    What cannot be read is told in the report, and the rest is merged.

    Raises `ConfigurationError` where the store keeps no folders of its own.
    """
    home: Any = library.journal
    if library.is_fed or not merge.is_disk(home):
        raise ConfigurationError(
            f"{file} is a copy of a disk store and can only be merged into one, not into {library.url}: "
            "pass store='disk:PATH' (or --store)."
        )
    path, problems, brought = Path(file), [], []
    copies = merge.copies_in(path) if path.is_dir() else [path]
    for copy in copies:
        try:
            one = _Copy(library, home, copy, name).merged()
        except StoreError as error:
            problems.append(Problem(str(copy), None, str(error), 0))
        else:
            brought += [one] if one is not None else []
    return Report(str(path), name or path.stem, tuple(brought), len(problems), tuple(problems))


class _Copy:
    """One experiment's copy on its way home."""

    def __init__(self, library: Library, home: Any, copy: Path, name: str | None) -> None:
        self._library = library
        self._home = home
        self._copy = copy
        self._segment = None if copy.is_dir() else merge.read_segment(copy)
        self._told = merge.record_in(copy) if copy.is_dir() else None
        self._name = name

    def merged(self) -> Brought | None:
        """Bring it home; None where it holds no span of any experiment."""
        experiment_id, called = self._owner()
        if experiment_id is None:
            return None
        here = known_record(self._library, experiment_id)
        if here is not None and here.state == "archived" and (self._told is None or self._told.state != "archived"):
            raise StoreError(f"experiment {here.name!r} ({experiment_id}) is archived and takes no more spans.")
        folder = self._home.folder(experiment_id)
        before = self._count(experiment_id)
        if self._segment is not None:
            merge.merge_segment(folder, self._segment)
        elif not (folder.exists() and folder.samefile(self._copy)):
            merge.merge_folder(folder, self._copy)
        # Read anew: a journal file may have been replaced by a longer copy.
        self._library = Library(self._library.url)
        record = self._record(experiment_id, called, here)
        self._library.catalogue.put_experiment(record)
        stored = self._sealed(record)
        return Brought(Experiment(self._library.get(experiment_id), self._library), stored, stored - before)

    def _owner(self) -> tuple[str | None, str | None]:
        """Whose it is, by the record, the folder's name or the spans."""
        if self._segment is not None:
            return self._segment.experiment_id, self._segment.experiment_name
        if self._told is not None:
            return self._told.id, self._told.name
        for path in sorted(self._copy.glob("journal/*.wal")):
            segment = merge.read_segment(path)
            if segment.experiment_id is not None:
                return segment.experiment_id, segment.experiment_name
        return (self._copy.name, None) if is_id(self._copy.name) else (None, None)

    def _record(self, experiment_id: str, called: str | None, here: ExperimentRecord | None) -> ExperimentRecord:
        if self._told is not None:
            return self._told if here is None else merge.further(here, self._told)
        # Segments alone: whose experiment it is will come with the owner's folder.
        return here or ExperimentRecord(
            id=experiment_id,
            name=self._name or called or experiment_id,
            state="stopped",
            ended_by="user",
            started_ns=0,
            stopped_ns=time.time_ns(),
            environment={"source": "import", "is_shared": True},
        )

    def _count(self, experiment_id: str) -> int:
        return int(self._library.scan(experiment_id).select(pl.len()).collect().item())

    def _sealed(self, record: ExperimentRecord) -> int:
        """Seal what is complete, and say in the record of a stopped experiment what it holds now; its rows."""
        if record.state != "running" and self._has_all_segments(record.id):
            self._library.seal(record.id)
        if record.state == "stopped":
            hashed = content_hash(self._library.scan(record.id))
            ledger = Experiment(record, self._library).ledger().to_dict()
            again = msgspec.structs.replace(record, content_hash=hashed, ledger=ledger)
            self._library.catalogue.put_experiment(again)
        return self._count(record.id)

    def _has_all_segments(self, experiment_id: str) -> bool:
        """Whether no writer's earlier segments are missing: what those left open would be counted wrongly."""
        folder = self._home.folder(experiment_id)
        sealed = {entry.name for entry in merge.sealed_in(folder)}
        for writer, files in segment_files(folder / "journal").items():
            numbers = {file.number for file in files}
            numbers |= {int(name.rpartition("-")[2]) for name in sealed if name.rpartition("-")[0] == writer}
            if numbers != set(range(len(numbers))):
                return False
        return True
