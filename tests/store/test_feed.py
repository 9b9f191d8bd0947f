"""A store elsewhere is fed from the local journal by offset: at least once, resumable, counted, bounded."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.store.remotes import Remote

import otel_research as otr
from otel_research.capture import courier, room
from otel_research.errors import StoreFull
from otel_research.journal.frame import START
from otel_research.journal.log import Log
from otel_research.journal.segment import Segment
from otel_research.store import backlog, by_offset
from otel_research.store.disk import DiskStore
from otel_research.store.library import Library
from otel_research.store.tail import segment_files
from otel_research.testing import recording


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """A remote store, with the local journal in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return Remote(tmp_path / "remote")


def spans(tracer: Any, count: int) -> None:
    for number in range(count):
        tracer.start_span("s", attributes={"number": number}).end()


def local_files(pattern: str) -> list[Path]:
    return sorted(Path(".otel_research").glob(f"*/{pattern}"))


def test_a_row_is_sent_once(remote: Remote) -> None:
    """Each flush sends what is new since the last one: nothing is sent again, however often one flushes."""
    with recording(remote, fsync="never") as (recorder, provider), otr.experiment("by offset"):
        for number in range(1, 6):
            spans(provider.get_tracer("x"), 100)
            assert recorder.flush() == otr.Flushed(kept=100 * number, lost=0, pending=0)
            recorder.flush()
    assert remote.appended == 500


