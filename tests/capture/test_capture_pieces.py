"""The four pieces by hand, on a provider that the user builds."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

import otel_research as otr
from otel_research.store.disk import DiskStore
from otel_research.store.memory import MemoryStore
from otel_research.testing import recording

ID = "ab" * 16


# -- sampler, processor, ids ----------------------------------------------------------


def test_sampler_processor_and_ids_on_a_provider_of_ones_own() -> None:
    """A second provider with the pieces is captured into the recorder's experiment, beside the recorder's own."""
    backend = InMemorySpanExporter()
    with recording() as (recorder, first):
        second = TracerProvider(
            sampler=otr.ExperimentSampler(ALWAYS_OFF), id_generator=otr.ExperimentIdGenerator(), shutdown_on_exit=False
        )
        second.add_span_processor(otr.ExperimentSpanProcessor(recorder))
        second.add_span_processor(SimpleSpanProcessor(backend))
        with otr.experiment("by hand") as exp, exp.arm("a"):
            first.get_tracer("one").start_span("first").end()
            second.get_tracer("two").start_span("second", attributes={"kept": 1}).end()
    rows = exp.spans().sort("start_ns").collect()
    assert rows.select("name", "condition", "is_sampled").rows() == [("first", "a", True), ("second", "a", False)]
    assert json.loads(rows["attributes"][1])["kept"] == 1
    assert json.loads(rows["attributes"][1])["experiment.condition"] == "a"
    assert backend.get_finished_spans() == ()
    ledger = recorder.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (2, 0, True)


def test_the_sampler_alone_tags_what_is_exported() -> None:
    """Behind any processor, the tags are on the span: an exporter elsewhere can sort by them."""
    backend = InMemorySpanExporter()
    provider = TracerProvider(sampler=otr.ExperimentSampler(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(backend))
    with recording(), otr.experiment("tagged", tags=["t"]) as exp:
        provider.get_tracer("x").start_span("s", attributes={"a": 1}).end()
        assert dict(backend.get_finished_spans()[0].attributes or {}) == {
            "a": 1, "experiment.id": exp.id, "experiment.name": "tagged", "experiment.tags": ("t",),
        }  # fmt: skip


def test_the_processor_alone_captures_what_the_sampler_keeps() -> None:
    """Behind a foreign sampler the processor tags and stores what it is shown."""
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    with recording() as (recorder, _):
        provider.add_span_processor(otr.ExperimentSpanProcessor(recorder))
        with otr.experiment("processor only") as exp:
            provider.get_tracer("x").start_span("s").end()
    (row,) = exp.spans().collect().to_dicts()
    assert json.loads(row["attributes"])["experiment.id"] == exp.id


@pytest.mark.parametrize("is_before", [True, False], ids=["before configure", "after configure"])
def test_pieces_by_hand_and_configure_on_one_provider(is_before: bool) -> None:
    """Both ways at once do not count a span twice."""
    provider = TracerProvider(sampler=otr.ExperimentSampler(ALWAYS_OFF), shutdown_on_exit=False)
    by_hand = otr.ExperimentSpanProcessor(None)
    if is_before:
        provider.add_span_processor(by_hand)
    with recording(provider=provider) as (recorder, _):
        if not is_before:
            provider.add_span_processor(otr.ExperimentSpanProcessor(recorder))
        with otr.experiment("both") as exp, exp.trial(item="q"):
            for _ in range(8):
                provider.get_tracer("x").start_span("s").end()
        with otr.experiment("with a rule", event_filter=lambda span: True):
            provider.get_tracer("x").start_span("s").end()
        provider.get_tracer("x").start_span("dropped outside").end()
        told = recorder.ledger()
    assert exp.spans().collect().height == 9
    assert (told.started, told.ended, told.stored, told.outside) == (10, 10, 10, 0)
    assert (by_hand.recorder is None) or is_before


def test_a_sampler_put_there_by_hand_stays() -> None:
    """configure() does not wrap it a second time, and closing leaves it."""
    theirs = otr.ExperimentSampler(ALWAYS_OFF)
    provider = TracerProvider(sampler=theirs, shutdown_on_exit=False)
    with recording(provider=provider):
        assert provider.sampler is theirs
    assert provider.sampler is theirs


class Broken:
    """A recorder whose disk is gone."""

    def __init__(self) -> None:
        from otel_research.capture.ledger import Tally

        self.tally = Tally()

    def sync(self) -> None:
        raise OSError("gone")


def test_the_processor_never_raises_into_the_program(caplog: pytest.LogCaptureFixture) -> None:
    """Its own errors are swallowed, counted and said once; spans it does not know are no error."""
    broken = Broken()
    processor = otr.ExperimentSpanProcessor(broken)
    with caplog.at_level(logging.ERROR, logger="otel_research"):
        assert processor.force_flush() is False
        processor.on_end(None)  # type: ignore[arg-type]
        processor.shutdown()
        processor.shutdown()
    assert broken.tally.under("error") == {"flush": 3, "on_end": 1}
    assert len(caplog.records) == 1
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(otr.ExperimentSpanProcessor(None))
    provider.get_tracer("x").start_span("s").end()


# -- the exporter ---------------------------------------------------------------------


def pipeline(store: Any, kind: Any, experiment: Any = None) -> tuple[TracerProvider, otr.ExperimentExporter]:
    exporter = otr.ExperimentExporter(store, experiment)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kind(exporter))
    return provider, exporter


@pytest.mark.parametrize("kind", [BatchSpanProcessor, SimpleSpanProcessor])
@pytest.mark.parametrize("store", ["disk", "memory"])
def test_the_exporter_behind_the_sdks_processors(tmp_path: Path, kind: Any, store: str) -> None:
    """Every exported span is in the named experiment, whole, with its ledger; the experiment ends with the exporter."""
    kept = DiskStore(tmp_path) if store == "disk" else MemoryStore()
    provider, exporter = pipeline(kept, kind, ID)
    tracer = provider.get_tracer("app", "2.0")
    for number in range(25):
        with tracer.start_as_current_span("parent", attributes={"number": number}):
            tracer.start_span("child").end()
    provider.shutdown()
    rows = kept.scan(ID).collect()
    assert rows.height == 50
    assert set(rows["scope"]) == {"app"}
    assert set(rows["experiment_source"]) == {"exporter"}
    assert set(rows.filter(pl.col("name") == "child")["parent_span_id"]) == set(
        rows.filter(pl.col("name") == "parent")["span_id"]
    )
    told = exporter.ledger()
    assert (told.received, told.stored, told.lost_total) == (50, 50, 0)
    assert told.is_balanced
    with recording(kept):
        exp = otr.get_experiment(ID)
        assert (exp.name, exp.state, exp.ended_by) == ("exported", "stopped", "user")
        assert exp.spans().collect().height == 50
        kept_ledger = exp.ledger()
        assert (kept_ledger.received, kept_ledger.stored, kept_ledger.started) == (50, 50, 0)
        assert kept_ledger.is_balanced


def test_attributes_name_the_experiment_first(tmp_path: Path) -> None:
    """A span that names its experiment goes there with its labels; the others to the exporter's, or nowhere."""
    other = "cd" * 16
    labels = {
        "experiment.id": other, "experiment.name": "named", "experiment.condition": "a", "experiment.item.id": "q1",
        "experiment.trial.id": "12" * 8, "experiment.repetition": 2, "experiment.factor.prompt": "cot",
        "experiment.aside": "judge", "session.id": "s1",
    }  # fmt: skip
    provider, _ = pipeline(f"disk:{tmp_path}", SimpleSpanProcessor, ID)
    provider.get_tracer("x").start_span("named", attributes=labels).end()
    provider.get_tracer("x").start_span("default").end()
    store = DiskStore(tmp_path)
    (row,) = store.scan(other).collect().to_dicts()
    assert [row[name] for name in ("condition", "item_id", "trial_id", "repetition", "aside", "session_id")] == [
        "a", "q1", "12" * 8, 2, "judge", "s1",
    ]  # fmt: skip
    assert (row["factors"], row["experiment_source"]) == ('{"prompt":"cot"}', "attributes")
    assert store.get_experiment(other).name == "named"
    assert store.scan(ID).collect()["name"].to_list() == ["default"]

    provider, exporter = pipeline(f"disk:{tmp_path}", SimpleSpanProcessor)
    provider.get_tracer("x").start_span("nobody's").end()
    assert exporter.ledger().outside == 1
    assert store.scan().collect().height == 2


