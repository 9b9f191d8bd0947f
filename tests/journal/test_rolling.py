"""From one segment to the next: a reader that has moved on need never look back."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_research.journal import frame
from otel_research.journal.log import Log
from otel_research.journal.reader import frames
from otel_research.journal.segment import MappedSegment, MemorySegment, Segment, WrittenSegment
from otel_research.journal.writer import Writer

KINDS: dict[str, Callable[[Path, int], Segment]] = {
    "mapped": MappedSegment,
    "written": WrittenSegment,
    "memory": lambda path, size: MemorySegment(path.stem, size),
}


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest) -> Callable[[Path, int], Segment]:
    return KINDS[request.param]


def test_the_old_segment_is_closed_before_the_new_one_can_be_seen(
    tmp_path: Path, make: Callable[[Path, int], Segment]
) -> None:
    """No thread can write to a segment behind which there is another one."""
    opened: list[Segment] = []

    def open_segment(writer: Writer, index: int, size: int) -> Segment:
        for before in opened:
            with pytest.raises(ValueError):  # noqa: PT011 - what a mapping says of itself
                before.write(b"late")
        opened.append(make(tmp_path / f"w-{index}.wal", size))
        return opened[-1]

    log = Log(open_segment, smallest=1 << 16)
    for number in range(3000):
        log.append(frame.OTLP, b"%06d" % number + b"x" * 100)
    log.roll()
    log.append(frame.OTLP, b"last")
    assert len(opened) >= 3
    found = [
        one.payload[:6]
        for segment in opened
        for one in frames(segment.read(0, segment.at), frame.seeds_of(segment.name))
        if one.kind == frame.OTLP
    ]
    assert found == [*(b"%06d" % number for number in range(3000)), b"last"]


def test_without_room_for_another_the_old_segment_goes_on(tmp_path: Path, make: Callable[[Path, int], Segment]) -> None:
    """A frame that does not fit is refused; smaller ones still go where there is room."""
    opened: list[Segment] = []

    def open_segment(writer: Writer, index: int, size: int) -> Segment:
        if opened:
            raise OSError(errno.ENOSPC, "full")
        opened.append(make(tmp_path / f"w-{index}.wal", size))
        return opened[-1]

    log = Log(open_segment, smallest=1 << 16)
    log.append(frame.OTLP, b"first")
    with pytest.raises(OSError, match="full"):
        log.append(frame.OTLP, b"x" * (1 << 17))
    log.append(frame.OTLP, b"second")
    (segment,) = opened
    found = [one.payload for one in frames(segment.read(0, segment.at), frame.seeds_of(segment.name))]
    assert found[-2:] == [b"first", b"second"]
    assert log.appended[frame.OTLP] == 2
