"""The segments of one process and one experiment: where `on_end` writes."""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

import msgspec

from otel_research.journal import frame
from otel_research.journal.doubt import Doubt
from otel_research.journal.frame import HEADER_AS_NUMBERS, HEADER_SIZE, Seeds, framed, seeds_of
from otel_research.journal.full import FullSegments
from otel_research.journal.numbering import Numbers
from otel_research.journal.opener import LARGEST, SMALLEST, Opener, OpenSegment
from otel_research.journal.reader import frames
from otel_research.journal.segment import NOWHERE, Segment
from otel_research.journal.turn import Turn
from otel_research.journal.writer import this_writer

IS_ONE_AT_A_TIME: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether the interpreter runs one thread at a time."""
MANY = 8
"""For more attributes than these a number stands for all their keys."""
pack = HEADER_AS_NUMBERS.pack
_SLACK = 4096
"""Room beside an outsized frame."""

Closed = Callable[[Segment], None]
Append = Callable[[bytes], None]


class LogClosed(Exception):
    """The log takes no more frames: its experiment is over."""


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
        self._sizes = smallest, largest
        self._is_closed = False
        self.numbers = Numbers()
        self._reset()

    def _reset(self) -> None:
        # Protects the change of segments and the table of numbers; not taken by a frame that fits.
        self._turn = Turn()
        # One sync at a time; who waits for it may find its frames durable already.
        self._syncing = threading.RLock()
        # Only without a GIL: one frame after another.
        self._appending = threading.RLock()
        self._full = FullSegments()
        self._synced_at = 0
        self._doubt = Doubt()
        self.writer = this_writer()
        self._opener = Opener(self._open_segment, self.writer, *self._sizes)
        self.refused: deque[tuple[int, bytes, OSError]] = deque()
        """Frames that came in the middle of another one of their thread and could not be written after it."""
        self.appended = [0] * (max(frame.KINDS) + 1)
        """kind -> frames that `append` has stored, in this process."""
        self.numbers.single = []
        self._use(NOWHERE)

    def _use(self, segment: Segment) -> None:
        """Append to this segment from now on."""
        self._segment = segment
        self._current: tuple[Callable[[bytes], Any], Seeds] = (segment.write, seeds_of(segment.name))
        """How to write to it: replaced as one, so that no frame gets another segment's seed."""
        self._appended_before = list(self.appended)
        self._synced_at = 0
        self.append_start = self._appender(frame.START)
        self.append_end = self._appender(frame.END)

    def append(self, kind: int, payload: bytes) -> None:
        """Append one frame, as `append_start` and `append_end` do; after `close` it is `LogClosed`, and in no segment."""
        self._appender(kind)(payload)

    def _appender(self, kind: int) -> Append:
        """Appends frames of one kind to the current segment: the hot path.

        It takes no lock. With the GIL a mapping's `write` is one step, and so is the addition below (no call, hence
        no switch of threads, between its reading and its writing); `tests/journal/test_threads.py` holds both to it.
        """
        (write, seeds), appended, otherwise = self._current, self.appended, self._append_to_next
        seed, mark = seeds[kind], frame.MARKS[kind]

        def append(payload: bytes) -> None:
            try:
                write(pack(mark, len(payload), crc32(payload, seed)) + payload)
            except ValueError:
                otherwise(kind, payload)
            appended[kind] += 1

        def append_alone(payload: bytes) -> None:
            try:
                with self._appending:
                    write(pack(mark, len(payload), crc32(payload, seed)) + payload)
            except ValueError:
                otherwise(kind, payload)
            with self._appending:
                appended[kind] += 1

        return append if IS_ONE_AT_A_TIME else append_alone

    def _append_to_next(self, kind: int, payload: bytes) -> None:
        with self._turn as turn:
            if self._is_closed and not turn.is_nested:
                raise LogClosed
            self._put(kind, payload)

    def _put_late(self, kind: int, payload: bytes) -> None:
        """What came in the middle of another frame, after it."""
        try:
            self._put(kind, payload)
        except OSError as error:
            if kind == frame.DEFINITION:
                self._let_go(self._left())
            else:
                self.appended[kind] -= 1
                self.refused.append((kind, payload, error))

    def _put(self, kind: int, payload: bytes) -> None:
        """Append to the current segment or to a fresh one; under the lock."""
        while True:
            write, seeds = self._current
            with contextlib.suppress(ValueError):
                write(framed(kind, payload, seeds))
                return
            if len(payload) > frame.LARGEST:
                raise OSError(errno.EMSGSIZE, f"a record of {len(payload)} bytes is more than a frame holds")
            if self._turn.is_nested:
                self._turn.later(lambda: self._put_late(kind, payload))
                return
            # Other threads write to the fresh one at once: it may be full again.
            self._roll(len(payload))

    # -- what numbers stand for ---------------------------------------------------------

    def adopt(self, other: Log) -> None:
        """Before the first frame: let numbers mean what they mean in another log."""
        with other._turn, self._turn:
            self.numbers.adopt(other.numbers)

    def catch_up(self, other: Log) -> None:
        """Learn what the other log has given numbers to since `adopt`; theirs and ours are the same."""
        if len(self.numbers.definitions) < len(other.numbers.definitions):
            with other._turn, self._turn:
                fresh = other.numbers.definitions[len(self.numbers.definitions) :]
                self.numbers.adopt(other.numbers)
                for payload in fresh:
                    self._put_definition(payload)

    def introduce(self, name: str, tags: tuple[str, ...], *, is_guest: bool = False) -> None:
        """Before the first frame: whose spans these are. Every segment begins with it; a guest's is opened now."""
        with self._turn:
            self.numbers.define(self, "experiment", name, None, list(tags))
            if is_guest:
                self._roll(0)

    def number_of(self, subject: Any, what: str, name: str, version: str | None, attributes: Any) -> int:
        """The number that stands for a scope or resource object; defines it on first sight."""
        with self._turn:
            if id(subject) not in self.numbers.known:
                self._put_definition(self.numbers.define(subject, what, name, version, attributes))
            return self.numbers.known[id(subject)]

    def shaped(self, attributes: Mapping[str, Any]) -> Any:
        """[number of the keys, *values]: what is written for many attributes; themselves if their keys get no number."""
        keys = (*attributes,)
        try:
            number = self.numbers.shapes[keys]
        except KeyError:
            number = self._shape(keys)
        return attributes if number is None else [number, *attributes.values()]

    def shaped_if_many(self, attributes: Mapping[str, Any]) -> Any:
        """The same, for few attributes themselves."""
        return self.shaped(attributes) if len(attributes) > MANY else attributes

    def _shape(self, keys: tuple[str, ...]) -> int | None:
        with self._turn:
            if keys not in self.numbers.shapes and not self._is_closed and not self._turn.is_nested:
                shape = self.numbers.shape(keys)
                # Without room for the definition there is no number: it would stand for nothing.
                with contextlib.suppress(OSError):
                    if shape is not None:
                        self._put(frame.DEFINITION, shape[1])
                        self.numbers.keep_shape(keys, *shape)
            return self.numbers.shapes.get(keys)

    def _put_definition(self, payload: bytes) -> None:
        """Write what a number stands for that is in use from now on. Under the lock."""
        try:
            if not self._is_closed:
                self._put(frame.DEFINITION, payload)
        except OSError:
            # Nothing that uses it may be here: what comes next begins a segment, and that begins with it.
            self._let_go(self._left())

    def _repeat_definitions(self) -> None:
        """Write second copies, away from the first: one damaged place orphans no span. Under the lock."""
        copies, self.numbers.single = self.numbers.single, []
        write, seeds = self._current
        for payload in copies:
            # A copy is not worth a new segment: that one begins with all of them.
            with contextlib.suppress(OSError, ValueError):
                write(framed(frame.DEFINITION, payload, seeds))

    # -- segments -----------------------------------------------------------------------

    def _roll(self, needed: int) -> None:
        """A new current segment that has room for `needed` bytes; the old one goes to `on_rolled`."""
        self._repeat_definitions()
        previous = self._segment
        self._take(self._after(previous, needed))
        self._let_go(previous)

    def _after(self, segment: Segment, needed: int) -> Segment:
        """The next segment, which readers see only once this one takes no more frames; without room it goes on."""
        self._end(segment)
        try:
            return self._started(needed)
        except BaseException:
            segment.reopen()
            raise

    def _started(self, needed: int) -> Segment:
        """A segment with its first frames: who writes it, and what the numbers stand for."""
        preface = [(frame.META, msgspec.msgpack.encode(self.writer))]
        preface += [(frame.DEFINITION, payload) for payload in self.numbers.definitions]
        room = needed + sum(len(payload) + HEADER_SIZE for _, payload in preface) * 2 + _SLACK
        fresh = self._opener.open(room)
        seeds = seeds_of(fresh.name)
        try:
            for kind, payload in preface:
                fresh.write(framed(kind, payload, seeds))
        except OSError:
            # The next attempt makes it anew, under the same name.
            fresh.discard()
            raise
        return fresh

    def _take(self, fresh: Segment) -> None:
        """Make a segment the current one."""
        self.numbers.single = list(self.numbers.definitions)
        self._use(fresh)
        self._opener.take()

    def _end(self, segment: Segment) -> None:
        """Refuse what threads are about to write: it goes to the next segment."""
        with self._appending:
            segment.close()

    def _let_go(self, segment: Segment) -> None:
        if segment is not NOWHERE and self._on_rolled is not None:
            self._full.append(segment)
            self._on_rolled(segment)

    def roll(self) -> None:
        """End the current segment, so that it can be sealed; the next frame opens another."""
        with self._turn as turn:
            if turn.is_nested:
                turn.later(self._roll_away)
            else:
                self._roll_away()

    def _roll_away(self) -> None:
        self._repeat_definitions()
        self._let_go(self._left())

    def _left(self) -> Segment:
        """The current segment, which takes no more frames from here on. Under the lock."""
        previous = self._segment
        self._end(previous)
        self._use(NOWHERE)
        return previous

    def close(self) -> None:
        """End the log: what was appended can be sealed, a frame that comes later is refused. Idempotent."""
        with self._turn:
            self._is_closed = True
        self.roll()
        while self.is_growing and not self._turn.is_nested:
            # A frame that came in the middle of the above has opened another segment.
            self.roll()

    def leave_removed(self) -> int:
        """Go on elsewhere where somebody has deleted the current segment's file; how many ends went with it."""
        with self._turn as turn:
            if turn.is_nested or not self._segment.is_removed:
                return 0
            removed, before = self._segment, self._appended_before
            self._use(NOWHERE)
            removed.forsake(removed.close())
            return self.appended[frame.END] - before[frame.END]

    @property
    def is_growing(self) -> bool:
        """Whether the last segment still takes frames."""
        return self._segment is not NOWHERE

    def has_left(self, number: int) -> bool:
        """Whether the segment with that number takes no more frames. One that is being opened still will."""
        return number < self._opener.taken - 1 or (number == self._opener.taken - 1 and not self.is_growing)

    def after_fork(self) -> None:
        """In the child: the segment is the parent's; ours comes with the first frame."""
        inherited = self._segment
        self._reset()
        inherited.abandon()

    # -- durability ---------------------------------------------------------------------

    @property
    def is_suspect(self) -> bool:
        """Whether the last sync failed and none has succeeded since: a power cut may cost what was appended."""
        return bool(self._doubt)

    @property
    def is_dirty(self) -> bool:
        """Whether something was appended since the last sync."""
        return bool(self._full) or self._segment.at > self._synced_at

    def sync(self) -> None:
        """Make everything appended so far survive a power cut. Threads that wait share one sync.

        After a sync that failed the kernel may have dropped what it could not write, and the next one would succeed
        all the same. So what was not durable is written again, to a new segment, and the old one is cut where it was
        durable. `OSError` says that a sync failed, also where the new segment took the data.
        """
        segment, written = self._segment, self._segment.at
        with self._syncing:
            refusal = self._full.sync()
            is_done = segment is self._segment and self._synced_at >= written
            if not is_done and not self._doubt.is_fresh:
                self._sync(segment)
            if refusal is not None:
                raise refusal

    def _sync(self, segment: Segment) -> None:
        with self._turn as turn:
            if not turn.is_nested:
                self._repeat_definitions()
            written = segment.at
        if self._doubt:
            self._write_again(self._segment)
            return
        try:
            # Outside the lock: spans go on while the disk works.
            segment.sync()
        except OSError:
            self._write_again(segment)
            raise
        self._note_synced(segment, written)

    def _note_synced(self, segment: Segment, written: int) -> None:
        with self._turn:
            if segment is self._segment:
                self._synced_at = max(self._synced_at, written)

    def _write_again(self, failed: Segment) -> None:
        self._doubt.grow()
        with self._turn as turn:
            if turn.is_nested or failed is not self._segment:
                return
            durable = self._synced_at
            fresh = self._after(failed, self._opener.size)
            end = failed.close()
            self._take(fresh)
            for found in frames(failed.read(durable, end), seeds_of(failed.name), durable):
                if found.kind not in (frame.META, frame.DEFINITION):
                    self._put(found.kind, found.payload)
            again, written = self._segment, self._segment.at
        try:
            # If this fails too: again, later. The first copy goes, for its pages may, and each end counts once.
            again.sync()
        finally:
            failed.forsake(durable)
        self._doubt.end()
        self._note_synced(again, written)
