"""The memory store under the threads and the lives of an experiment."""

from __future__ import annotations

from typing import Any

import pytest

import otel_research as otr
from otel_research.journal.log import Log


def test_a_frame_that_comes_late_to_an_old_segment_is_read(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may have looked up where to write before another began a new segment: the old buffer stays until it is closed."""
    with otr.experiment("late frame") as exp:
        host.tracer.start_span("first").end()
        assert exp._capture is not None
        log, late = exp._capture.log, host.tracer.start_span("late")
        segment, append_end = log._segment, log.append_end
        with monkeypatch.context() as patched:
            for step in ("_end", "_let_go"):
                patched.setattr(Log, step, lambda log, segment: None)
            log.roll()
        assert exp.spans().collect()["name"].to_list() == ["first"]
        fresh, log.append_end = log.append_end, append_end
        late.end()
        log.append_end = fresh
        segment.close()
        host.tracer.start_span("last").end()
        assert sorted(exp.spans().collect()["name"]) == ["first", "last", "late"]
    ledger = exp.ledger()
    assert (ledger.started, ledger.ended, ledger.stored, ledger.interrupted) == (3, 3, 3, 0)


def test_what_runs_after_a_resumption_is_not_interrupted(host: Any) -> None:
    """What was open at the stop is interrupted for ever; what is open now is open."""
    exp = otr.start_experiment("resumed")
    host.tracer.start_span("ended").end()
    left = host.tracer.start_span("left open")
    otr.stop_experiment(exp.id, timeout=0.0)
    assert sorted(exp.spans().collect().select("name", "status").rows()) == [
        ("ended", "unset"),
        ("left open", "interrupted"),
    ]
    left.end()
    exp = otr.start_experiment("resumed", resume=True)
    running = host.tracer.start_span("running")
    names = dict(exp.spans().collect().select("name", "status").rows())
    assert names == {"ended": "unset", "left open": "interrupted"}
    assert exp.ledger().open == 1
    running.end()
    otr.stop_experiment(exp.id)
    ledger = exp.ledger()
    assert (ledger.stored, ledger.interrupted, ledger.late, ledger.lost) == (2, 0, 1, {})
