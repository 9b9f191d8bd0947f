"""Spans that a signal handler or a destructor ends, in a program that ends spans all the while."""

from __future__ import annotations

import signal
import time
from typing import Any

import otel_research as otr

KEYS = {f"k{number}": "x" * 400 for number in range(12)}
"""Enough that segments fill while the test runs."""


def test_spans_of_a_signal_handler_are_captured(disk_host: Any) -> None:
    """A thousand times a second, also while ours holds a lock, flushes or changes segments: all are stored."""
    made = handled = 0

    def handle(*_: object) -> None:
        nonlocal handled
        handled += 1
        disk_host.tracer.start_span(
            "handler", attributes={f"h{handled % 7}{key}": value for key, value in KEYS.items()}
        ).end()
        if handled % 50 == 0:
            disk_host.recorder.sync()

    before = signal.signal(signal.SIGALRM, handle)
    try:
        with otr.experiment("signals") as exp:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                disk_host.tracer.start_span(
                    "program", attributes={f"p{made % 5}{key}": value for key, value in KEYS.items()}
                ).end()
                made += 1
                if made % 100 == 0:
                    disk_host.recorder.sync()
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    names = exp.spans().collect()["name"].to_list()
    assert (names.count("program"), names.count("handler")) == (made, handled)
    assert handled > 20
    assert (exp.ledger().lost_total, exp.ledger().is_balanced) == (0, True)


def test_a_span_that_a_destructor_ends_is_captured(disk_host: Any) -> None:
    """Also where the destructor runs because of what ours does."""

    class Held:
        def __init__(self) -> None:
            self.span = disk_host.tracer.start_span("held", attributes=KEYS)
            self.itself = self  # only the collector finds it

        def __del__(self) -> None:
            self.span.end()

    with otr.experiment("destructors") as exp:
        for _ in range(2000):
            Held()
            disk_host.tracer.start_span("program", attributes=KEYS).end()
        import gc

        gc.collect()
    names = exp.spans().collect()["name"].to_list()
    assert (names.count("program"), names.count("held")) == (2000, 2000)
    ledger = exp.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (4000, 0, True)


def test_an_experiment_can_be_stopped_by_a_signal_while_it_is_read(disk_host: Any) -> None:
    """A handler that stops it, as one for SIGTERM does, waits for nobody who waits for it."""
    for _ in range(5):
        exp = otr.start_experiment("stopped by a signal")
        for _ in range(200):
            disk_host.call()
        stopped = []
        before = signal.signal(signal.SIGALRM, lambda *_: stopped.append(otr.stop_experiment(exp)))  # noqa: B023
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            while not stopped:
                disk_host.recorder.library.store._tails.clear()
                assert exp.spans().collect().height == 200
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert exp.spans().collect().height == 200
        assert exp.ledger().is_balanced
