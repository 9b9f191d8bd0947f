"""A span that ends after its experiment was stopped: counted as late, once, wherever it can be put."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import otel_research as otr
from otel_research.journal.log import Log


def test_a_late_span_brings_back_no_deleted_experiment(disk_host: Any) -> None:
    """Stopped and deleted: nothing of the span is written, neither its prompt nor a count."""
    exp = otr.start_experiment("deleted")
    span = disk_host.tracer.start_span("late", attributes={"gen_ai.prompt": "a secret"})
    otr.stop_experiment(exp, timeout=0)
    folder = disk_host.recorder.library.journal.folder(exp.id)
    exp.cleanup(keep_data=False, force=True)
    assert not folder.exists()
    span.end()
    disk_host.recorder._caretaker._tend()
    assert not folder.exists()
    assert disk_host.recorder.ledger().late == 1


@pytest.mark.parametrize("broken", ["adopt", "append"])
def test_a_late_span_that_cannot_be_put_aside_is_late_and_not_lost_too(
    disk_host: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """A full disk takes no quarantine: the ledger balances all the same."""
    caplog.set_level(logging.CRITICAL, logger="otel_research")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    exp = otr.start_experiment("late on a full disk")
    span = disk_host.tracer.start_span("late")
    otr.stop_experiment(exp, timeout=0)
    with monkeypatch.context() as patched:
        patched.setattr(Log, broken, full)
        span.end()
    ledger = disk_host.recorder.ledger()
    assert (ledger.late, ledger.lost_total, ledger.is_balanced) == (1, 0, True)
