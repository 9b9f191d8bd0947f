"""Two clocks: the wall clock says when, the monotonic one whether it was set meanwhile."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import otel_research as otr
from otel_research.capture import experiment, processor

CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
SECOND = 1_000_000_000


def test_a_clock_that_was_set_back_is_flagged_and_no_negative_duration_is_used(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The times stay as reported; a duration below zero is unknown, latency rests on the others, `validate` tells."""
    at = [0]
    for module in (processor, experiment):
        monkeypatch.setattr(module, "monotonic_ns", lambda: at[0])
    with otr.experiment("clocks") as exp:
        for number, wall in enumerate((1, 1, -5, 3)):
            began = (1_700_000_000 + number * 10) * SECOND
            span = host.tracer.start_span("chat m", start_time=began, attributes=CALL)
            at[0] += SECOND  # one second passes, whatever the wall clock says
            span.end(began + wall * SECOND)
    rows = exp.spans().sort("start_ns").collect()
    assert ((rows["end_ns"] - rows["start_ns"]) // SECOND).to_list() == [1, 1, -5, 3]
    assert rows["duration_ms"].to_list() == [1000.0, 1000.0, None, 3000.0]
    found = otr.calculate_metrics(exp)
    assert (found.latency.count, found.latency.min, found.latency.max) == (3, 1000.0, 3000.0)
    finding = [fault for fault in otr.validate(exp).findings if fault.code == "clock_step"]
    assert [fault.count for fault in finding] == [1]
    assert rows.filter(pl.col("duration_ms").is_null())["span_id"].to_list() == list(finding[0].examples)


def test_explicit_times_of_an_instrumentation_win(host: Any) -> None:
    """Duration is end - start as reported, not what the hooks saw: a span may be made after the fact."""
    with otr.experiment("after the fact") as exp:
        host.tracer.start_span("s", start_time=5 * SECOND).end(8 * SECOND)
    assert exp.spans().collect()["duration_ms"].to_list() == [3000.0]
