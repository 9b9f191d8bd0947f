"""What `flush` and `fsync="span"` vouch for, and what a failed segment leaves behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.journal.segments import end

import otel_research as otr
from otel_research.journal import held, segment
from otel_research.journal.frame import END
from otel_research.journal.log import Log
from otel_research.journal.segment import MappedSegment, Segment, WrittenSegment
from otel_research.testing import recording


class Disk:
    """What was synced, by file name; syncs fail while `is_broken`, and those of the file `broken`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[str] = []
        self.is_broken = False
        self.broken = ""
        real = os.fdatasync

        def fdatasync(number: int) -> None:
            name = Path(os.readlink(f"/proc/self/fd/{number}")).name
            if self.is_broken or name == self.broken:
                raise OSError(errno.EIO, "the disk refuses")
            real(number)
            self.synced.append(name)

        monkeypatch.setattr(held.os, "fdatasync", fdatasync)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def two_segments(folder: Path) -> tuple[Log, list[Segment]]:
    """A log with a retired segment that nobody has finished yet, and a current one."""
    retired: list[Segment] = []
    log = Log(
        lambda writer, index, size: MappedSegment(folder / f"s-{index}.wal", size),
        on_rolled=retired.append,
        smallest=64 << 10,
    )
    log.append(END, end(0, "x" * 50_000))
    log.append(END, end(1, "x" * 50_000))
    assert len(retired) == 1
    return log, retired


def test_a_sync_covers_segments_that_are_full(tmp_path: Path, disk: Disk) -> None:
    """Whether or not the background thread has finished them."""
    log, (retired,) = two_segments(tmp_path)
    assert log.is_dirty
    log.sync()
    assert set(disk.synced) == {"s-0.wal", "s-1.wal"}
    assert not log.is_dirty
    retired.finish()
    disk.synced.clear()
    log.sync()
    assert disk.synced == []


def test_a_full_segment_that_could_not_be_synced_is_not_vouched_for(tmp_path: Path, disk: Disk) -> None:
    """Until it has been written again: a second sync of the same file would succeed and mean nothing."""
    log, (retired,) = two_segments(tmp_path)
    disk.broken = "s-0.wal"
    with pytest.raises(OSError, match="refuses"):
        log.sync()
    disk.broken = ""
    assert log.is_dirty
    before = (tmp_path / "s-0.wal").stat().st_ino
    with pytest.raises(OSError, match="earlier"):
        retired.finish()
    assert (tmp_path / "s-0.wal").stat().st_ino != before, "written again, elsewhere"
    log.sync()
    assert not log.is_dirty


def test_a_flush_counts_only_what_is_durable_as_kept(tmp_path: Path, disk: Disk) -> None:
    """What the disk refuses is pending, and an error is counted."""
    with recording(f"disk:{tmp_path}", fsync="never") as (recorder, provider), otr.experiment("refused"):
        tracer = provider.get_tracer("x")
        for _ in range(3):
            tracer.start_span("s").end()
        assert recorder.flush() == (3, 0, 0)
        for _ in range(2):
            tracer.start_span("s").end()
        disk.is_broken = True
        assert recorder.flush() == (3, 0, 2)
        assert recorder.ledger().errors == {"fsync": 1}
        disk.is_broken = False


def test_fsync_of_each_span_covers_the_segment_it_fills(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span whose end is the last of its segment is durable when `end` returns."""
    from otel_research.capture.caretaker import Caretaker

    monkeypatch.setattr(Caretaker, "_finish_retired", lambda self: None)
    with recording(f"disk:{tmp_path}", fsync="span") as (_, provider), otr.experiment("each") as exp:
        for _ in range(4):
            provider.get_tracer("x").start_span("s", attributes={"text": "x" * 400_000}).end()
        assert exp._capture is not None
        assert len({name for name in disk.synced if name.endswith(".wal")}) > 1
        assert not exp._capture.log.is_dirty


@pytest.mark.parametrize("kind", [MappedSegment, WrittenSegment])
def test_a_segment_that_fails_at_its_first_frames_leaves_nothing(
    tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt opens it again: one full moment of the disk does not end the recording."""
    log = Log(lambda writer, index, size: kind(tmp_path / f"s-{index}.wal", size), smallest=64 << 10)
    real: Callable[..., int] = os.pwrite
    writes = 0

    def full(number: int, data: bytes, offset: int) -> int:
        nonlocal writes
        writes += 1
        if writes == 2:
            raise OSError(errno.ENOSPC, "full")
        return real(number, data, offset)

    if kind is WrittenSegment:
        monkeypatch.setattr(segment.os, "pwrite", full)
        with pytest.raises(OSError, match="full"):
            log.append(END, end(0))
        assert list(tmp_path.iterdir()) == []
        log._opener._next_try = 0.0
    log.append(END, end(1))
    assert [path.name for path in tmp_path.iterdir()] == ["s-0.wal"]
