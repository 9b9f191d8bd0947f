"""Every span that the processor sees is counted somewhere, and where it belongs."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import otel_research as otr
from otel_research.capture.experiment import ExperimentCapture


@pytest.mark.parametrize("starts", [True, False])
def test_a_span_whose_start_cost_us_an_error_is_lost_and_not_outside(
    host: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, starts: bool
) -> None:
    """It belongs to the experiment: its ledger counts it when it ends."""
    caplog.set_level(logging.CRITICAL, logger="otel_research")

    def refuse(*_: Any) -> None:
        raise RuntimeError("ours")

    with otr.experiment("broken start") as exp:
        assert exp._capture is not None
        exp._capture.journals_starts = starts
        with monkeypatch.context() as patched:
            patched.setattr(ExperimentCapture, "define", refuse)
            span = host.tracer.start_span("lost")
        span.end()
        host.tracer.start_span("kept").end()
        ours = host.recorder.ledger()
        assert (ours.started, ours.ended, ours.stored, ours.outside, dict(ours.lost)) == (2, 2, 1, 0, {"error": 1})
    ledger = exp.ledger()
    assert (ledger.started, ledger.ended, ledger.stored, dict(ledger.lost)) == (2, 2, 1, {"error": 1})
    assert exp.spans().collect()["name"].to_list() == ["kept"]


def test_a_span_that_names_an_experiment_of_somebody_else_is_outside(host: Any) -> None:
    """Seen, not ours: outside a run it is counted as such, whatever its attributes say."""
    host.tracer.start_span("foreign", attributes={"experiment.id": "f" * 32}).end()
    host.tracer.start_span("plain").end()
    assert host.recorder.ledger().outside == 2


def test_a_span_of_ours_is_not_outside_for_a_second_processor(host: Any) -> None:
    """A provider may carry two: the first takes the span, the second has nothing to say of it."""
    host.provider.add_span_processor(otr.ExperimentSpanProcessor(host.recorder))
    with otr.experiment("twice") as exp:
        host.tracer.start_span("s").end()
    ledger = host.recorder.ledger()
    assert (ledger.stored, ledger.outside, exp.ledger().stored) == (1, 0, 1)
