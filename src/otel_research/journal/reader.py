"""Frames back from a segment: every intact one, nothing else, and a report of what was skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from otel_research.errors import StoreError
from otel_research.journal.frame import (
    DEFINITION,
    END,
    FORMAT_VERSION,
    HEADER,
    HEADER_SIZE,
    KINDS,
    LARGEST,
    LEFT_OUT,
    MAGIC,
    META,
    OTLP,
    START,
    Seeds,
    format_of,
    preamble_of,
    seeds_of,
)
from otel_research.journal.received import Received
from otel_research.journal.received import decode as decode_received
from otel_research.journal.writer import Writer
from otel_research.spans import record
from otel_research.spans.batch import Definitions
from otel_research.spans.record import KEY, ORIGIN_HEAD, SpanRecord, as_time

Buffer = bytes | bytearray | memoryview

UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, AttributeError)
"""What decoding raises for an intact frame that is no record of ours."""


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
    received: int = 0
    """Of the ends, those that came by OTLP from other programs."""
    left_out: dict[str, int] = {}
    """Ended and not kept, by reason."""
    damaged: int = 0
    """Ends that cannot be read."""

    def add(self, other: Counts) -> None:
        """Take in another writer's or segment's counts."""
        self.started += other.started
        self.ended += other.ended
        self.unannounced += other.unannounced
        self.received += other.received
        self.damaged += other.damaged
        for reason, number in other.left_out.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + number


class Damage(NamedTuple):
    """Bytes of a segment that hold no frame, or one that says nothing."""

    start: int
    length: int
    ends: int = 0
    """Ends of spans among them, as far as can be told."""


def frames(data: Buffer, seeds: Seeds, base: int = 0, damage: list[Damage] | None = None) -> Iterator[Frame]:
    """Every intact frame, in order; what lies between two of them goes to `damage`.

    `base` is the offset of `data[0]` in its segment. Iteration ends with the last intact frame:
    behind it are the zeros of a pre-allocated tail, or a frame that is being written, or that a
    crash has torn.
    """
    return map(Frame._make, _intact(data, seeds, base, [] if damage is None else damage))


def _intact(data: Buffer, seeds: Seeds, base: int, damage: list[Damage]) -> Iterator[tuple[int, int, bytes]]:
    """The same as plain tuples. Everything in one loop: it runs for each of a journal's frames."""
    whole = data if isinstance(data, bytes) else bytes(data)
    at = preamble_of(whole)[0] if base == 0 else 0
    unpack, last = HEADER.unpack_from, len(whole) - HEADER_SIZE
    while True:
        if at <= last:
            magic, kind, length, crc = unpack(whole, at)
            body = at + HEADER_SIZE
            if magic == MAGIC and kind in KINDS and length <= LARGEST:
                payload = whole[body : body + length]
                if len(payload) == length and crc32(payload, seeds[kind]) == crc:
                    at = body + length
                    yield base + at, kind, payload
                    continue
        following = _next_frame(whole, at + 1, base, seeds)
        if following is None:
            return
        damage.append(Damage(base + at, following - at, _ends_in(whole, at, following)))
        at = following


def _ends_in(data: bytes, at: int, stop: int) -> int:
    """How many whole end frames lie there, as far as their headers tell: they follow each other without a gap."""
    ends = 0
    while at + HEADER_SIZE <= stop:
        magic, kind, length, _ = HEADER.unpack_from(data, at)
        at += HEADER_SIZE + length
        if magic != MAGIC or kind not in KINDS or at > stop:
            break
        ends += kind == END
    return ends


def _frame_at(data: bytes, at: int, base: int, seeds: Seeds) -> Frame | None:
    if at + HEADER_SIZE > len(data):
        return None
    magic, kind, length, crc = HEADER.unpack_from(data, at)
    if magic != MAGIC or kind not in KINDS or length > LARGEST:
        return None
    body = at + HEADER_SIZE
    payload = data[body : body + length]
    if len(payload) < length or crc32(payload, seeds[kind]) != crc:
        return None
    return Frame(base + body + length, kind, payload)


