"""Experiments as the first page lists them: read from records, manifests and frame headers, without Polars.

Read-only: a crashed experiment is told as such and left for the next command to mend.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from otel_research.context import environment
from otel_research.experiments import ExperimentRecord, has_tag
from otel_research.journal.frame import END
from otel_research.journal.reader import frames, seeds_in
from otel_research.journal.writer import Writer, is_alive
from otel_research.store import manifest
from otel_research.store.disk import DiskStore
from otel_research.store.library import Library
from otel_research.store.tail import SegmentFile, segment_files

COUNTED_BYTES = 256 << 20
"""Journal bytes that are counted for the list; a longer journal is counted when its page is opened."""


class Shelf:
    """The experiments of one store, for a process that only looks."""

    def __init__(self, store: str | None) -> None:
        named = store or environment().get("store")
        self.library = Library(named)
        self.opened_by = named or self.library.url
        """What opens the store, passwords and all: never shown."""
        self._counters: dict[str, FrameCounter] = {}
        self._seen: dict[str, tuple[int, int | None]] = {}
        """Of a store that is fed: experiment -> (spans at the last look, when they were seen to become more)."""

    @property
    def url(self) -> str:
        """The store's URL."""
        return self.library.url

    def records(self) -> list[ExperimentRecord]:
        """Every record that is not hidden, newest first."""
        found = self.library.catalogue.list_experiments()
        return [record for record in reversed(found) if not record.is_hidden]

    def record(self, experiment_id: str) -> ExperimentRecord:
        """One record; raises `UnknownExperiment`."""
        return self.library.catalogue.get_experiment(experiment_id)

    def listed(self, *, text: str = "", tag: str = "", study: str = "", state: str = "") -> list[dict[str, Any]]:
        """The experiments that match, each with what the list shows of it."""
        wanted = text.casefold()
        return [
            self.line(record)
            for record in self.records()
            if (not wanted or wanted in record.name.casefold() or record.id.startswith(wanted))
            and (not tag or has_tag(record.tags, tag))
            and (not study or record.study == study)
            and (not state or self.state(record) == state)
        ]

    def line(self, record: ExperimentRecord) -> dict[str, Any]:
        """One experiment in one line."""
        stored, last_ns = self._stored(record)
        lost = (record.ledger or {}).get("lost") or self._told_lost(record)
        return {
            "id": record.id,
            "name": record.name,
            "state": self.state(record),
            "tags": list(record.tags),
            "study": record.study,
            "hypothesis": record.hypothesis,
            "started_ns": record.started_ns,
            "stopped_ns": record.stopped_ns,
            "last_ns": None if last_ns is None else max(record.stopped_ns or 0, last_ns, record.started_ns),
            "stored": stored,
            "lost": sum(lost.values()),
            "sample_size": record.sample_size,
        }

    def state(self, record: ExperimentRecord) -> str:
        """The record's state; "crashed" where it ended, or must have ended, without a stop."""
        if record.ended_by == "crash":
            return "crashed"
        if record.state != "running":
            return record.state
        owner = record.environment.get("writer")
        is_gone = owner is not None and is_alive(msgspec.convert(owner, Writer)) is False
        return "crashed" if is_gone and not self.library.journal.has_live_writer(record.id) else "running"

    def _stored(self, record: ExperimentRecord) -> tuple[int | None, int | None]:
        """(spans stored, time of the last write); None where counting would take long, or nobody tells."""
        journal = self.library.journal
        if record.state != "running" and "stored" in (record.ledger or {}):
            return int(record.ledger["stored"]), 0
        if self.library.is_fed:
            return self._told_stored(record)
        if not isinstance(journal, DiskStore):
            return (record.ledger or {}).get("stored"), 0
        folder = journal.folder(record.id)
        current = manifest.latest(folder / "manifest")
        counter = self._counters.setdefault(record.id, FrameCounter())
        tail = counter.count(folder / "journal", current.names())
        if tail is None:
            return None, counter.last_ns
        return sum(entry.rows for entry in current.sealed) + tail, counter.last_ns

    def _told_stored(self, record: ExperimentRecord) -> tuple[int, int | None]:
        """As its processes tell with every delivery, wherever they run; when, is seen from here."""
        ended = self.library.counts(record.id)[0].ended
        before, since = self._seen.get(record.id, (ended, None))
        if ended > before:
            since = time.time_ns()
        self._seen[record.id] = ended, since
        return ended, since

    def _told_lost(self, record: ExperimentRecord) -> dict[str, int]:
        lost: dict[str, int] = {}
        for told in self.library.journal.ledgers(record.id):
            for reason, number in (told.get("lost") or {}).items():
                lost[reason] = lost.get(reason, 0) + int(number)
        return lost


class FrameCounter:
    """Ends in an experiment's unsealed segments: each byte is looked at once."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[int, int]] = {}
        """segment -> (how far it is read, ends in it)."""
        self.last_ns = 0

    def count(self, journal: Path, sealed: set[str]) -> int | None:
        """Ends in the segments that are not sealed; None where there is too much to look at in passing."""
        files = [file for found in segment_files(journal).values() for file in found if file.name not in sealed]
        self.last_ns = max((_changed_ns(file.path) for file in files), default=0)
        if sum(_size(file.path) - self._read.get(file.name, (0, 0))[0] for file in files) > COUNTED_BYTES:
            return None
        self._read = {file.name: self._advanced(file) for file in files}
        return sum(ends for _, ends in self._read.values())

    def _advanced(self, file: SegmentFile) -> tuple[int, int]:
        at, ends = self._read.get(file.name, (0, 0))
        data = file.read(at)
        seeds = seeds_in(data if at == 0 else file.read(0), file.name)
        for frame in frames(data, seeds, at):
            at = frame.end
            ends += frame.kind == END
        return at, ends


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
