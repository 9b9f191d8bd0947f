"""The part of an experiment that is still in the journal, as rows; read once, then only what is new."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from otel_research.journal.reader import Contents, check_format, wanted
from otel_research.journal.received import Received
from otel_research.journal.segment import MemorySegment
from otel_research.spans.batch import to_frame
from otel_research.spans.record import key_from

if TYPE_CHECKING:
    import polars as pl

    from otel_research.spans.batch import Pair, Row

_SEGMENT = re.compile(r"(?P<writer>.+-\d+-[0-9a-f]+)-(?P<index>\d+)\.wal")
_CHUNK = 1 << 20
_ZEROS = 64 << 10


class SegmentFile(NamedTuple):
    """A journal file and whose it is."""

    path: Path
    writer: str
    number: int

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return self.path.stem

    def read(self, position: int, at_least: int = 0) -> bytes:
        """The bytes from `position` on, up to the zeros of a pre-allocated tail; none where the file has gone.

        Raises `StoreError` for a segment of a newer format.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(position)
                data = _until_zeros(file, at_least)
        except FileNotFoundError:
            return b""
        if position == 0:
            check_format(data, self.path)
        return data


class SegmentBuffer(NamedTuple):
    """The same for a segment in memory."""

    segment: MemorySegment
    writer: str
    number: int

    @property
    def name(self) -> str:
        """Its name."""
        return f"{self.writer}-{self.number}"

    def read(self, position: int, at_least: int = 0) -> bytes:
        """The bytes from `position` up to the last whole frame."""
        return self.segment.read(position, self.segment.at)


Source = SegmentFile | SegmentBuffer


def _until_zeros(file: BinaryIO, at_least: int) -> bytes:
    """A live segment is mostly zeros, which need not be read; inside a frame zeros are data (`at_least`)."""
    data = bytearray()
    while chunk := file.read(_CHUNK):
        data += chunk
        if len(data) >= at_least and not chunk[-_ZEROS:].strip(b"\0"):
            break
    return bytes(data)


def segment_files(folder: Path) -> dict[str, list[SegmentFile]]:
    """writer -> its journal files, in order."""
    found: dict[str, list[SegmentFile]] = defaultdict(list)
    for path in folder.glob("*.wal"):
        match = _SEGMENT.fullmatch(path.name)
        if match:
            found[match["writer"]].append(SegmentFile(path, match["writer"], int(match["index"])))
    return {writer: sorted(files, key=lambda file: file.number) for writer, files in found.items()}


def is_segment_name(name: str) -> bool:
    """Whether a file of this name is a writer's segment."""
    return _SEGMENT.fullmatch(name) is not None


def segment_name(writer: str, index: int) -> str:
    """The file name of a writer's segment."""
    return f"{writer}-{index:06}.wal"


class WriterTail:
    """One writer's unsealed segments as rows. `refresh` reads what is new since the last time."""

    def __init__(self, carried: Iterable[dict[str, Any]] = ()) -> None:
        self._carried = {_key(row): row for row in carried}
        self.contents = Contents(self._carried)
        self._frames: list[pl.DataFrame] = []
        self._current: str | None = None
        self._begun: set[str] = set()

    def is_ahead_of(self, sources: Sequence[Source]) -> bool:
        """Whether segments have come that belong before the one it reads: then reading has to begin again."""
        names = [source.name for source in sources]
        before = names[: names.index(self._current)] if self._current in names else []
        return not self._begun.issuperset(before)

    def refresh(self, sources: Sequence[Source]) -> None:
        """Read the new frames of the segments; sources are the writer's, in order, from where we are."""
        from otel_research import semconv

        names = [source.name for source in sources]
        begin = names.index(self._current) if self._current in names else 0
        records: list[Pair | Row] = []
        for source in sources[begin:]:
            if source.name != self._current:
                self.contents.next_segment(source.name)
                self._current = source.name
                self._begun.add(source.name)
            records += self.new_spans(source)
        if records:
            # Once for all segments: a conversion has a price of its own, whatever its size.
            self._frames.append(semconv.normalise(to_frame(records).lazy()).collect())

    def new_spans(self, source: Source) -> Iterator[Pair | Row]:
        """The spans that ended in the segment since it was read last."""
        from otel_research.store.received import rows_of

        asked = 0
        while True:
            base = self.contents.position
            data = source.read(base, asked)
            for record, definitions in self.contents.spans(data):
                if isinstance(record, Received):
                    yield from rows_of(record)
                else:
                    yield record, definitions
            rest = data[self.contents.position - base :]
            needed = wanted(rest)
            has_moved = self.contents.position > base
            # A long frame may hold zeros that ended the reading: ask for all of it, once.
            if needed <= len(rest) or (needed == asked and not has_moved):
                return
            asked = needed

    @property
    def carried(self) -> list[dict[str, Any]]:
        """Spans that an earlier, sealed segment left open and that have not ended since, as RAW rows."""
        return [self._carried[key] for key in self.contents.carried]

    def ended(self) -> pl.DataFrame:
        """Rows of the spans that ended: RAW + CANONICAL."""
        import polars as pl

        if len(self._frames) > 1:
            self._frames = [pl.concat(self._frames, rechunk=False)]
        return self._frames[0] if self._frames else nothing()

    @property
    def size(self) -> int:
        """Bytes of the rows held."""
        return sum(int(frame.estimated_size()) for frame in list(self._frames))

    def interrupted(self) -> pl.DataFrame:
        """Rows of the spans that have not ended: only meaningful once the writer is gone."""
        if not self.open_count:
            return nothing()
        import polars as pl

        from otel_research import semconv
        from otel_research.spans.schema import RAW, polars_schema

        seen = self.contents.last_seen_ns
        rows = [{**row, "last_seen_ns": seen or row.get("last_seen_ns")} for row in self.carried]
        carried = pl.DataFrame(rows, schema=polars_schema(RAW))
        opened = to_frame(self.contents.open_spans(), seen)
        return semconv.normalise(pl.concat([carried, opened]).lazy()).collect()

    def open_rows(self) -> tuple[dict[str, Any], ...]:
        """RAW rows of the spans that have not ended, for the next segment's reader."""
        opened = to_frame(self.contents.open_spans(), self.contents.last_seen_ns)
        return (*self.carried, *opened.iter_rows(named=True))

    @property
    def open_count(self) -> int:
        """Spans that started and have not ended."""
        return len(self.contents.open) + len(self.contents.carried)


def _key(row: dict[str, Any]) -> bytes:
    return key_from(row["trace_id"], row["span_id"])


def nothing() -> pl.DataFrame:
    """No rows, all stored columns."""
    import polars as pl

    from otel_research.spans.schema import STORED, polars_schema

    return pl.DataFrame(schema=polars_schema(STORED))
