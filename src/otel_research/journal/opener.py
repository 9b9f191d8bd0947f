"""Opens a log's segments: how large they are, and when it is tried again after a failure."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from otel_research.journal.segment import Segment
from otel_research.journal.writer import Writer

SMALLEST = 1 << 20
LARGEST = 64 << 20
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when there is no room."""
_LEAST = 64 << 10
"""The smallest segment, for a disk that is almost full."""
_PAUSE = 0.02
"""Seconds between two attempts to open a segment where there is no room."""

OpenSegment = Callable[[Writer, int, int], Segment]
"""(writer, index, size) -> a new, empty segment."""


class Opener:
    """The segments of one writer, one after another; small at first, because most runs are."""

    def __init__(self, open_segment: OpenSegment, writer: Writer, smallest: int, largest: int) -> None:
        self._open_segment = open_segment
        self._writer = writer
        self._smallest = smallest
        self._largest = largest
        self.size = smallest
        """Of the next segment, in bytes."""
        self.taken = 0
        """How many segments were opened and taken."""
        self._refusal: OSError | None = None
        """Why the last attempt failed."""
        self._next_try = 0.0

    def open(self, room: int) -> Segment:
        """The next segment, with room for so many bytes; after a failure not tried again for a moment."""
        if self._refusal is not None and time.monotonic() < self._next_try:
            raise self._refusal
        try:
            fresh = self._largest_that_fits(room)
        except OSError as error:
            self._refusal, self._next_try = error, time.monotonic() + _PAUSE
            raise
        self._refusal = None
        return fresh

    def take(self) -> None:
        """The segment that was opened is in use."""
        self.taken += 1
        self.size = min(self.size * 4, self._largest)

    def _largest_that_fits(self, room: int) -> Segment:
        """A segment as large as planned, else as large as there is room for."""
        sizes = sorted({max(size, room) for size in (self.size, self._smallest, _LEAST)}, reverse=True)
        for size in sizes[:-1]:
            try:
                return self._open_segment(self._writer, self.taken, size)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
        return self._open_segment(self._writer, self.taken, sizes[-1])
