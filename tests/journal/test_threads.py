"""Appending takes no lock: these hold it to what that rests on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_research.journal.frame import DEFINITION, END, META, START, seeds_of
from otel_research.journal.log import Log
from otel_research.journal.reader import frames
from otel_research.journal.segment import MappedSegment, MemorySegment, Segment, WrittenSegment
from otel_research.journal.writer import Writer
from otel_research.store.tail import segment_name

THREADS = 8
EACH = 4_000
SMALL = 64 << 10
"""Bytes of a segment: a change of segments every few hundred frames."""


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def small_log(folder: Path, kind: str, taken: list[Segment]) -> Log:
    def open_segment(writer: Writer, index: int, size: int) -> Segment:
        path = folder / segment_name(writer.name, index)
        made: Segment
        if kind == "memory":
            made = MemorySegment(path.stem, size)
        else:
            made = MappedSegment(path, size) if kind == "mapped" else WrittenSegment(path, size)
        taken.append(made)
        return made

    return Log(open_segment, on_rolled=lambda segment: None, smallest=SMALL, largest=SMALL)


@pytest.mark.parametrize("kind", ["mapped", "written", "memory"])
@pytest.mark.parametrize("is_rolling", [False, True], ids=["", "while another thread rolls and syncs"])
def test_frames_of_many_threads_are_whole_and_once(
    tmp_path: Path, impatient: None, kind: str, is_rolling: bool
) -> None:
    """Every frame that `append` returned for is there, whole, once, and counted, over changes of segments too."""
    taken: list[Segment] = []
    log = small_log(tmp_path, kind, taken)
    barrier, is_over = threading.Barrier(THREADS + 1), threading.Event()

    def work(who: int) -> None:
        barrier.wait()
        for number in range(EACH):
            payload = f"{who}:{number}:".encode() + bytes([who]) * (number % 90)
            log.append_start(payload) if number % 2 else log.append_end(payload)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(THREADS)]
    for thread in threads:
        thread.start()

    def disturb() -> None:
        while not is_over.is_set():
            log.sync()
            log.roll()

    disturber = threading.Thread(target=disturb) if is_rolling else None
    barrier.wait()
    if disturber is not None:
        disturber.start()
    for thread in threads:
        thread.join()
    is_over.set()
    if disturber is not None:
        disturber.join()

    assert (log.appended[START], log.appended[END]) == (THREADS * EACH // 2, THREADS * EACH // 2)
    seen = []
    for segment in taken:
        damage: list[object] = []
        data = segment.read(0, segment.close())
        content = list(frames(data, seeds_of(segment.name), 0, damage))  # type: ignore[arg-type]
        assert damage == []
        assert content[-1].end == len(data), "nothing lies behind the last frame"
        seen += [frame.payload for frame in content if frame.kind not in (META, DEFINITION)]
    assert len(seen) == THREADS * EACH
    wanted = {f"{who}:{n}:".encode() + bytes([who]) * (n % 90) for who in range(THREADS) for n in range(EACH)}
    assert set(seen) == wanted
    assert len(taken) > 20
