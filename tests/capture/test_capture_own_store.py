"""A store of the user's own, with nothing but the four methods: fed from the local journal, whatever it does."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr
from otel_research.spans.schema import IDENTITY, STORED, names, polars_schema
from otel_research.store.base import Store
from otel_research.testing import StoreContract, recording


class DictStore:
    """Rows in a dict by identity."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.is_down = False
        self.is_closed = False
        self.appends = 0

    def append(self, batch: pa.RecordBatch, /) -> None:
        if self.is_closed:
            raise otr.StoreClosed("closed")
        if self.is_down:
            raise ConnectionError("database is down")
        self.appends += 1
        for row in batch.to_pylist():
            key = tuple(row[name] for name in IDENTITY)
            known = self.rows.get(key)
            if known is None or (known["status"] == "interrupted" and row["status"] != "interrupted"):
                self.rows[key] = row

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        found = [row for row in list(self.rows.values()) if experiment_id in (None, row["experiment_id"])]
        return pl.DataFrame(found, schema=polars_schema(STORED)).lazy()

    def delete(self, experiment_id: str) -> None:
        self.rows = {key: row for key, row in self.rows.items() if row["experiment_id"] != experiment_id}

    def close(self) -> None:
        self.is_closed = True


class TestTheDictStore(StoreContract):
    """The double itself keeps the contract, so that what is tested with it means something."""

    is_durable = False

    def open_store(self, folder: Path) -> Store:
        return DictStore()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DictStore:
    """A dict store, with the local journal in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return DictStore()


def spans(tracer: Any, count: int) -> None:
    for number in range(count):
        tracer.start_span("s", attributes={"number": number}).end()


def test_it_receives_every_span(store: DictStore) -> None:
    """All rows with all columns, from the local journal; records live in the local catalogue."""
    assert isinstance(store, Store)
    with recording(store) as (recorder, provider):
        with otr.experiment("fed", tags=["t"]) as exp:
            spans(provider.get_tracer("x"), 100)
            assert recorder.flush() == otr.Flushed(kept=100, lost=0, pending=0)
            assert len(store.rows) == 100
            spans(provider.get_tracer("x"), 50)
        assert len(store.rows) == 150
        assert set(next(iter(store.rows.values()))) == set(names(STORED))
        assert exp.spans().collect().height == 150
        assert [found.id for found in otr.list_experiments(tag="t")] == [exp.id]
        assert exp.ledger().is_balanced
        assert exp.ledger().stored == 150
    assert Path(".otel_research", exp.id, "experiment.json").exists()


def test_the_background_brings_spans_over_without_a_flush(store: DictStore) -> None:
    """Within seconds, while the experiment runs."""
    with recording(store, fsync="0.1s") as (_, provider), otr.experiment("background"):
        spans(provider.get_tracer("x"), 10)
        deadline = time.monotonic() + 20
        while len(store.rows) < 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(store.rows) == 10


def test_a_store_that_is_down_for_a_while_loses_nothing(store: DictStore, caplog: pytest.LogCaptureFixture) -> None:
    """Spans wait in the local journal, `flush()` says how many, readers see them all; later they are delivered."""
    with (
        caplog.at_level(logging.WARNING, logger="otel_research"),
        recording(store) as (recorder, provider),
        otr.experiment("outage") as exp,
    ):
        spans(provider.get_tracer("x"), 20)
        recorder.flush()
        store.is_down = True
        began = time.monotonic()
        spans(provider.get_tracer("x"), 30)
        assert time.monotonic() - began < 5
        assert recorder.flush(timeout=0.3) == otr.Flushed(kept=20, lost=0, pending=30)
        assert len(store.rows) == 20
        assert exp.spans().collect().height == 50
        store.is_down = False
        assert recorder.flush() == otr.Flushed(kept=50, lost=0, pending=0)
    assert len(store.rows) == 50
    assert len([record for record in caplog.records if "does not take spans" in record.message]) == 1


def test_a_store_that_is_down_at_the_stop(store: DictStore) -> None:
    """The experiment is stopped and complete for its readers; the store gets the rest when it is back."""
    with recording(store) as (recorder, provider):
        with otr.experiment("down at the end") as exp:
            spans(provider.get_tracer("x"), 5)
            store.is_down = True
            provider.get_tracer("x").start_span("last").end()
        assert exp.state == "stopped"
        assert exp.spans().collect().height == 6
        assert exp.ledger().stored == 6
        store.is_down = False
        assert recorder.flush().pending == 0
        assert len(store.rows) == 6


def test_delivering_again_changes_nothing(store: DictStore) -> None:
    """A new recorder on the same store and journal delivers what is there again: each row stays one row."""
    with recording(store) as (_, provider), otr.experiment("again"):
        spans(provider.get_tracer("x"), 5)
    with recording(store) as (recorder, provider), otr.experiment("again", resume=True) as exp:
        spans(provider.get_tracer("x"), 5)
        recorder.flush()
    assert len(store.rows) == 10
    assert exp.spans().collect().height == 10


def test_an_interrupted_span_that_ends_later_is_replaced(store: DictStore) -> None:
    """Order of delivery does not matter: the end wins."""
    with recording(store) as (_, provider):
        exp = otr.start_experiment("interrupted")
        span = provider.get_tracer("x").start_span("s")
        otr.stop_experiment(exp, timeout=0)
        assert [row["status"] for row in store.rows.values()] == ["interrupted"]
        span.end()
    assert exp.spans().collect()["status"].to_list() == ["interrupted"]


class Instrumented(DictStore):
    """A store whose driver is instrumented: it makes a span for every write, unless told not to."""

    tracer: Any = None

    def append(self, batch: pa.RecordBatch, /) -> None:
        if not otel_context.get_value(_SUPPRESS_INSTRUMENTATION_KEY):
            self.tracer.start_span("INSERT").end()
        super().append(batch)


def test_our_own_writes_do_not_come_back_as_spans(store: DictStore) -> None:
    """Deliveries run with instrumentation suppressed: no feedback from an instrumented driver."""
    instrumented = Instrumented()
    provider = TracerProvider(shutdown_on_exit=False)
    instrumented.tracer = provider.get_tracer("driver")
    with recording(instrumented, provider=provider) as (recorder, _):
        exp = otr.start_experiment("feedback")
        spans(provider.get_tracer("x"), 3)
        recorder.flush()
        recorder.flush()
        otr.stop_experiment(exp)
    assert {row["name"] for row in instrumented.rows.values()} == {"s"}
    assert trace.get_current_span().is_recording() is False


def test_cleanup_deletes_in_the_store_and_in_the_journal(store: DictStore) -> None:
    """keep_data=False leaves nothing of that experiment anywhere."""
    with recording(store) as (_, provider):
        with otr.experiment("kept"):
            spans(provider.get_tracer("x"), 1)
        with otr.experiment("deleted") as deleted:
            spans(provider.get_tracer("x"), 2)
        deleted.cleanup(keep_data=False, force=True)
        assert len(store.rows) == 1
        assert not Path(".otel_research", deleted.id).exists()
        with pytest.raises(otr.UnknownExperiment):
            otr.get_experiment(deleted.id)


def test_a_store_that_lacks_a_method_is_refused() -> None:
    """The message names what is missing, before anything is recorded."""

    class Half:
        def append(self, batch: Any) -> None: ...

    with pytest.raises(otr.ConfigurationError, match="lacks scan, delete, close"):
        otr.configure(store=Half())  # type: ignore[arg-type]