def test_parts_are_bounded(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long backlog goes over in parts; one that fails is offered again, and the rest follows."""
    monkeypatch.setattr(by_offset, "PART_ROWS", 7)
    with recording(remote) as (recorder, provider), otr.experiment("parts"):
        spans(provider.get_tracer("x"), 100)
        remote.cut_off()
        assert recorder.flush(timeout=0).pending == 100
        remote.bring_back()
        assert recorder.flush().pending == 0
    assert remote.appended == 100
    assert remote.scan().collect().height == 100


def test_the_local_copy_goes_when_it_is_delivered_and_complete(remote: Remote) -> None:
    """After the stop only the counts are left on this machine; ledger and spans say the same as before."""
    with recording(remote) as (_, provider), otr.experiment("let go") as exp:
        spans(provider.get_tracer("x"), 10)
    assert local_files("journal/*.wal") == local_files("parquet/*") == local_files("feed/*") == []
    assert exp.ledger().stored == exp.ledger().ended == exp.spans().collect().height == 10
    assert exp.ledger().is_balanced


def test_open_spans_arrive_as_interrupted(remote: Remote) -> None:
    """What is open at the stop is delivered as interrupted, once."""
    with recording(remote) as (_, provider):
        exp = otr.start_experiment("open")
        spans(provider.get_tracer("x"), 3)
        still_open = provider.get_tracer("x").start_span("still open")
        otr.stop_experiment(exp, timeout=0)
        assert sorted(remote.scan(exp.id).collect()["status"]) == ["interrupted", "unset", "unset", "unset"]
        still_open.end()
    assert remote.appended == 4


def test_a_segment_that_is_being_opened_is_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the file's making and the first frame a delivery or seal leaves the file alone."""
    store = DiskStore(tmp_path)
    log = store.open_log("e" * 32)
    growing: list[list[bool]] = []

    def take(self: Log, fresh: Segment) -> None:
        files = segment_files(tmp_path / ("e" * 32) / "journal")[self.writer.name]
        growing.append([store._is_growing("e" * 32, file) for file in files])
        taken(self, fresh)

    taken = Log._take
    monkeypatch.setattr(Log, "_take", take)
    for _ in range(3):
        log.append(START, b"frame")
        log.roll()
    assert growing == [[True], [False, True], [False, False, True]]


CRASH = """
import os, signal, sys
from pathlib import Path
import otel_research as otr
from otel_research.testing import recording
from tests.store.remotes import Remote
remote = Remote(Path("remote").absolute())
with recording(remote, fsync="never") as (recorder, provider):
    exp = otr.start_experiment("crash")
    tracer = provider.get_tracer("x")
    for number in range(50):
        tracer.start_span("early").end()
    assert recorder.flush().pending == 0
    remote.cut_off()
    for number in range(30):
        tracer.start_span("late").end()
    open_span = tracer.start_span("open")
    print(exp.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_whoever_opens_it_next_delivers_what_a_crash_left(
    remote: Remote, run_python: Callable[..., Any], tmp_path: Path
) -> None:
    """Killed while the store is away: the next process that looks delivers the rest, from where the dead one was."""
    died = run_python(CRASH, PYTHONPATH=os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    assert died.returncode == -signal.SIGKILL, died.stderr
    experiment_id = died.stdout.strip()

    away = Library(remote)
    assert away.get(experiment_id).ended_by == "crash"
    remote.bring_back()
    assert remote.scan().collect().height == 50

    assert Library(remote).get(experiment_id).state == "stopped"
    rows = remote.scan(experiment_id).collect()
    assert rows.group_by("name", "status").len().sort("name").rows() == [
        ("early", "unset", 50),
        ("late", "unset", 30),
        ("open", "interrupted", 1),
    ]
    assert local_files("journal/*.wal") == local_files("parquet/*") == local_files("feed/*") == []


def test_a_new_recorder_delivers_leftovers_in_the_background(
    remote: Remote, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    """Nobody needs to name the experiment that could not be delivered."""
    with recording(remote) as (_, provider), otr.experiment("left"):
        remote.cut_off()
        spans(provider.get_tracer("x"), 5)
    remote.bring_back()
    with recording(remote), otr.experiment("another"):
        wait_until(lambda: remote.scan().collect().height == 5)


def test_leftovers_are_looked_for_again(
    remote: Remote, wait_until: Callable[[Callable[[], bool]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that begins while the store is still away brings them when it is back."""
    monkeypatch.setattr(courier, "_LOOK_SECONDS", 0.1)
    with recording(remote) as (_, provider), otr.experiment("left"):
        remote.cut_off()
        spans(provider.get_tracer("x"), 5)
    with recording(remote, fsync="0.1s") as (recorder, provider), otr.experiment("another"):
        spans(provider.get_tracer("x"), 1)
        assert recorder.flush(timeout=0.5).pending == 1
        remote.bring_back()
        wait_until(lambda: remote.scan().collect().height == 6)


def test_the_backlog_has_a_limit_and_the_policy_decides(remote: Remote) -> None:
    """`refuse`: what does not fit into the limit is lost and counted, what fits is delivered later."""
    with recording(remote, backlog="1MiB", overload="refuse") as (recorder, provider):
        remote.cut_off()
        exp = otr.start_experiment("limited")
        for _ in range(40):
            provider.get_tracer("x").start_span("s", attributes={"text": "x" * 100_000}).end()
        flushed = recorder.flush(timeout=0)
        assert flushed.lost > 0
        assert flushed.pending + flushed.lost == 40
        remote.bring_back()
        assert recorder.flush().pending == 0
        assert exp.ledger().lost == {"full": flushed.lost}
        # There is room again, as soon as what was complete has been delivered.
        spans(provider.get_tracer("x"), 1)
        otr.stop_experiment(exp)
        assert exp.ledger().is_balanced
    assert remote.scan(exp.id).collect().height == 40 - flushed.lost + 1


def heavy(tracer: Any, count: int) -> None:
    """Spans of which ten fill a segment."""
    for number in range(count):
        tracer.start_span("s", attributes={"number": number, "text": "x" * 100_000}).end()


def numbers_in(remote: Remote, exp: otr.Experiment) -> list[int]:
    found = remote.scan(exp.id).collect()["attributes"]
    return sorted(json.loads(text)["number"] for text in found)


def test_at_the_limit_block_waits_and_goes_on_when_the_store_is_back(remote: Remote) -> None:
    """A program that outruns its backlog is slowed down, not cut: with the store back, every span arrives, once."""
    with recording(remote, backlog="1MiB", overload="block", fsync="0.1s") as (recorder, provider):
        exp = otr.start_experiment("blocked")
        remote.cut_off()
        thread = threading.Thread(target=heavy, args=(provider.get_tracer("x"), 40))
        thread.start()
        thread.join(timeout=1.0)
        assert thread.is_alive(), "it should wait for room"
        assert recorder.flush(timeout=0).lost == 0
        remote.bring_back()
        thread.join(timeout=25)
        assert not thread.is_alive()
        assert recorder.flush() == otr.Flushed(kept=40, lost=0, pending=0)
        otr.stop_experiment(exp)
        assert exp.ledger().is_balanced
    assert numbers_in(remote, exp) == list(range(40))


def test_a_segment_that_is_delivered_while_the_limit_is_checked_costs_no_span(tmp_path: Path) -> None:
    """It was listed and is gone when its size is asked for: then it holds nothing."""
    (tmp_path / "a.wal").write_bytes(b"x" * 4096)
    (tmp_path / "gone.wal").symlink_to(tmp_path / "nowhere")
    limit = backlog.Limit(1 << 20)
    limit.check(tmp_path, 1 << 16)
    with pytest.raises(OSError, match="at its limit"):
        limit.check(tmp_path, 1 << 20)


def test_at_the_limit_block_waits_no_longer_than_its_time(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the bounded wait it refuses: counted as lost{full}, and the program goes on at once."""
    monkeypatch.setattr(room.Room.__init__, "__kwdefaults__", {"spill": None, "wait_seconds": 0.3})
    with recording(remote, backlog="1MiB", overload="block") as (recorder, provider):
        exp = otr.start_experiment("waited")
        remote.cut_off()
        began = time.monotonic()
        heavy(provider.get_tracer("x"), 40)
        assert time.monotonic() - began < 10
        flushed = recorder.flush(timeout=0)
        assert flushed.lost > 0
        assert flushed.pending + flushed.lost == 40
        remote.bring_back()
        otr.stop_experiment(exp)
        assert exp.ledger().lost == {"full": flushed.lost}
        assert exp.ledger().is_balanced
    assert remote.scan(exp.id).collect().height == 40 - flushed.lost


def test_at_the_limit_spill_goes_on_in_the_second_place(remote: Remote, tmp_path: Path) -> None:
    """Nothing waits and nothing is lost; what lies in the second place is pending, and delivered at the stop."""
    second = tmp_path / "second"
    with recording(remote, backlog="1MiB", overload="spill", spill=second) as (recorder, provider):
        exp = otr.start_experiment("spilled")
        remote.cut_off()
        heavy(provider.get_tracer("x"), 40)
        assert list(second.glob("*/journal/*.wal")) != []
        assert recorder.flush(timeout=0) == otr.Flushed(kept=0, lost=0, pending=40)
        remote.bring_back()
        otr.stop_experiment(exp)
        assert exp.ledger().lost == {}
        assert exp.ledger().is_balanced
    assert numbers_in(remote, exp) == list(range(40))
    assert list(second.glob("*/journal/*.wal")) == []


def test_at_the_limit_raise_tells_the_next_call(remote: Remote) -> None:
    """The span's own code goes on; the experiment's next call of ours raises, and names the limit."""
    with recording(remote, backlog="1MiB", overload="raise") as (recorder, provider):
        exp = otr.start_experiment("told")
        remote.cut_off()
        heavy(provider.get_tracer("x"), 40)
        with pytest.raises(StoreFull, match=r"limit of 1,048,576 bytes"), exp.arm("next"):
            pass
        lost = recorder.flush(timeout=0).lost
        remote.bring_back()
        otr.stop_experiment(exp)
        assert exp.ledger().lost == {"full": lost}
        assert lost > 0
        assert exp.ledger().is_balanced
    assert remote.scan(exp.id).collect().height == 40 - lost


def test_what_is_over_and_delivered_is_no_longer_followed(
    remote: Remote, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    """A program that runs experiment after experiment holds nothing of those that are done."""
    with recording(remote, fsync="0.1s") as (recorder, provider):
        for number in range(3):
            with otr.experiment(f"round {number}"):
                spans(provider.get_tracer("x"), 2)
        courier, library = recorder._caretaker._courier, recorder.library
        wait_until(lambda: not courier._feeds and not library._feeds)
        assert library.journal._followers == {}
    assert remote.scan().collect().height == 6


@pytest.mark.parametrize("backlog", ["", "1", "2XB", -5, True, "1.5GiB"])
def test_a_backlog_that_is_no_size_is_refused(backlog: Any) -> None:
    """The message says how to write one."""
    with pytest.raises(otr.ConfigurationError, match="2GiB"):
        otr.configure(store="memory:", backlog=backlog or "0")


def test_a_delivery_ends_however_fast_spans_come(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes what was there when it began; a flush and a reader do not wait for the program to pause."""
    is_over = threading.Event()
    append = Remote.append

    def slow(self: Remote, batch: Any, /) -> None:
        time.sleep(0.1)
        append(self, batch)

    def work(tracer: Any) -> None:
        while not is_over.is_set():
            tracer.start_span("s").end()
            time.sleep(0.001)

    monkeypatch.setattr(Remote, "append", slow)
    with recording(remote, fsync="0.1s") as (recorder, provider):
        exp = otr.start_experiment("never pauses")
        thread = threading.Thread(target=work, args=(provider.get_tracer("x"),))
        thread.start()
        try:
            time.sleep(0.3)
            began = time.monotonic()
            flushed = recorder.flush()
            exp.spans().select("span_id").collect()
            took = time.monotonic() - began
        finally:
            is_over.set()
            thread.join()
        otr.stop_experiment(exp)
    assert flushed.kept > 0
    assert flushed.pending == 0
    assert took < 15
    assert exp.ledger().is_balanced
