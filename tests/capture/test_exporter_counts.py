"""The exporter counts span by span: what is stored, what is lost, and what only failed to be synced."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

import otel_research as otr
from otel_research.journal.frame import END
from otel_research.journal.held import HeldFile
from otel_research.journal.log import Log
from otel_research.store.library import Library
from otel_research.testing import recording

ID = "a" * 32


def made(*names: str) -> list[ReadableSpan]:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("x")
    spans: list[Any] = [tracer.start_span(name) for name in names]
    for span in spans:
        span.end()
    return spans


def export(exporter: otr.ExperimentExporter, spans: Sequence[ReadableSpan]) -> SpanExportResult:
    return exporter.export(spans)


def test_a_sync_that_fails_is_an_error_and_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The span is in the journal: received once, stored once, and the flush says that it is not durable."""
    exporter = otr.ExperimentExporter(f"disk:{tmp_path}", ID)

    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "io")

    with monkeypatch.context() as patched:
        patched.setattr(HeldFile, "sync", refuse)
        assert export(exporter, made("a")) is SpanExportResult.SUCCESS
        assert exporter.force_flush() is False
    ledger = exporter.ledger()
    assert (ledger.received, ledger.stored, dict(ledger.lost)) == (1, 1, {})
    assert ledger.errors["fsync"] >= 1
    assert Library(f"disk:{tmp_path}").scan(ID).collect().height == 1
    exporter.shutdown()


def test_of_a_batch_only_what_is_not_stored_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One span that cannot be written costs none of its neighbours, and the experiment's ledger knows of it."""
    exporter = otr.ExperimentExporter(f"disk:{tmp_path}", ID)
    append, seen = Log.append, []

    def refuse_the_second(log: Log, kind: int, payload: bytes) -> None:
        seen.append(kind)
        if seen.count(END) == 2 and kind == END:
            raise OSError(errno.ENOSPC, "full")
        append(log, kind, payload)

    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", refuse_the_second)
        assert export(exporter, made("a", "b", "c")) is SpanExportResult.FAILURE
    ledger = exporter.ledger()
    assert (ledger.received, ledger.stored, dict(ledger.lost)) == (3, 2, {"store_error": 1})
    exporter.shutdown()
    with recording(f"disk:{tmp_path}"):
        exp = otr.get_experiment(ID)
        assert sorted(exp.spans().collect()["name"]) == ["a", "c"]
        kept = exp.ledger()
        assert (kept.received, kept.ended, kept.stored, dict(kept.lost)) == (3, 0, 2, {"store_error": 1})
        assert kept.is_balanced
