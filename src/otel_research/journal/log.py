"""The segments of one process and one experiment: where `on_end` writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from zlib import crc32

import msgspec

from otel_research.journal import frame
from otel_research.journal.frame import SEEDS, HEADER, HEADER_SIZE, MAGIC
from otel_research.journal.segment import Segment
from otel_research.journal.writer import Writer, this_writer
from otel_research.spans.record import Definition, as_text, encode_msgpack
from otel_research.spans.values import to_json

SMALLEST = 1 << 20
LARGEST = 64 << 20
pack = HEADER.pack
_SLACK = 4096
"""Room beside an outsized frame for the preamble, the meta frame and its header."""

OpenSegment = Callable[[Writer, int, int], Segment]
"""(writer, index, size) -> a new, empty segment."""
Closed = Callable[[Segment], None]


class _Nowhere:
    """The segment before the first frame: full, so that the first frame opens one."""

    at = size = 0
    buffer = None

    def write(self, data: bytes, /) -> None:
        """Never called: nothing fits."""
        raise OSError("no segment is open")

    def sync(self) -> None:
        """Nothing to do."""

    finish = abandon = sync


NOWHERE: Segment = _Nowhere()


class Log:
    """Appends frames to the current segment and rolls to the next when it is full.

    `append` is safe from any thread. It raises `OSError` where a segment cannot be written
    or made; the caller's policy decides what then. A forked child starts a segment of its own.
    """

    def __init__(
        self,
        open_segment: OpenSegment,
        *,
        on_rolled: Closed | None = None,
        smallest: int = SMALLEST,
        largest: int = LARGEST,
    ) -> None:
        self._open_segment = open_segment
        self._on_rolled = on_rolled
        self._smallest = self._size = smallest
        self._largest = largest
        self._definitions: list[bytes] = []
        self._subjects: list[Any] = []
        self.numbers: dict[int, int] = {}
        """id of a scope or resource object -> its number; read on the hot path, filled by `number_of`."""
        self._reset()

    def _reset(self) -> None:
        # Protects the current segment, its position and the table of definitions. Held for one copy.
        self._lock = threading.Lock()
        self._segment: Segment = NOWHERE
        self._index = 0
        self._size = self._smallest
        self.is_dirty = False
        self.writer = this_writer()
        self.appended = [0] * (max(frame.KINDS) + 1)
        """kind -> frames that `append` has stored, in this process."""

    def append(self, kind: int, payload: bytes) -> None:
        """Append one frame. The hot path: one copy into the mapping, inlined."""
        length = len(payload)
        with self._lock:
            segment = self._segment
            at = segment.at
            end = at + HEADER_SIZE + length
            if end <= segment.size and segment.buffer is not None:
                segment.buffer[at:end] = pack(MAGIC, kind, length, crc32(payload, at + SEEDS[kind])) + payload
                segment.at = end
            else:
                self._put(kind, payload)
            self.appended[kind] += 1
            self.is_dirty = True

    def _put(self, kind: int, payload: bytes) -> None:
        """Append to the current segment or to a fresh one; under the lock."""
        segment = self._segment
        if segment is NOWHERE or segment.at + HEADER_SIZE + len(payload) > segment.size:
            segment = self._roll(len(payload))
        segment.write(frame.framed(kind, payload, segment.at))

    def number_of(self, subject: Any, what: str, name: str, version: str | None, attributes: Any) -> int:
        """The number that stands for a scope or resource object; defines it on first sight.

        Keyed by the object's identity (its own hash is costly); the table keeps it alive, so
        the identity cannot be reused.
        """
        with self._lock:
            known = self.numbers.get(id(subject))
            if known is not None:
                return known
            number = len(self._definitions)
            payload = _encode_definition(Definition(number, what, name, version, attributes))
            # Twice, so that one damaged frame orphans no span.
            self._put(frame.DEFINITION, payload)
            self._put(frame.DEFINITION, payload)
            self._definitions.append(payload)
            self._subjects.append(subject)
            self.numbers[id(subject)] = number
            return number

    def _roll(self, needed: int) -> Segment:
        """A new current segment that has room for `needed` bytes; the old one goes to `on_rolled`."""
        preface = [(frame.META, msgspec.msgpack.encode(self.writer))]
        preface += [(frame.DEFINITION, payload) for payload in self._definitions * 2]
        room = needed + sum(len(payload) + frame.HEADER_SIZE for _, payload in preface) + _SLACK
        fresh = self._open_segment(self.writer, self._index, max(self._size, room))
        for kind, payload in preface:
            fresh.write(frame.framed(kind, payload, fresh.at))
        previous, self._segment = self._segment, fresh
        self._index += 1
        self._size = min(self._size * 4, self._largest)
        self._let_go(previous)
        return fresh

    def _let_go(self, segment: Segment) -> None:
        if segment is not NOWHERE and self._on_rolled is not None:
            self._on_rolled(segment)

    def sync(self) -> None:
        """Make everything appended so far survive a power cut."""
        with self._lock:
            segment, self.is_dirty = self._segment, False
        # Outside the lock: spans go on while the disk works.
        try:
            segment.sync()
        except (OSError, ValueError):
            self.is_dirty = True
            raise

    def roll(self) -> None:
        """End the current segment, so that it can be sealed; the next frame opens another."""
        with self._lock:
            previous, self._segment = self._segment, NOWHERE
            self.is_dirty = False
        self._let_go(previous)

    @property
    def is_growing(self) -> bool:
        """Whether the last segment still takes frames."""
        return self._segment is not NOWHERE

    def after_fork(self) -> None:
        """In the child: the segment is the parent's; ours comes with the first frame."""
        inherited = self._segment
        self._reset()
        inherited.abandon()


def _encode_definition(definition: Definition) -> bytes:
    try:
        return encode_msgpack(definition)
    except (OverflowError, UnicodeEncodeError, TypeError, ValueError, RecursionError):
        safe = msgspec.structs.replace(
            definition,
            name=as_text(definition.name),
            version=None if definition.version is None else as_text(definition.version),
            attributes=to_json(definition.attributes or {}),
        )
        return encode_msgpack(safe)