def _next_frame(data: bytes, at: int, base: int, seeds: Seeds) -> int | None:
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


def check_format(data: bytes, path: Path | str) -> None:
    """Refuse a segment of a newer format, of which this version would read nothing, with a `StoreError`."""
    told = format_of(data)
    if told is None or told[0] <= FORMAT_VERSION or _next_frame(data, 0, 0, seeds_of(told[1])) is not None:
        return  # with frames of ours behind it that line is only damaged
    raise StoreError(
        f"{path} was written by a newer otel-research (journal format {told[0]}, this version reads up to "
        f"{FORMAT_VERSION}). Nothing in it was touched. Upgrade: pip install -U otel-research."
    )


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
        return max(self._last_started_ns, self._last_ended_ns) or None

    @property
    def _last_started_ns(self) -> int:
        last = None if self._last_start is None else _decoded(self._last_start)
        return 0 if last is None else as_time(last.origin.start_ns)

    def next_segment(self, name: str) -> None:
        """The data that follow are of the writer's next segment, which has this name."""
        self.position, self.torn = 0, 0
        self._name, self._seeds = name, None
        self._definitions = Definitions()

    def spans(self, data: Buffer) -> list[tuple[SpanRecord | Received, Definitions]]:
        """The spans that end in `data`, which begins at `position` of the current segment."""
        base = self.position
        if self._seeds is None:
            self._seeds = seeds_in(bytes(data), self._name)
        found: list[tuple[SpanRecord | Received, Definitions]] = []
        opened, definitions, damage = self.open, self._definitions, self.damage
        known = len(damage)
        for end, kind, payload in _intact(data, self._seeds, base, damage):
            self.position = end
            if kind == START and payload[:3] == ORIGIN_HEAD:
                self._last_start = payload
                if (key := payload[KEY]) not in opened:
                    # After a failed sync a start may be here twice.
                    self.counts.started += 1
                opened[key] = payload, definitions
                continue
            try:
                if kind == START:
                    raise ValueError("a start without an origin")
                if kind == END:
                    found.append((self._ended(payload), definitions))
                elif kind == OTLP:
                    found.append((self._received(payload), definitions))
                else:
                    self._learn(kind, payload)
            except UNREADABLE:
                size = HEADER_SIZE + len(payload)
                damage.append(Damage(end - size, size, int(kind == END)))
        self._note_damaged(sum(place.ends for place in damage[known:]))
        self.torn = len(bytes(data[self.position - base :]).rstrip(b"\0"))
        return found

    def _ended(self, payload: bytes) -> SpanRecord:
        span = record.decode_span(payload)
        ended_ns = as_time(span.state.end_ns)
        if type(span.origin.start_ns) is float:
            as_time(span.origin.start_ns)
        if ended_ns > self._last_ended_ns:
            self._last_ended_ns = ended_ns
        self.counts.ended += 1
        self._end(payload[KEY])
        return span

    def _received(self, payload: bytes) -> Received:
        """A message from elsewhere: what it holds was never announced by a start here."""
        message = decode_received(payload)
        counts = self.counts
        counts.started += message.interrupted
        counts.ended += message.ended
        counts.unannounced += message.ended
        counts.received += message.ended
        return message

    def _learn(self, kind: int, payload: bytes) -> None:
        if kind == DEFINITION:
            self._definitions.learn(record.decode_definition(payload))
        elif kind == LEFT_OUT:
            self._leave_out(payload)
        elif kind == META:
            self.writer = msgspec.msgpack.decode(payload, type=Writer)

    def _note_damaged(self, ends: int) -> None:
        """Ends that cannot be read are counted; their spans stay open, because their starts are data."""
        self.counts.damaged += ends
        if not self.counts.started and not self.carried:
            self.counts.unannounced += ends

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
            span = _decoded(payload)
            if span is not None:
                yield span, definitions


def _decoded(start: bytes) -> SpanRecord | None:
    """The record of a start, None where it says nothing."""
    try:
        span = record.decode_span(start)
        as_time(span.origin.start_ns)
    except UNREADABLE:
        return None
    return span