def test_a_span_that_names_nonsense_does_not_cost_its_neighbours(tmp_path: Path) -> None:
    """An impossible id (a path, a number) counts as none; the rest of the batch is stored."""
    provider, exporter = pipeline(f"disk:{tmp_path}", BatchSpanProcessor)
    for named in ("../../etc", "", 7, ID):
        provider.get_tracer("x").start_span("s", attributes={"experiment.id": named}).end()
    provider.force_flush()
    assert (exporter.ledger().stored, exporter.ledger().outside) == (1, 3)
    assert [path.name for path in tmp_path.iterdir()] == [ID]
    provider.shutdown()


def test_the_exporter_and_the_processor_into_one_store_store_once(tmp_path: Path) -> None:
    """The same spans by both ways are one set of rows; the second copies are duplicates."""
    with recording(f"disk:{tmp_path}") as (recorder, provider):
        provider.add_span_processor(SimpleSpanProcessor(otr.ExperimentExporter(recorder.library.store)))
        with otr.experiment("twice") as exp:
            for _ in range(5):
                provider.get_tracer("x").start_span("s").end()
            provider.force_flush()
        provider.shutdown()
    assert exp.spans().collect().height == 5
    told = exp.ledger()
    assert (told.ended, told.received, told.stored, told.duplicates) == (5, 5, 5, 5)
    assert told.is_balanced


