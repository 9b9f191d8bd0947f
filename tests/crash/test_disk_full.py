"""A disk without room, that refuses or that fails: the policy is obeyed, nothing stored is lost, all else is counted."""

from __future__ import annotations

import errno
import os
import shutil
import time
from base64 import b85encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from disks import tmpfs
from programs import STARTED, run_code
from reading import left_in

import otel_research as otr
from otel_research.capture import room
from otel_research.errors import StoreError, StoreFull
from otel_research.journal import segment as segments
from otel_research.selftest.disk_full import fill
from otel_research.testing import recording

pytestmark = pytest.mark.once  # what a disk does

MANY = 4_000
"""Spans of more bytes than the open segment has room for."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "small", 8) as folder:
        yield folder


def make(tracer: Any, count: int) -> list[int]:
    made = []
    for number in range(count):
        span = tracer.start_span("s", attributes={"number": number, "text": "x" * 100})
        span.end()
        made.append(span.get_span_context().span_id)
    return made


def stored(exp: otr.Experiment) -> set[int]:
    """Spans that ended: one whose start was stored and whose end was lost is an interrupted row, and counted as lost."""
    ended = exp.library.scan(exp.id).filter(~pl.col("status").eq_missing("interrupted"))
    return {int(span_id, 16) for span_id in ended.select("span_id").collect()["span_id"]}


@pytest.mark.parametrize("policy", ["refuse", "raise", "block"])
def test_without_room_what_is_stored_stays_and_the_rest_is_counted(
    small: Path, monkeypatch: pytest.MonkeyPatch, policy: Any
) -> None:
    """ENOSPC on a real file system: each span is stored or counted as lost{full}; with room again all are stored."""
    monkeypatch.setattr(room.Room.__init__, "__kwdefaults__", {"spill": None, "wait_seconds": 0.3})
    with recording(f"disk:{small}", overload=policy) as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("full") as exp:
            before = make(tracer, 100)
            ballast = fill(small)
            during = make(tracer, MANY)
            ledger = exp.ledger()
            assert ledger.lost == {"full": 100 + MANY - ledger.stored}
            assert 0 < ledger.lost_total < MANY
            if policy == "raise":
                with pytest.raises(StoreFull, match="Free space"):
                    exp.arm("next").__enter__()
            ballast.unlink()
            time.sleep(0.05)
            after = make(tracer, MANY)
        ledger = exp.ledger()
        assert set(before) | set(after) <= stored(exp)
        assert ledger.stored == len(stored(exp)) == 100 + 2 * MANY - ledger.lost_total
        assert len(stored(exp) & set(during)) == MANY - ledger.lost_total
        assert ledger.is_balanced
        assert set(ledger.lost) == {"full"}


def test_block_waits_for_room_and_loses_nothing(small: Path) -> None:
    """The default: a span waits, and goes on as soon as there is room."""
    import threading

    with recording(f"disk:{small}") as (_, provider), otr.experiment("full") as exp:
        ballast = fill(small)
        threading.Timer(0.5, ballast.unlink).start()
        began = time.monotonic()
        made = make(provider.get_tracer("app"), MANY)
        assert 0.3 < time.monotonic() - began < 20
    assert stored(exp) == set(made)
    assert exp.ledger().lost_total == 0


def test_spill_goes_to_the_second_place_and_comes_home(small: Path, tmp_path: Path) -> None:
    """No span waits or is lost; the rows are read from both places, and brought home when there is room."""
    spill = tmp_path / "second"
    with recording(f"disk:{small}", overload="spill", spill=spill) as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("full") as exp:
            first = make(tracer, 100)
            ballast = fill(small)
            second = make(tracer, MANY)
            assert list(spill.glob("*/journal/*.wal"))
            assert stored(exp) == set(first + second)
            ballast.unlink()
            third = make(tracer, MANY)
        ledger = exp.ledger()
        assert stored(exp) == set(first + second + third)
        assert (ledger.stored, ledger.lost_total) == (100 + 2 * MANY, 0)
        assert ledger.is_balanced
    assert list(spill.glob("*/journal/*.wal")) == []


def test_spill_without_room_anywhere_counts(small: Path) -> None:
    """Both places full: as `block`, then counted; the program goes on."""
    with recording(f"disk:{small / 'a'}", overload="spill", spill=small / "b") as (recorder, provider):
        exp = otr.start_experiment("full")
        exp_capture = recorder.captures[exp.id]
        exp_capture.room._wait_seconds = 0.2
        ballast = fill(small)
        made = make(provider.get_tracer("app"), MANY)
        assert exp.ledger().lost["full"] > 0
        ballast.unlink()
        otr.stop_experiment(exp.id)
        assert exp.ledger().stored == len(stored(exp) & set(made)) == MANY - exp.ledger().lost_total


def test_a_stop_without_room(small: Path) -> None:
    """It says that nothing is lost and what to do; with room the same call seals; the ledger is known meanwhile."""
    with recording(f"disk:{small}", overload="refuse") as (_, provider):
        exp = otr.start_experiment("full")
        made = make(provider.get_tracer("app"), 100)
        for _ in range(110):
            # More that does not compress than the open segment gives back when it is cut.
            with provider.get_tracer("app").start_as_current_span(
                "s", attributes={"text": b85encode(os.urandom(20_000)).decode()}
            ) as span:
                made.append(span.get_span_context().span_id)
        ballast = fill(small)
        with pytest.raises(StoreError, match=r"safe in its journal.*Make room"):
            otr.stop_experiment(exp.id)
        assert exp.ledger().stored == len(made)
        assert stored(exp) == set(made)
        ballast.unlink()
        otr.stop_experiment(exp.id)
        assert (exp.state, exp.ended_by, stored(exp)) == ("stopped", "user", set(made))


def test_a_program_that_ends_without_room(small: Path) -> None:
    """Closing tells the log and does not raise; whoever opens the store next has every span."""
    with recording(f"disk:{small}", overload="refuse") as (_, provider):
        otr.start_experiment("full")
        made = make(provider.get_tracer("app"), 100)
        ballast = fill(small)
    ballast.unlink(missing_ok=True)
    assert {int(span_id, 16) for span_id in left_rows(small)} == set(made)


def left_rows(folder: Path) -> list[str]:
    from otel_research.store.library import Library

    library = Library(f"disk:{folder}")
    (record,) = library.find(include_hidden=True)
    return library.scan(record.id).collect()["span_id"].to_list()


def test_full_before_the_first_span(small: Path) -> None:
    """No room for the first segment either: nothing dies of SIGBUS, every span is counted."""
    with recording(f"disk:{small}", overload="refuse") as (_, provider), otr.experiment("full") as exp:
        ballast = fill(small)
        make(provider.get_tracer("app"), 100)
        assert exp.ledger().lost == {"full": 100}
        ballast.unlink()
        time.sleep(0.05)
        later = make(provider.get_tracer("app"), 10)
    assert stored(exp) == set(later)


def test_the_room_is_taken_before_anything_is_mapped(small: Path) -> None:
    """A segment's blocks are allocated when it is made: a full disk is an error then, never a SIGBUS later."""
    (small / "j").mkdir()
    made = segments.MappedSegment(small / "j" / "a-1-ab-000000.wal", 4 << 20)
    ballast = fill(small)
    while made.at + 1000 < made.size:
        made.write(b"x" * 1000)
    with pytest.raises(OSError, match="No space left"):
        segments.MappedSegment(small / "j" / "a-1-ab-000001.wal", 4 << 20)
    assert not (small / "j" / "a-1-ab-000001.wal").exists()
    ballast.unlink()
    made.finish()


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.ENOSPC, errno.EFBIG], ids=errno.errorcode.get)
def test_a_quota_is_as_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Whatever the reason, no room is no room: waited for, counted as full."""

    def refused(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    with recording(f"disk:{tmp_path}", overload="refuse") as (_, provider), otr.experiment("full") as exp:
        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", refused)
            make(provider.get_tracer("app"), 5)
        assert exp.ledger().lost == {"full": 5}
        time.sleep(0.05)
        assert len(make(provider.get_tracer("app"), 5)) == exp.ledger().stored == 5


def test_a_folder_that_cannot_be_written(small: Path) -> None:
    """Read-only while it runs: at once counted as write_error, no wait; writable again: stored again."""
    import subprocess

    with recording(f"disk:{small}") as (_, provider), otr.experiment("ro") as exp:
        journal = small / exp.id / "journal"
        journal.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", str(journal), str(journal)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(journal)], check=True)
            began = time.monotonic()
            make(provider.get_tracer("app"), 20)
            assert time.monotonic() - began < 5
            assert exp.ledger().lost == {"write_error": 20}
        finally:
            subprocess.run(["umount", "--lazy", str(journal)], check=True)
        time.sleep(0.05)
        later = make(provider.get_tracer("app"), 20)
    assert stored(exp) == set(later)
    assert exp.ledger().is_balanced


@pytest.mark.parametrize("at_most", [1, 7, 100])
def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_most: int) -> None:
    """A system that takes a few bytes at a time gets them all: no frame with a hole."""
    real = os.pwrite
    monkeypatch.setattr(segments, "MAPPABLE", frozenset())
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:at_most], at))
    with recording(f"disk:{tmp_path}") as (_, provider), otr.experiment("short") as exp:
        made = make(provider.get_tracer("app"), 50)
        assert stored(exp) == set(made)


def test_a_short_write_that_ends_in_an_error_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a frame, then no room: the half is cut off, the span counted, its neighbours intact."""
    real, calls = os.pwrite, []

    def half_then_full(fd: int, data: Any, at: int) -> int:
        calls.append(at)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, bytes(data)[: len(data) // 2], at)

    monkeypatch.setattr(segments, "MAPPABLE", frozenset())
    with recording(f"disk:{tmp_path}", overload="refuse", starts=False) as (_, provider):
        with otr.experiment("short") as exp:
            first = make(provider.get_tracer("app"), 5)
            with monkeypatch.context() as patch:
                patch.setattr(os, "pwrite", half_then_full)
                lost = make(provider.get_tracer("app"), 1)
            last = make(provider.get_tracer("app"), 5)
            assert exp.ledger().lost == {"full": 1}
        assert stored(exp) == set(first + last)
        assert not stored(exp) & set(lost)


def test_the_memory_ceiling_is_hard() -> None:
    """A memory store never holds more than its limit, from many threads too; what does not fit is counted."""
    import threading

    from otel_research.store.memory import MemoryStore

    limit = 3 << 20
    store, most = MemoryStore(limit=limit), []
    with recording(store, overload="refuse") as (_, provider):
        exp = otr.start_experiment("full")
        tracer = provider.get_tracer("app")
        threads = [threading.Thread(target=make, args=(tracer, MANY)) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most.append(store.size)
            time.sleep(0.001)
        for thread in threads:
            thread.join()
        ledger = exp.ledger()
        assert max(most) <= limit
        assert ledger.lost["full"] > 0
        assert ledger.stored + ledger.lost_total == 4 * MANY
        assert len(stored(exp)) == ledger.stored


STRACE = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e")
FAILING_DISK = (
    STARTED
    + """
import time
for _ in range(40):
    host.calls(tracer, 50)
    exp.recorder.sync()
    time.sleep(0.005)
print("LEDGER", exp.ledger().errors)
otr.stop_experiment(exp.id)
"""
)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; the next test injects in Python")
@pytest.mark.parametrize("when", ["1", "3", "2+3", "1+"])
def test_a_disk_that_fails_to_sync(tmp_path: Path, when: str) -> None:
    """EIO from the kernel's `fdatasync`, once, often or always: written again elsewhere, told, and nothing is lost."""
    prefix = (*STRACE, f"inject=fdatasync:error=EIO:when={when}")
    ran = run_code(FAILING_DISK, tmp_path / "s", prefix=prefix)
    assert ran.exit_code == 0, ran.output
    left = left_in(tmp_path / "s")
    assert len(ran.said) == 2_000
    assert sorted(left.ended) == sorted(ran.said)
    assert left.ledger.errors.get("fsync", 0) > 0, ran.output
    assert left.ledger.lost_total == 0
    assert left.ledger.is_balanced


def test_a_failed_sync_is_never_tried_again_on_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel forgets what it could not write: the data go to a new file, and only then is the flush good."""
    real, synced = os.fdatasync, []

    def failing(number: int) -> None:
        path = os.readlink(f"/proc/self/fd/{number}")
        synced.append(path)
        if len(synced) == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(number)

    with recording(f"disk:{tmp_path}", fsync="never") as (recorder, provider), otr.experiment("eio") as exp:
        made = make(provider.get_tracer("app"), 50)
        monkeypatch.setattr(os, "fdatasync", failing)
        recorder.sync()
        assert len(synced) == 2
        assert synced[0] != synced[1]
        assert exp.ledger().errors == {"fsync": 1}
        assert stored(exp) == set(made)
        first = Path(synced[0])
        assert not first.exists() or first.stat().st_size < 200, "nothing behind what was durable is believed"
    assert stored(exp) == set(made)
