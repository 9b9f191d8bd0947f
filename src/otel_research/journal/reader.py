"""Frames back from a segment: every intact one, nothing else, and a report of what was skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
    PREAMBLE,
    START,
    checksum,
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


def frames(data: Buffer, base: int = 0, damage: list[Damage] | None = None) -> Iterator[Frame]:
    """Every intact frame, in order; what lies between goes to `damage`.

    `base` is the offset of `data[0]` in its segment. Trailing zeros (a pre-allocated tail) and
    an unfinished last frame end the iteration without being damage: that is how a live or
    crashed segment ends.
    """
    whole = data if isinstance(data, (bytes, bytearray)) else bytes(data)
    at = len(PREAMBLE) if base == 0 and whole.startswith(PREAMBLE) else 0
    while True:
        found = _frame_at(whole, at, base)
        if found is not None:
            yield found
            at = found.end - base
            continue
        following = _next_frame(whole, at + 1, base)
        if following is None:
            if damage is not None and any(whole[at : at + HEADER_SIZE]) and len(whole) - at >= HEADER_SIZE:
                damage.append(Damage(base + at, len(whole) - at))
            return
        if damage is not None:
            damage.append(Damage(base + at, following - at))
        at = following


def _frame_at(data: bytes | bytearray, at: int, base: int) -> Frame | None:
    body = at + HEADER_SIZE
    if body > len(data):
        return None
    magic, kind, length, crc = HEADER.unpack_from(data, at)
    if magic != MAGIC or kind not in KINDS or length > LARGEST or body + length > len(data):
        return None
    payload = bytes(data[body : body + length])
    if checksum(kind, payload, base + at) != crc:
        return None
    return Frame(base + body + length, kind, payload)


def _next_frame(data: bytes | bytearray, at: int, base: int) -> int | None:
    while (at := data.find(MAGIC, at)) >= 0:
        if _frame_at(data, at, base) is not None:
            return at
        at += 1
    return None


class Contents:
    """What a writer's frames say so far: feed it the writer's segments in order.

    Spans come out as they end. A start without an end stays in `open`: the span still runs,
    or its process died.
    """

    def __init__(self) -> None:
        self.open: dict[bytes, tuple[bytes, Definitions]] = {}
        """span key -> (payload of the start, what its numbers stand for)."""
        self.writer: Writer | None = None
        self.counts = Counts()
        self.damage: list[Damage] = []
        self.position = 0
        self._definitions = Definitions()
        self._last_ended_ns = 0
        self._last_start: bytes | None = None

    @property
    def last_seen_ns(self) -> int | None:
        """The latest time that any frame of this writer tells of."""
        started = 0 if self._last_start is None else record.decode_span(self._last_start).start_ns
        return max(started, self._last_ended_ns) or None

    def next_segment(self) -> None:
        """The data that follow are of the writer's next segment."""
        self.position = 0
        self._definitions = Definitions()

    def spans(self, data: Buffer) -> Iterator[tuple[SpanRecord, Definitions]]:
        """The spans that end in `data`, which begins at `position` of the current segment."""
        for end, kind, payload in frames(data, self.position, self.damage):
            self.position = end
            if kind == END:
                key = record.key_of(payload)
                self.counts.ended += 1
                if self.open.pop(key, None) is None:
                    self.counts.unannounced += 1
                span = record.decode_span(payload)
                self._last_ended_ns = max(self._last_ended_ns, span.end_ns or 0)
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

    def _leave_out(self, payload: bytes) -> None:
        reason, key = record.decode_left_out(payload)
        self.counts.left_out[reason] = self.counts.left_out.get(reason, 0) + 1
        if self.open.pop(key, None) is None:
            self.counts.unannounced += 1

    def open_spans(self) -> Iterator[tuple[SpanRecord, Definitions]]:
        """The spans that started and have not ended."""
        for payload, definitions in list(self.open.values()):
            yield record.decode_span(payload), definitions