class Refusing(MemoryStore):
    """A store that fails."""

    def open_log(self, *arguments: Any, **named: Any) -> Any:
        raise OSError("no")


def test_an_export_that_fails_says_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Only what is stored is SUCCESS; the loss is counted with its reason."""
    exporter = otr.ExperimentExporter(Refusing(), ID)
    span = TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("s")
    span.end()
    assert exporter.export([span]) is SpanExportResult.FAILURE  # type: ignore[list-item]
    assert exporter.ledger().lost == {"store_error": 1}
    assert exporter.ledger().is_balanced
    exporter.shutdown()
    assert exporter.export([span]) is SpanExportResult.FAILURE  # type: ignore[list-item]
    assert exporter.ledger().lost == {"store_error": 1, "shut_down": 1}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_exporter_in_a_forked_child(tmp_path: Path, wait_for: Callable[[int], None]) -> None:
    """A child writes to a segment of its own: both processes' spans are stored."""
    provider, exporter = pipeline(f"disk:{tmp_path}", SimpleSpanProcessor, ID)
    provider.get_tracer("x").start_span("before").end()
    child = os.fork()
    if child == 0:
        provider.get_tracer("x").start_span("child").end()
        exporter.force_flush()
        os._exit(0)
    wait_for(child)
    provider.get_tracer("x").start_span("after").end()
    exporter.force_flush()
    store = DiskStore(tmp_path)
    assert sorted(store.scan(ID).collect()["name"]) == ["after", "before", "child"]
    assert sum(told["received"] for told in store.ledgers(ID)) == 3
    provider.shutdown()


def test_an_exporter_takes_an_experiment_or_its_id(host: Any) -> None:
    """The handle stands for its id; anything that cannot be an id is refused at once."""
    with otr.experiment("handle") as exp:
        assert otr.ExperimentExporter("memory:", exp)._default == exp.id
    with pytest.raises(otr.ConfigurationError, match="not an experiment id"):
        otr.ExperimentExporter("memory:", "../x")
