"""Spans in this process's memory, as the same frames that the disk store writes.

Durability: none beyond the process. A forked child's spans die with the child; the doctor
says so. `limit` bounds the frames that are held, in bytes; at the limit the overload policy decides.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any

from otel_research.errors import StoreClosed, UnknownExperiment
from otel_research.experiments import ExperimentRecord, check_id
from otel_research.journal.log import Closed, Log
from otel_research.journal.reader import Counts
from otel_research.journal.segment import MemorySegment, Segment
from otel_research.journal.writer import Writer
from otel_research.store import rows
from otel_research.store.tail import SegmentBuffer, WriterTail

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

DEFAULT_LIMIT = 4 << 30
LARGEST_SEGMENT = 4 << 20


class _Held:
    """What is held of one experiment."""

    def __init__(self) -> None:
        self.segments: list[SegmentBuffer] = []
        self.tail = WriterTail()
        self.appended: list[pl.DataFrame] = []
        self.log: Log | None = None
        self.rolled: set[str] = set()
        """Names of segments that take no more frames."""
        self.settled = Counts()
        """What the frames tell that became rows when the experiment was over."""
        self.ledgers: dict[str, dict[str, Any]] = {}

    @property
    def size(self) -> int:
        """Bytes."""
        frames = sum(buffer.segment.size for buffer in list(self.segments))
        return frames + self.tail.size + sum(int(frame.estimated_size()) for frame in list(self.appended))

    def settle(self) -> None:
        """What is open will not end: it becomes rows, and what comes after a resumption begins anew."""
        self.appended += [frame for frame in (self.tail.ended(), self.tail.interrupted()) if frame.height]
        self.settled.add(self.tail.contents.counts)
        self.tail = WriterTail()


class MemoryStore:
    """A store for short runs and tests."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._held: dict[str, _Held] = {}
        self._records: dict[str, ExperimentRecord] = {}
        self._notes: dict[str, list[dict[str, Any]]] = {}
        self._is_closed = False
        # Protects what is held against two readers converting the same frames.
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._held)} experiments, {self.size} bytes)"

    @property
    def url(self) -> str:
        """The URL that names this kind of store."""
        return "memory:"

    @property
    def size(self) -> int:
        """Bytes held: frames, and rows that frames became or that were appended."""
        return sum(held.size for held in list(self._held.values()))

    def open_log(self, experiment_id: str, on_rolled: Closed | None = None, *, is_quarantine: bool = False) -> Log:
        """The frames of this process for one experiment; a quarantine's frames are counted and let go."""
        self._check_open()
        held = _Held() if is_quarantine else self._of(experiment_id)

        def open_segment(writer: Writer, index: int, size: int) -> Segment:
            if self.size + size > self._limit:
                raise OSError(errno.ENOSPC, f"the memory store is at its limit of {self._limit} bytes")
            segment = MemorySegment(f"{writer.name}-{index}", size)
            held.segments.append(SegmentBuffer(segment, writer.name, index))
            return segment

        def rolled(segment: Segment) -> None:
            held.rolled.add(segment.name)
            (on_rolled or _finish)(segment)

        held.log = Log(open_segment, on_rolled=rolled, largest=LARGEST_SEGMENT)
        return held.log

    def append(self, batch: pa.RecordBatch, /) -> None:
        """Store all rows of a batch; rows that are there already change nothing when read."""
        import polars as pl

        self._check_open()
        frame = pl.DataFrame(pl.from_arrow(batch))
        with self._lock:
            for (experiment_id,), part in frame.group_by("experiment_id", maintain_order=True):
                self._of(str(experiment_id)).appended.append(part)

    def seal_off(self, experiment_id: str) -> None:
        """No more frames in the current segment."""
        log = self._of(experiment_id).log
        if log is not None:
            log.roll()

    def seal(self, experiment_id: str, *, is_over: bool) -> None:
        """Convert the frames to columns and let them go."""
        held = self._of(experiment_id)
        if held.log is not None:
            held.log.roll()
        with self._lock:
            self._refresh(held)
            if is_over:
                held.settle()

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        """Every stored row once."""
        import polars as pl

        self._check_open()
        ids = list(self._held) if experiment_id is None else [check_id(experiment_id)]
        frames = [rows.once(self._frame(self._held[known])) for known in ids if known in self._held]
        return pl.concat(frames) if frames else rows.nothing()

    def copies(self, experiment_id: str) -> pl.LazyFrame:
        """Every row as it lies there, second copies too."""
        return self._frame(self._of(experiment_id))

    def _frame(self, held: _Held) -> pl.LazyFrame:
        import polars as pl

        with self._lock:
            self._refresh(held)
            frames = [held.tail.ended(), *held.appended]
        return pl.concat([rows.as_stored(frame.lazy()) for frame in frames])

    def parts(self, experiment_id: str) -> tuple[WriterTail, pl.DataFrame, list[pl.DataFrame]]:
        """(the tail, its rows in the order they ended, batches that were appended); a seal makes a batch of the tail."""
        held = self._of(experiment_id)
        with self._lock:
            self._refresh(held)
            return held.tail, held.tail.ended(), list(held.appended)

    def _refresh(self, held: _Held) -> None:
        """Convert new frames; drop the buffers of segments that take no more."""
        with self._lock:
            segments = list(held.segments)
            # Asked first: what is written after that is to a segment that stays.
            complete = 1 + max((at for at, buffer in enumerate(segments) if buffer.name in held.rolled), default=-1)
            held.tail.refresh(segments)
            # In place: a thread may be adding one.
            del held.segments[:complete]
            held.rolled.difference_update(buffer.name for buffer in segments[:complete])

    def counts(self, experiment_id: str) -> tuple[Counts, int]:
        """(what all frames tell, spans that are open and no row yet)."""
        held = self._of(experiment_id)
        self._refresh(held)
        total = Counts()
        total.add(held.settled)
        total.add(held.tail.contents.counts)
        return total, held.tail.open_count

    def has_live_writer(self, experiment_id: str) -> bool:
        """The only writer is this process."""
        return experiment_id in self._held

    def writers(self, experiment_id: str) -> set[str]:
        """The only writer is this process."""
        log = self._of(experiment_id).log
        return set() if log is None else {log.writer.name}

    def beat(self, experiment_id: str, writer: Writer) -> bool:
        """Nobody else can ask."""
        return False

    def leave(self, experiment_id: str, writer: Writer) -> None:
        """Nobody else can ask."""

    def is_gone(self, experiment_id: str, writer: Writer) -> bool:
        """The only writer is this process."""
        return False

    def put_ledger(self, experiment_id: str, writer: str, counts: dict[str, Any]) -> None:
        """Keep what this process counted beside its frames."""
        self._of(experiment_id).ledgers[writer] = counts

    def ledgers(self, experiment_id: str) -> list[dict[str, Any]]:
        """What was counted."""
        return list(self._of(experiment_id).ledgers.values())

    def by_writer(self, experiment_id: str) -> dict[str, tuple[Counts, dict[str, Any]]]:
        """The one process there is, and what was counted beside it."""
        held = self._of(experiment_id)
        mine = {} if held.log is None else {held.log.writer.name: self.counts(experiment_id)[0]}
        writers = sorted({*mine, *held.ledgers})
        return {writer: (mine.get(writer, Counts()), held.ledgers.get(writer, {})) for writer in writers}

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment's rows."""
        self._held.pop(experiment_id, None)

    def close(self) -> None:
        """Refuse further spans. What is held stays readable until the store is dropped."""
        self._is_closed = True

    def _of(self, experiment_id: str) -> _Held:
        return self._held.setdefault(check_id(experiment_id), _Held())

    def after_fork(self) -> None:
        """In the child: a reader in the parent may hold the lock."""
        self._lock = threading.RLock()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed("the memory store is closed; call otel_research.configure() again.")

    # -- the catalogue ------------------------------------------------------------------

    def put_experiment(self, record: ExperimentRecord, /) -> None:
        """Store or replace a record."""
        self._records[record.id] = record

    def get_experiment(self, experiment_id: str) -> ExperimentRecord:
        """The record; raises `UnknownExperiment`."""
        try:
            return self._records[check_id(experiment_id)]
        except KeyError:
            raise UnknownExperiment(
                f"no experiment {experiment_id} in this memory store; list_experiments() gives those that are there."
            ) from None

    def list_experiments(self) -> list[ExperimentRecord]:
        """Every record, oldest first."""
        return sorted(self._records.values(), key=lambda record: (record.started_ns, record.id))

    def delete_experiment(self, experiment_id: str) -> None:
        """Forget a record and its annotations."""
        self._records.pop(experiment_id, None)
        self._notes.pop(experiment_id, None)

    def annotate(self, experiment_id: str, note: dict[str, Any], /) -> None:
        """Append one annotation."""
        self._notes.setdefault(experiment_id, []).append(dict(note))

    def annotations(self, experiment_id: str) -> list[dict[str, Any]]:
        """Every annotation, in the order they were made."""
        return list(self._notes.get(experiment_id, []))


def _finish(segment: Segment) -> None:
    segment.finish()
