"""A journal read by offset: the rows behind a cursor, once, in the order they ended.

A cursor says how many rows of each segment a destination has. It counts rows and not bytes, so
that it means the same whoever reads: a reader that starts afresh has to begin each segment at
its definitions anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_research.journal.frame import END, OTLP
from otel_research.journal.reader import Counts, Frame, frames, seeds_in
from otel_research.journal.received import decode as decode_received
from otel_research.store.manifest import Sealed
from otel_research.store.tail import SegmentFile, WriterTail

if TYPE_CHECKING:
    import polars as pl

    from otel_research.spans.batch import Pair, Row

Cursor = dict[str, int]
"""Segment -> rows of it that the destination has."""
PART_ROWS = 10_000


class Part(NamedTuple):
    """Some rows of one segment, and the cursor behind them."""

    rows: pl.DataFrame
    cursor: Cursor
    is_last: bool = False
    """No more rows will come from this segment."""
    segment: str = ""
    sealed: Sealed | None = None
    """With the last part: what the manifest keeps of the segment when its rows are let go."""


class WriterFollower:
    """One writer's segments, read forward once; what has been read is not held."""

    def __init__(self, carried: Sequence[dict[str, Any]] = ()) -> None:
        self._tail = WriterTail(carried)
        self.segment: str | None = None
        self._carried: Sequence[dict[str, Any]] = carried
        self._read = 0
        self._held: Part | None = None
        self._spans: Iterator[Pair | Row] | None = None

    @property
    def counts(self) -> Counts:
        """What the frames of the segment that is being read tell so far."""
        return self._tail.contents.counts

    def parts(self, file: SegmentFile, cursor: Cursor, *, is_growing: bool, size: int | None = None) -> Iterator[Part]:
        """What the segment has behind the cursor; where it takes no more frames, the last part says so.

        `size` is what the file of another process has to be read to before it counts as complete.
        """
        self._enter(file, cursor)
        while (part := self._held or self._next(file, cursor)) is not None:
            # Held until the caller comes back: what did not arrive is offered again, not read again.
            self._held = part
            yield part
            self._held, cursor = None, part.cursor
            if is_growing and part.rows.height < PART_ROWS:
                return  # all that was there: what came meanwhile is the next reading's
        if not is_growing and size in (None, self._tail.contents.position):
            yield Part(_nothing(), cursor, is_last=True, segment=file.name, sealed=self._sealed(file))

    def _enter(self, file: SegmentFile, cursor: Cursor) -> None:
        if self.segment != file.name:
            self.segment, self._carried = file.name, self._tail.open_rows()
            self._start(file)
        if self._held is not None and cursor.get(file.name, 0) >= self._read:
            self._held = None  # it has arrived; nobody came back to say so
        arrived = self._read - (0 if self._held is None else self._held.rows.height)
        if arrived > cursor.get(file.name, 0):
            # Back to the beginning, where the definitions are.
            self._start(file)

    def _start(self, file: SegmentFile) -> None:
        self._tail = WriterTail(self._carried)
        self._tail.contents.next_segment(file.name)
        self._read, self._spans, self._held = 0, None, None

    def _next(self, file: SegmentFile, cursor: Cursor) -> Part | None:
        rows = self._next_rows(file, cursor.get(file.name, 0))
        return None if rows is None else Part(rows, {**cursor, file.name: self._read}, segment=file.name)

    def _next_rows(self, file: SegmentFile, delivered: int) -> pl.DataFrame | None:
        from otel_research import semconv
        from otel_research.spans.batch import to_frame
        from otel_research.spans.schema import STORED, names

        records: list[Pair | Row] = []
        if self._spans is None:
            self._spans = self._tail.new_spans(file)
        for found in self._spans:
            self._read += 1
            if self._read > delivered:
                records.append(found)
                if len(records) == PART_ROWS:
                    break
        else:
            self._spans = None
        if not records:
            return None
        return semconv.normalise(to_frame(records).lazy()).select(names(STORED)).collect()

    def _sealed(self, file: SegmentFile) -> Sealed:
        contents = self._tail.contents
        return Sealed(
            name=file.name,
            file=None,
            rows=self._read,
            sha256=None,
            writer=file.writer,
            counts=contents.counts,
            damaged_bytes=sum(damage.length for damage in contents.damage),
            carried=self._tail.open_rows(),
        )


def ends(file: SegmentFile) -> int:
    """Rows that a segment will give, told by its frames without decoding them."""
    data = file.read(0)
    return sum(_rows_in(found) for found in frames(data, seeds_in(data, file.name)))


def _rows_in(found: Frame) -> int:
    if found.kind == OTLP:
        message = decode_received(found.payload)
        return message.ended + message.interrupted
    return found.kind == END


def interrupted(carried: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows of spans that a writer left open and that nobody will end."""
    return WriterTail(carried).interrupted()


def _nothing() -> pl.DataFrame:
    from otel_research.store.tail import nothing

    return nothing()
