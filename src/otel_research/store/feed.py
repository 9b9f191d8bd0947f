"""From the local journal to a store that is elsewhere: by offset, at least once, resumable.

    append      a part of the journal, to the store (which is idempotent)
    advance     the cursor, durably, beside the journal
    let go      a segment that is complete and delivered; its counts stay in the manifest

A crash between any two steps repeats a step, which changes nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from otel_research.context import uninstrumented
from otel_research.errors import StoreError
from otel_research.journal.reader import Counts
from otel_research.store import by_offset, manifest
from otel_research.store.backlog import Backlog
from otel_research.store.base import Accounts, Store
from otel_research.store.manifest import Manifest, Sealed
from otel_research.store.tail import segment_files

if TYPE_CHECKING:
    import polars as pl

    from otel_research.store.disk import DiskStore
    from otel_research.store.mirror import Mirror


_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0
"""Seconds between two attempts to reach a store that does not answer."""

_logger = logging.getLogger("otel_research")


class Feed:
    """Brings one experiment's journal to its store. Safe from any thread; one delivery at a time."""

    def __init__(self, experiment_id: str, journal: DiskStore, store: Store, mirror: Mirror | None) -> None:
        self.experiment_id = experiment_id
        self._journal = journal
        self._store = store
        self._mirror = mirror
        self._folder = journal.folder(experiment_id)
        self._backlog = Backlog(self._folder, destination_of(store))
        # One delivery at a time: the background thread, a flush and a stop may meet.
        self._lock = threading.RLock()
        self._is_delivering = False
        self._deadline: float | None = None
        self._is_over = False
        """Nobody writes any more: also for the attempts that follow one that failed."""
        self.sent = 0
        """Rows that this process has brought to the store."""
        self._failures = 0
        self._next_try = 0.0
        self._has_logged = False

    def claim(self, writer: str) -> None:
        """This process writes under that name, and delivers what it writes."""
        self._is_over = False
        self._backlog.claim(writer)

    @property
    def exists(self) -> bool:
        """Whether anything of the experiment was ever to go to this store from here, and is not known to have arrived."""
        return self._backlog.exists

    @property
    def is_finished(self) -> bool:
        """Whether the experiment is over here and all of it has arrived."""
        return self._is_over and not self._backlog.exists

    def deliver(self, *, is_over: bool = False, deadline: float | None = None) -> bool:
        """Bring over what the store lacks; whether all that was there at the call has arrived. Raises the store's error.

        `is_over`: nobody writes any more, so that what is open is interrupted. Behind the `deadline` no
        further part is begun, and another thread's delivery is not waited for.
        """
        if not self._lock.acquire(timeout=-1 if deadline is None else max(0.0, deadline - time.monotonic())):
            return False
        try:
            if self._is_delivering:
                return False  # a signal handler in the middle of the delivery that goes on after it
            self._is_delivering, self._deadline = True, deadline
            try:
                with uninstrumented():
                    self._deliver(is_over=is_over)
                return deadline is None or time.monotonic() <= deadline
            finally:
                self._is_delivering = False
        finally:
            self._lock.release()

    def _deliver(self, *, is_over: bool) -> None:
        self._is_over = is_over = is_over or self._is_over
        if self._backlog.is_catalogue_waiting:
            self._deliver_catalogue()
        sent = sum(self._deliver_writer(writer) for writer in self._writers())
        sent += self._deliver_sealed()
        sent += self._deliver_interrupted(is_over=is_over)
        self.sent += sent
        if sent or is_over:
            self._put_accounts()
        if is_over and not self.holds_rows:
            settle = getattr(self._store, "settle", None)
            if settle is not None:
                settle(self.experiment_id)
            self._backlog.finish()
            self._journal.release(self.experiment_id)

    def _deliver_catalogue(self) -> None:
        """The record and the annotations; of a store without a catalogue only counts wait, which follow the rows."""
        if self._mirror is None:
            self._backlog.note_catalogue(is_waiting=False)
        else:
            self._mirror.deliver(self.experiment_id)

    def try_deliver(self, *, is_over: bool = False, now: bool = False, deadline: float | None = None) -> bool:
        """`deliver`, where a store that failed is left alone for a while unless `now`; False also where it failed or waits."""
        if not now and time.monotonic() < self._next_try:
            return self._failures == 0
        try:
            has_arrived = self.deliver(is_over=is_over, deadline=deadline)
        except Exception as error:
            self._failures += 1
            self._next_try = time.monotonic() + min(_FIRST_PAUSE * 2.0**self._failures, _LONGEST_PAUSE)
            self._complain(error)
            return False
        self._failures, self._has_logged = 0, False
        self._next_try = time.monotonic() + getattr(self._store, "delivery_seconds", 0.0)
        return has_arrived

    def _complain(self, error: Exception) -> None:
        if not self._has_logged:
            self._has_logged = True
            kind = "" if isinstance(error, StoreError) else f"{type(error).__name__}: "
            _logger.warning(
                "otel_research: the store does not take spans now (%s%s). They stay in the local journal and are delivered later.",
                kind,
                error,
            )

    def _writers(self) -> Iterator[str]:
        """Those whose spans this process delivers."""
        for writer in segment_files(self._folder / "journal"):
            if self._backlog.claim(writer):
                yield writer

    def _deliver_writer(self, writer: str) -> int:
        sent = 0
        for part in self._journal.since(self.experiment_id, writer, self._backlog.cursor(writer)):
            if part.rows.height:
                self._append(part.rows)
                sent += part.rows.height
                self._backlog.advance(writer, part.cursor)
            if part.is_last:
                self._journal.let_go(self.experiment_id, part)
            if self._deadline is not None and time.monotonic() > self._deadline:
                break
        return sent

    def _append(self, rows: pl.DataFrame) -> None:
        for batch in rows.to_arrow(compat_level=None).combine_chunks().to_batches():
            self._store.append(batch)

    def _deliver_sealed(self) -> int:
        """What was turned into columns while the store was away."""
        import polars as pl

        sent = 0
        for entry in self._manifest().sealed:
            if entry.file is None:
                continue
            path = self._folder / "parquet" / entry.file
            for rows in pl.read_parquet(path).iter_slices(by_offset.PART_ROWS):
                self._append(rows)
                sent += rows.height
            emptied = msgspec.structs.replace(entry, file=None, sha256=None)
            manifest.update(self._folder / "manifest", lambda now, emptied=emptied: _with(now, emptied))  # type: ignore[misc]
            path.unlink(missing_ok=True)
        return sent

    def _deliver_interrupted(self, *, is_over: bool) -> int:
        """Spans that writers left open when their last segment went: nobody will end them.

        While the experiment runs that is known only of the writers that have gone.
        """
        current, sent = self._manifest(), 0
        waiting = segment_files(self._folder / "journal")
        last = {entry.writer: entry for entry in current.sealed if entry.writer is not None}
        for writer, entry in last.items():
            if entry.carried and writer not in waiting and (is_over or self._backlog.has_gone(writer)):
                rows = by_offset.interrupted(entry.carried)
                self._append(rows)
                sent += rows.height
                closed = msgspec.structs.replace(entry, carried=())
                manifest.update(self._folder / "manifest", lambda now, closed=closed: _with(now, closed))  # type: ignore[misc]
        return sent

    def _manifest(self) -> Manifest:
        return manifest.latest(self._folder / "manifest")

    def _put_accounts(self) -> None:
        if isinstance(self._store, Accounts):
            ledgers = self._journal.ledgers_by_writer(self.experiment_id)
            frames = self._journal.counts_by_writer(self.experiment_id)
            for writer in {*ledgers, *frames}:
                counts = msgspec.to_builtins(frames.get(writer, Counts()))
                told = {**ledgers.get(writer, {}), "frames": counts}
                self._store.put_accounts(self.experiment_id, writer, told)

    def publish(self) -> None:
        """Tell the store what was counted; where it is away that waits like the rest."""
        try:
            with self._lock, uninstrumented():
                self._put_accounts()
        except Exception:
            self._backlog.note_catalogue(is_waiting=True)
            raise

    @property
    def holds_rows(self) -> bool:
        """Whether this machine still holds rows that the store may lack."""
        return bool(segment_files(self._folder / "journal")) or any(entry.file for entry in self._manifest().sealed)

    def pending(self) -> int:
        """Rows that the store may lack, of those that this process delivers; reads frames, decodes none."""
        waiting = sum(entry.rows for entry in self._manifest().sealed if entry.file)
        for writer, files in segment_files(self._folder / "journal").items():
            if writer in self._backlog.claimed:
                cursor = self._backlog.cursor(writer)
                waiting += sum(by_offset.ends(file) - cursor.get(file.name, 0) for file in files)
        return waiting


def _with(current: Manifest, entry: Sealed) -> Manifest:
    sealed = tuple(entry if known.name == entry.name else known for known in current.sealed)
    return msgspec.structs.replace(current, sealed=sealed)


def destination_of(store: Store) -> str:
    """What names a store in the progress files: its URL without secrets, else its type."""
    url = getattr(store, "url", None)
    return url if isinstance(url, str) else type(store).__qualname__
