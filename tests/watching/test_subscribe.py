"""What subscribers are told: everything, in order, and never at the run's cost."""

from __future__ import annotations

import json
import queue
import time
from typing import Any

import pytest

import otel_research as otr
from otel_research.watching import events


def drained(told: queue.Queue[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    while True:
        try:
            found.append(told.get_nowait())
        except queue.Empty:
            return found


def test_every_span_is_told_once_and_the_last_event_is_the_state(host: Any) -> None:
    """In a queue: spans, rolling numbers, full metrics, then the end."""
    told: queue.Queue[dict[str, Any]] = queue.Queue()
    with otr.experiment("told") as exp:
        exp.subscribe(told)
        for _ in range(30):
            host.call()
    found = drained(told)
    assert {event["event"] for event in found} <= set(events.NAMES)
    spans = [event["data"]["span_id"] for event in found if event["event"] == "span"]
    assert sorted(spans) == sorted(exp.spans().collect()["span_id"].to_list())
    assert found[-1]["event"] == "state"
    assert found[-1]["data"] == {"state": "stopped"}
    full = [event["data"] for event in found if event["event"] == "full_metrics"][-1]
    assert full == exp.metrics(ci=False).to_dict()
    rolling = [event["data"] for event in found if event["event"] == "metrics_update"][-1]
    assert rolling["recent_count"] == rolling["total_calls"] == 30
    assert rolling["average_latency_ms"] == pytest.approx(full["latency"]["mean"])
    assert rolling["total_cost_usd"] == full["cost"]["total_usd"]
    assert rolling["error_rate"] == 0.0
    json.dumps(found, allow_nan=False)


def test_a_callback_that_raises_is_counted_and_the_run_goes_on(host: Any) -> None:
    """Neither the spans nor the other subscriber suffer."""
    told: queue.Queue[dict[str, Any]] = queue.Queue()

    def broken(event: dict[str, Any]) -> None:
        raise RuntimeError("no")

    with otr.experiment("broken") as exp:
        subscription = exp.subscribe(broken)
        exp.subscribe(told)
        host.call()
    assert subscription.missed == len(drained(told))
    assert exp.ledger().stored == 1


def test_a_full_queue_says_how_much_it_missed(host: Any) -> None:
    """Events are not made up for, but counted."""
    told: queue.Queue[dict[str, Any]] = queue.Queue(2)
    with otr.experiment("full") as exp:
        subscription = exp.subscribe(told)
        for _ in range(10):
            host.call()
        exp._watch().catch_up()
        assert len(drained(told)) == 2
        assert subscription.missed == 9
        host.call()
        exp._watch().catch_up()
        assert drained(told)[0]["missed"] == 9


def test_a_closed_subscription_is_silent(host: Any) -> None:
    """Also as a context manager."""
    told: list[dict[str, Any]] = []
    with otr.experiment("closed") as exp:
        with exp.subscribe(told.append):
            host.call()
            exp._watch().catch_up()
        number = len(told)
        host.call()
    assert number == len(told) == 2


def test_events_come_while_the_run_goes_on(host: Any) -> None:
    """Within a second or two, from a thread of ours."""
    told: queue.Queue[dict[str, Any]] = queue.Queue()
    with otr.experiment("soon") as exp:
        exp.subscribe(told)
        host.call()
        begun = time.monotonic()
        assert told.get(timeout=20)["event"] == "span"
        print(f"after {time.monotonic() - begun:.2f} s")


def test_what_cannot_be_told_is_refused(host: Any) -> None:
    """With what to pass instead."""
    with otr.experiment("odd") as exp, pytest.raises(otr.ConfigurationError, match="function"):
        exp.subscribe(3)
