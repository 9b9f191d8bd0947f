"""Stopping while spans end: each is kept or late, never both, never neither; and nobody waits for themselves."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import otel_research as otr
from otel_research.journal.frame import END
from otel_research.journal.log import LogClosed


class Paused:
    """Holds an append back: it waits, once, until it is let go."""

    def __init__(self, append: Callable[[bytes], None], *, after: bool = False) -> None:
        self.append, self.after = append, after
        self.is_reached, self.may_go = threading.Event(), threading.Event()

    def __call__(self, payload: bytes) -> None:
        if self.after:
            self.append(payload)
        self.is_reached.set()
        assert self.may_go.wait(10)
        if not self.after:
            self.append(payload)


def ending(host: Any, exp: otr.Experiment, *, after: bool = False) -> tuple[threading.Thread, Paused]:
    """A thread that is in the middle of ending a span of the experiment."""
    assert exp._capture is not None
    span = host.tracer.start_span("slow")
    paused = Paused(exp._capture.log.append_end, after=after)
    exp._capture.log.append_end = paused  # type: ignore[method-assign]
    thread = threading.Thread(target=span.end)
    thread.start()
    assert paused.is_reached.wait(10)
    return thread, paused


@pytest.mark.parametrize("after", [False, True], ids=["before it is written", "after it is written"])
def test_a_stop_waits_for_an_end_that_is_being_written(disk_host: Any, *, after: bool) -> None:
    """A span is open until its end is in the journal."""
    exp = otr.start_experiment("race")
    thread, paused = ending(disk_host, exp, after=after)
    threading.Timer(0.1, paused.may_go.set).start()
    otr.stop_experiment(exp, timeout=10)
    thread.join()
    assert exp.spans().collect()["status"].to_list() == ["unset"]
    ledger = exp.ledger()
    assert (ledger.stored, ledger.late, ledger.lost_total, ledger.is_balanced) == (1, 0, 0, True)


def test_an_end_that_the_stop_overtakes_is_late(disk_host: Any) -> None:
    """Written after the wait is over it does not slip into the sealed experiment: it is quarantined, counted once."""
    exp = otr.start_experiment("overtaken")
    disk_host.tracer.start_span("kept").end()
    thread, paused = ending(disk_host, exp)
    otr.stop_experiment(exp, timeout=0)
    sealed = exp.content_hash
    paused.may_go.set()
    thread.join()
    assert sorted(exp.spans().collect()["status"]) == ["interrupted", "unset"]
    assert otr.get_experiment(exp.id).content_hash == sealed
    ledger = disk_host.recorder.ledger()
    assert (ledger.stored, ledger.late, ledger.lost_total, ledger.is_balanced) == (1, 1, 0, True)
    assert not list((disk_host.recorder.library.store.root / exp.id / "journal").glob("*.wal"))


def test_a_filter_is_not_counted_for_a_span_that_is_late_after_all(disk_host: Any) -> None:
    """What the stop overtakes between the rules and the journal is late and nothing else."""
    exp = otr.start_experiment("overtaken", event_filter=lambda span: False)
    assert exp._capture is not None
    span = disk_host.tracer.start_span("filtered")
    reached, may_go, append = threading.Event(), threading.Event(), exp._capture.log.append

    def paused(kind: int, payload: bytes) -> None:
        reached.set()
        assert may_go.wait(10)
        append(kind, payload)

    exp._capture.log.append = paused  # type: ignore[method-assign]
    thread = threading.Thread(target=span.end)
    thread.start()
    assert reached.wait(10)
    otr.stop_experiment(exp, timeout=0)
    may_go.set()
    thread.join()
    ledger = disk_host.recorder.ledger()
    assert (ledger.ended, ledger.filtered, ledger.late, ledger.is_balanced) == (1, 0, 1, True)


@pytest.mark.parametrize("timeout", [0.0, 10.0])
def test_every_span_that_ends_around_a_stop_is_counted_once(disk_host: Any, timeout: float) -> None:
    """Threads that end spans all the while: what is stored, late and outside is what was made."""
    made = 0
    lock = threading.Lock()
    for number in range(3):
        exp = otr.start_experiment(f"storm {number}")
        goes_on = True

        def work() -> None:
            nonlocal made
            count = 0
            while goes_on:  # noqa: B023 - joined below, in the same round
                disk_host.tracer.start_span("s", attributes={"n": count}).end()
                count += 1
                time.sleep(0.0002)  # lets the thread that stops have its turn: four busy ones starve it
            with lock:
                made += count

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        otr.stop_experiment(exp, timeout=timeout)
        stored = exp.spans().collect()
        goes_on = False
        for thread in threads:
            thread.join()
        later = exp.spans().collect()
        assert later.height == stored.height, "nothing comes into an experiment that is sealed"
        assert stored["status"].eq("interrupted").sum() == 0 or timeout == 0
    ledger = disk_host.recorder.ledger()
    assert ledger.stored + ledger.late + ledger.outside == made
    assert ledger.lost_total == ledger.interrupted == ledger.open == 0
    assert ledger.late == 0 or timeout == 0
    assert ledger.is_balanced


def test_a_stop_inside_ones_own_span_does_not_wait_for_it(disk_host: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The spans that the caller stands in cannot end before the call returns: they are late at once, and it is said."""
    exp = otr.start_experiment("inside")
    with disk_host.tracer.start_as_current_span("outer"):
        disk_host.tracer.start_span("kept").end()
        with disk_host.tracer.start_as_current_span("inner"):
            began = time.monotonic()
            with caplog.at_level(logging.WARNING, logger="otel_research"):
                otr.stop_experiment(exp)
            assert time.monotonic() - began < 5
    assert [record for record in caplog.records if "called inside 2 of its own open spans" in record.message]
    assert sorted(exp.spans().collect().select("name", "status").rows()) == [
        ("inner", "interrupted"),
        ("kept", "unset"),
        ("outer", "interrupted"),
    ]
    ledger = disk_host.recorder.ledger()
    assert (ledger.stored, ledger.late, ledger.is_balanced) == (1, 2, True)


def test_other_spans_are_waited_for_from_inside_ones_own(disk_host: Any) -> None:
    """Only the caller's own spans are given up: those of other threads have their time."""
    exp = otr.start_experiment("inside")
    other = disk_host.tracer.start_span("other")
    timer = threading.Timer(0.2, other.end)
    with disk_host.tracer.start_as_current_span("own"):
        timer.start()
        otr.stop_experiment(exp, timeout=10)
    timer.join()
    assert sorted(exp.spans().collect().select("name", "status").rows()) == [("other", "unset"), ("own", "interrupted")]


def test_the_end_of_a_task_does_not_wait_for_the_span_around_it(disk_host: Any) -> None:
    """Also where the stop runs in a helper thread: the context says which spans the caller stands in."""
    exp = otr.start_experiment("inside")

    async def program() -> float:
        with disk_host.tracer.start_as_current_span("request"):
            began = time.monotonic()
            await asyncio.to_thread(otr.stop_experiment, exp)
            return time.monotonic() - began

    assert asyncio.run(program()) < 5


def test_a_closed_log_takes_no_frame(disk_host: Any) -> None:
    """After `close` a frame is refused, so that nothing gets into an experiment that is sealed."""
    log = disk_host.recorder.library.journal.open_log("a" * 32)
    log.append(END, b"x" * 40)
    log.close()
    log.close()
    with pytest.raises(LogClosed):
        log.append(END, b"y" * 40)
    log.after_fork()
    with pytest.raises(LogClosed):
        log.append_end(b"y" * 40)
