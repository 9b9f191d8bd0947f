"""Frames back from a segment: every intact one, nothing else, and a report of what was skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

import msgspec

from otel_research.journal.frame import (
    DEFINITION,
    END,
    HEADER,
    HEADER_SIZE,
    KINDS,
    LARGEST,
    LEFT_OUT,
    MAGIC,
    META,
    START,
    Seeds,
    preamble_of,
    seeds_of,
)
from otel_research.journal.writer import Writer
from otel_research.spans import record
from otel_research.spans.batch import Definitions
from otel_research.spans.record import SpanRecord

Buffer = bytes | bytearray | memoryview


class Frame(NamedTuple):
    """One intact frame: where it ends, what it is and what it says."""

    end: int
    kind: int
    payload: bytes


class Counts(msgspec.Struct, kw_only=True):
    """How many spans a writer's frames tell of, by what became of them."""

    started: int = 0
    ended: int = 0
    """End frames."""
    unannounced: int = 0
    """Ends (kept or left out) without a start frame: starts are off, or the span began in a forked process's parent."""
    left_out: dict[str, int] = {}
    """Ended and not kept, by reason."""

    def add(self, other: Counts) -> None:
        """Take in another writer's or segment's counts."""
        self.started += other.started
        self.ended += other.ended
        self.unannounced += other.unannounced
        for reason, number in other.left_out.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + number


class Damage(NamedTuple):
    """Bytes of a segment that hold no intact frame."""

    start: int
    length: int


def frames(data: Buffer, seeds: Seeds, base: int = 0, damage: list[Damage] | None = None) -> Iterator[Frame]:
    """Every intact frame, in order; what lies between two of them goes to `damage`.

    `base` is the offset of `data[0]` in its segment. Iteration ends with the last intact frame:
    behind it are the zeros of a pre-allocated tail, or a frame that is being written, or that a
    crash has torn.
    """
    whole = data if isinstance(data, (bytes, bytearray)) else bytes(data)
    at = preamble_of(whole)[0] if base == 0 else 0
    while True:
        found = _frame_at(whole, at, base, seeds)
        if found is None:
            following = _next_frame(whole, at + 1, base, seeds)
            if following is None:
                return
            if damage is not None:
                damage.append(Damage(base + at, following - at))
            at = following
        else:
            yield found
            at = found.end - base


def _frame_at(data: bytes | bytearray, at: int, base: int, seeds: Seeds) -> Frame | None:
    body = at + HEADER_SIZE
    if body > len(data):
        return None
    magic, kind, length, crc = HEADER.unpack_from(data, at)
    if magic != MAGIC or kind not in KINDS or length > LARGEST or body + length > len(data):
        return None
    payload = bytes(data[body : body + length])
    if crc32(payload, seeds[kind]) != crc:
        return None
    return Frame(base + body + length, kind, payload)


def _next_frame(data: bytes | bytearray, at: int, base: int, seeds: Seeds) -> int | None:
    while (at := data.find(MAGIC, at)) >= 0:
        if _frame_at(data, at, base, seeds) is not None:
            return at
        at += 1
    return None


def wanted(data: bytes) -> int:
    """How many bytes the frame needs that begins here, as far as its header tells; 0 where none begins."""
    if len(data) < HEADER_SIZE:
        return 0
    magic, kind, length, _ = HEADER.unpack_from(data)
    return HEADER_SIZE + length if magic == MAGIC and kind in KINDS and length <= LARGEST else 0


def seeds_in(data: bytes, name: str) -> Seeds:
    """The seeds of a segment: by its name, or, if it was renamed, by the name that its preamble tells."""
    length, told = preamble_of(data)
    if told is not None and told != name and _frame_at(data, length, 0, seeds_of(told)) is not None:
        return seeds_of(told)
    return seeds_of(name)


class Contents:
    """What a writer's frames say so far: feed it the writer's segments in order.

    Spans come out as they end. A start without an end stays in `open`: the span still runs,
    or its process died.
    """

    def __init__(self, carried: Iterable[bytes] = ()) -> None:
        self.carried = set(carried)
        """Keys of spans that earlier segments, read by somebody else, left open."""
        self.open: dict[bytes, tuple[bytes, Definitions]] = {}
        """span key -> (payload of the start, what its numbers stand for)."""
        self.writer: Writer | None = None
        self.counts = Counts()
        self.damage: list[Damage] = []
        self.position = 0
        """How far the current segment is read: the end of its last intact frame."""
        self.torn = 0
        """Bytes behind that which are not zero: a frame that is being written, or that a crash has torn."""
        self._name = ""
        self._seeds: Seeds | None = None
        self._definitions = Definitions()
        self._last_ended_ns = 0
        self._last_start: bytes | None = None

    @property
    def last_seen_ns(self) -> int | None:
        """The latest time that any frame of this writer tells of."""
        started = 0 if self._last_start is None else int(record.decode_span(self._last_start).origin.start_ns)
        return max(started, self._last_ended_ns) or None

    def next_segment(self, name: str) -> None:
        """The data that follow are of the writer's next segment, which has this name."""
        self.position, self.torn = 0, 0
        self._name, self._seeds = name, None
        self._definitions = Definitions()

    def spans(self, data: Buffer) -> Iterator[tuple[SpanRecord, Definitions]]:
        """The spans that end in `data`, which begins at `position` of the current segment."""
        base = self.position
        if self._seeds is None:
            self._seeds = seeds_in(bytes(data), self._name)
        for end, kind, payload in frames(data, self._seeds, base, self.damage):
            self.position = end
            if kind == END:
                key = record.key_of(payload)
                self.counts.ended += 1
                self._end(key)
                span = record.decode_span(payload)
                self._last_ended_ns = max(self._last_ended_ns, int(span.state.end_ns or 0))
                yield span, self._definitions
            elif kind == START:
                self.counts.started += 1
                self._last_start = payload
                self.open[record.key_of(payload)] = (payload, self._definitions)
            elif kind == DEFINITION:
                self._definitions.learn(record.decode_definition(payload))
            elif kind == LEFT_OUT:
                self._leave_out(payload)
            elif kind == META:
                self.writer = msgspec.msgpack.decode(payload, type=Writer)
        self.torn = len(bytes(data[self.position - base :]).rstrip(b"\0"))

    def _leave_out(self, payload: bytes) -> None:
        reason, key = record.decode_left_out(payload)
        self.counts.left_out[reason] = self.counts.left_out.get(reason, 0) + 1
        self._end(key)

    def _end(self, key: bytes) -> None:
        """The span with this key is over; one that nobody saw start is counted as such."""
        if self.open.pop(key, None) is not None:
            return
        if key in self.carried:
            self.carried.remove(key)
        else:
            self.counts.unannounced += 1

    def open_spans(self) -> Iterator[tuple[SpanRecord, Definitions]]:
        """The spans that started and have not ended."""
        for payload, definitions in list(self.open.values()):
            yield record.decode_span(payload), definitions
