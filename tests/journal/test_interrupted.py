"""A signal handler or a `__del__` may end a span anywhere in ours: nothing hangs, nothing is lost or torn."""

from __future__ import annotations

import dis
import errno
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from tests.journal.segments import end, origin

from otel_research.capture.ledger import Tally
from otel_research.journal import frame
from otel_research.journal.frame import END, seeds_of
from otel_research.journal.log import Log, LogClosed
from otel_research.journal.reader import Frame, frames
from otel_research.journal.segment import MappedSegment, MemorySegment, Segment, WrittenSegment
from otel_research.spans.batch import Definitions
from otel_research.spans.record import decode_definition, decode_span, encode_msgpack

STRIDE = 13
"""Of so many places one is tried; the kinds of segments begin at different ones."""
LETS_IN = ("CALL", "RESUME", "JUMP_BACKWARD", "BUILD", "MAKE", "SEND", "FOR_ITER")
"""After these the interpreter runs signal handlers, and a collector that calls `__del__`: between two others it does not."""


class Place:
    """The segments of a log, of one kind, and what lies in them in the end."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.segments: list[Segment] = []

    def open(self, writer: object, index: int, size: int) -> Segment:
        path = self.folder / f"s-{len(self.segments)}.wal"
        path.unlink(missing_ok=True)
        make: dict[str, Callable[[], Segment]] = {
            "mapped": lambda: MappedSegment(path, size),
            "written": lambda: WrittenSegment(path, size),
            "memory": lambda: MemorySegment(path.stem, size),
        }
        made = make[self.kind]()
        self.segments.append(made)
        return made

    def content(self) -> Iterator[tuple[str, Frame]]:
        for segment in self.segments:
            data = (
                segment.read(0, segment.at)
                if self.kind == "memory"
                else (self.folder / f"{segment.name}.wal").read_bytes()
            )
            damage: list[Any] = []
            for found in frames(data, seeds_of(segment.name), 0, damage):
                yield segment.name, found
            assert damage == []

    def ended(self) -> list[int]:
        """The spans whose ends lie there, each with its keys readable."""
        numbers = []
        known: dict[str, Definitions] = {}
        spans = []
        for name, found in self.content():
            if found.kind == frame.DEFINITION:
                known.setdefault(name, Definitions()).learn(decode_definition(found.payload))
            elif found.kind == END:
                spans.append((name, decode_span(found.payload)))
        for name, span in spans:
            assert "?0" not in known.get(name, Definitions()).mapping(span.state.attributes)
            numbers.append(int.from_bytes(span.origin.trace_id, "big") - 1)
        return sorted(numbers)


def many(log: Log, number: int, prefix: str) -> bytes:
    """An end with so many attributes that a number stands for their keys."""
    attributes = log.shaped({f"{prefix}{key}": key for key in range(12)})
    return origin(number) + encode_msgpack(("chat", attributes, 1, 1, 0, None, 1.0))


def scenario(log: Log) -> None:
    """What a log does: first frame, definitions, a roll by itself, a sync, a roll that is asked for."""
    log.append_end(end(0))
    log.number_of(object(), "scope", "outer", None, {})
    log.append_end(many(log, 1, "outer"))
    log.append_end(end(2, "x" * 66_000))
    log.sync()
    log.roll()
    log.append_end(end(3))


def interruption(log: Log) -> None:
    """What comes in the middle: an end of its own, with a scope and keys of its own."""
    log.number_of(object(), "scope", "inner", None, {})
    log.append_end(many(log, 100, "inner"))
    log.append_end(end(101, "y" * 66_000))


@functools.cache
def names_of(code: CodeType) -> dict[int, str]:
    """Offset of an instruction -> its name."""
    return {found.offset: found.opname for found in dis.get_instructions(code)}


def run(scenario: Callable[[], None], interruption: Callable[[], None], at: int) -> int:
    """Run it, interrupted at the at-th place where the interpreter may let others in; how many there were."""
    count = 0
    is_inside = False
    before: dict[FrameType, str] = {}

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count, is_inside
        if "otel_research" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not is_inside:
            last, before[frame] = before.get(frame, "RESUME"), names_of(frame.f_code)[frame.f_lasti]
            count += last.startswith(LETS_IN)
            if count == at and last.startswith(LETS_IN):
                is_inside = True
                interruption()
                is_inside = False
        return trace

    failures: list[BaseException] = []

    def work() -> None:
        sys.settrace(trace)
        try:
            scenario()
        except BaseException as error:
            failures.append(error)
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), f"interrupted at instruction {at}: it hangs"
    if failures:
        raise failures[0]
    return count


@pytest.mark.parametrize("kind", ["mapped", "written", "memory"])
@pytest.mark.parametrize("retires", [False, True], ids=["finished at once", "finished later"])
def test_a_frame_in_the_middle_of_another(kind: str, tmp_path: Path, *, retires: bool) -> None:
    """Wherever it comes, both are there once, and what their numbers stand for with them."""
    at, last = 1 + ["mapped", "written", "memory"].index(kind), 10**9
    while at <= last:
        place, retired = Place(kind, tmp_path), []
        made = Log(place.open, on_rolled=retired.append if retires else Segment.finish, smallest=64 << 10)
        last = run(lambda: scenario(made), lambda: interruption(made), at)  # noqa: B023 - called in this round
        made.close()
        for segment in retired:
            segment.finish()
        # The last round may be one place too far: then nothing came in the middle.
        expected = [0, 1, 2, 3, *([100, 101] if at <= last else [])]
        assert place.ended() == expected, at
        assert (made.appended[END], list(made.refused)) == (len(expected), []), at
        with pytest.raises(LogClosed):
            made.append(END, b"")
        at += STRIDE


def test_a_frame_in_the_middle_that_finds_no_room(tmp_path: Path) -> None:
    """It is not counted as stored: it is handed to whoever counts losses."""
    at, last = 1, 10**9
    seen = 0
    while at <= last:
        place = Place("memory", tmp_path)

        def open_one(writer: object, index: int, size: int) -> Segment:
            if place.segments:  # noqa: B023
                raise OSError(errno.ENOSPC, "full")
            return place.open(writer, index, size)  # noqa: B023

        made = Log(open_one, on_rolled=Segment.finish, smallest=64 << 10)
        lost: list[int] = []

        def append(number: int, text: str) -> None:
            try:
                made.append_end(end(number, text))  # noqa: B023
            except OSError:
                lost.append(number)  # noqa: B023

        def fill() -> None:
            append(0, "x" * 40_000)
            append(1, "x" * 40_000)

        last = run(fill, lambda: append(100, "y" * 40_000), at)
        made.close()
        stored = len(place.ended())
        assert stored + len(lost) + len(made.refused) == (3 if at <= last else 2)
        assert made.appended[END] == stored
        seen += len(made.refused)
        at += 1
    assert seen, "no interruption came in the middle of a roll"


def test_counting_in_the_middle_of_counting() -> None:
    """Wherever a second count of the same thing comes, both are counted."""
    at, last = 1, 10**9
    while at <= last:
        tally = Tally()
        last = run(lambda: tally.add("lost:full"), lambda: tally.add("lost:full"), at)  # noqa: B023
        assert tally["lost:full"] == (2 if at <= last else 1)
        at += 1
