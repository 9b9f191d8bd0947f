"""The rows of an experiment that are new since one looked last: each once, whichever process made it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from otel_research.spans.schema import STORED, names
from otel_research.store import manifest, rows
from otel_research.store.disk import DiskStore
from otel_research.store.memory import MemoryStore
from otel_research.store.tail import WriterTail, segment_files

if TYPE_CHECKING:
    import polars as pl

    from otel_research.store.library import Library
    from otel_research.store.manifest import Manifest

Key = tuple[str, str, int]


class Follower(Protocol):
    """Gives every row once."""

    def new(self) -> pl.DataFrame:
        """Rows that were not there the last time, with the columns `STORED`."""


def follow(library: Library, experiment_id: str) -> Follower:
    """The follower that fits the store."""
    journal = library.journal
    if library.is_fed or library.spill is not None:
        return ScanFollower(library, experiment_id)
    if isinstance(journal, DiskStore):
        return DiskFollower(journal, experiment_id)
    if isinstance(journal, MemoryStore):
        return MemoryFollower(journal, experiment_id)
    return ScanFollower(library, experiment_id)


class _Tail(WriterTail):
    """A tail that hands its rows out and does not keep them."""

    def taken(self) -> pl.DataFrame:
        found = self.ended()
        self._frames = []
        return found


class DiskFollower:
    """Reads the journals of all processes forward, and what was sealed before one could read it."""

    def __init__(self, store: DiskStore, experiment_id: str) -> None:
        self._store = store
        self._id = experiment_id
        self._tails: dict[str, _Tail] = {}
        self._done: set[str] = set()
        """Sealed segments that are accounted for."""
        self._read: dict[str, set[Key]] = {}
        """writer -> rows taken from its journal and not yet met in a sealed file."""

    def new(self) -> pl.DataFrame:
        """Rows that were not there the last time."""
        current = manifest.latest(self._store.folder(self._id) / "manifest")
        return _joined([*self._sealed(current), *self._journaled(current)])

    def _sealed(self, current: Manifest) -> list[pl.DataFrame]:
        import polars as pl

        found = []
        folder = self._store.folder(self._id) / "parquet"
        for entry in current.sealed:
            if entry.name in self._done:
                continue
            self._done.add(entry.name)
            if entry.file is None:
                continue
            frame = rows.as_stored(pl.scan_parquet(folder / entry.file)).collect()
            found.append(_unread(frame, self._read.get(entry.writer or "", set())))
        return found

    def _journaled(self, current: Manifest) -> list[pl.DataFrame]:
        found = []
        sealed = current.names()
        for writer, files in segment_files(self._store.folder(self._id) / "journal").items():
            unsealed = [file for file in files if file.name not in sealed]
            if not unsealed:
                continue
            tail = self._tails.setdefault(writer, _Tail())
            tail.refresh(unsealed)
            frame = tail.taken()
            self._read.setdefault(writer, set()).update(_keys(frame))
            found.append(frame)
        return found


class MemoryFollower:
    """Counts rows: a memory store keeps them in the order they ended, and a seal makes a batch of them."""

    def __init__(self, store: MemoryStore, experiment_id: str) -> None:
        self._store = store
        self._id = experiment_id
        self._ended = self._appended = 0
        self._tail: WriterTail | None = None
        self._read: set[Key] = set()
        """Rows taken from the tail, to be known again in the batch that it becomes."""

    def new(self) -> pl.DataFrame:
        """Rows that were not there the last time."""
        tail, ended, appended = self._store.parts(self._id)
        if tail is not self._tail:
            self._tail, self._ended = tail, 0
        found = [_unread(frame, self._read) for frame in appended[self._appended :]]
        fresh = ended.slice(self._ended)
        self._read.update(_keys(fresh))
        self._ended, self._appended = ended.height, len(appended)
        return _joined([*found, fresh])


class ScanFollower:
    """For a store that only scans: everything is read and what is known is left out, at a tenth of the time."""

    def __init__(self, library: Library, experiment_id: str) -> None:
        self._library = library
        self._id = experiment_id
        self._known: set[Key] = set()
        self._not_before = 0.0

    def new(self) -> pl.DataFrame:
        """Rows that were not there the last time; none where it is too early to look again."""
        import polars as pl

        begun = time.monotonic()
        if begun < self._not_before:
            return rows.nothing().collect()
        frame = rows.as_stored(self._library.scan(self._id)).collect()
        keys = _keys(frame)
        frame = frame.filter(pl.Series([key not in self._known for key in keys], dtype=pl.Boolean))
        self._known.update(keys)
        self._not_before = time.monotonic() + 9 * (time.monotonic() - begun)
        return frame


def _unread(frame: pl.DataFrame, read: set[Key]) -> pl.DataFrame:
    """The rows that were not read yet; those that were are forgotten, because they come no third time."""
    import polars as pl

    if not read:
        return frame
    keys = _keys(frame)
    fresh = frame.filter(pl.Series([key not in read for key in keys], dtype=pl.Boolean))
    read.difference_update(keys)
    return fresh


def _keys(frame: pl.DataFrame) -> list[Key]:
    return list(frame.select("trace_id", "span_id", "start_ns").iter_rows())


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    found = [frame.select(names(STORED)) for frame in frames if frame.height]
    return pl.concat(found) if found else rows.nothing().collect()
