"""Doubles and contract suites: the ones this project's own tests use, for yours.

    from otel_research.testing import StoreContract

    class TestMyStore(StoreContract):
        def open_store(self, folder):
            return MyStore(folder / "spans.db")

Needs pytest only where a suite is run; importing it does not.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator

from otel_research.errors import StoreClosed
from otel_research.recorder import Recorder, configure
from otel_research.spans.schema import RAW, STORED, names, polars_schema
from otel_research.store.base import Store

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


class SequentialIds(IdGenerator):
    """Ids 1, 2, 3, ...: whole outputs can be compared with a snapshot."""

    def __init__(self) -> None:
        self._traces = itertools.count(1)
        self._spans = itertools.count(1)

    def generate_trace_id(self) -> int:
        """The next number."""
        return next(self._traces)

    def generate_span_id(self) -> int:
        """The next number."""
        return next(self._spans)


class SlowBackend(SpanExporter):
    """An exporter that takes `seconds` for every batch, as a backend far away or in trouble does."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.received = 0
        """Spans of the batches that it took."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait, then take them."""
        time.sleep(self.seconds)
        self.received += len(spans)
        return SpanExportResult.SUCCESS


@contextmanager
def recording(store: str | Store = "memory:", **settings: Any) -> Iterator[tuple[Recorder, TracerProvider]]:
    """A recorder on a provider of its own, for a block; the global provider is not touched.

    Yields (recorder, provider). Experiments that still run at the end are stopped.
    """
    provider = settings.pop("provider", None) or TracerProvider(shutdown_on_exit=False)
    recorder = configure(store=store, provider=provider, **settings)
    try:
        yield recorder, provider
    finally:
        recorder.close()


def rows(count: int = 3, experiment_id: str = "e" * 32, first: int = 0, **columns: Any) -> pl.DataFrame:
    """Valid rows with all stored columns: chat calls, one trace each, a millisecond apart.

    `first` offsets ids and times; a keyword sets a RAW column to one value or to a list of values.
    """
    import polars as pl

    from otel_research import semconv

    made = [_row(experiment_id, first + index) for index in range(count)]
    frame = pl.DataFrame(made, schema=polars_schema(RAW))
    for name, value in columns.items():
        values = value if isinstance(value, list) else [value] * count
        frame = frame.with_columns(pl.Series(name, values, dtype=polars_schema(RAW)[name]))
    return semconv.normalise(frame.lazy()).collect().select(names(STORED))


def batch(frame: pl.DataFrame) -> pa.RecordBatch:
    """Rows as the record batch that `Store.append` takes."""
    import pyarrow as pa

    table = frame.to_arrow(compat_level=None).combine_chunks()
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _row(experiment_id: str, index: int) -> dict[str, Any]:
    start = 1_700_000_000_000_000_000 + index * 1_000_000
    usage = '"gen_ai.usage.input_tokens":10,"gen_ai.usage.output_tokens":5'
    return {
        "experiment_id": experiment_id,
        "condition": "a" if index % 2 else "b",
        "experiment_source": "context",
        "sample_weight": 1.0,
        "trace_id": f"{index + 1:032x}",
        "span_id": f"{index + 1:016x}",
        "name": "chat gpt-4o-mini",
        "kind": "client",
        "start_ns": start,
        "end_ns": start + 500_000,
        "status": "unset",
        "scope": "testing",
        "is_sampled": True,
        "attributes": f'{{"gen_ai.operation.name":"chat","gen_ai.request.model":"gpt-4o-mini",{usage}}}',
        "dropped_attributes": 0,
        "dropped_events": 0,
        "dropped_links": 0,
    }


class StoreContract:
    """What every store guarantees; subclass it, give `open_store`, and let pytest collect it.

    `open_store(folder)` opens the store kept in (or named by) `folder`; called twice with the same
    folder it opens the same data again, if `is_durable`.
    """

    is_durable = True

    def open_store(self, folder: Path) -> Store:
        """Open the store under test."""
        raise NotImplementedError

    @staticmethod
    def _read(store: Store, experiment_id: str | None = None) -> pl.DataFrame:
        return store.scan(experiment_id).select(names(STORED)).sort("start_ns", "span_id").collect()

    def test_what_was_appended_comes_back_unchanged(self, tmp_path: Path) -> None:
        """Every stored column of every row comes back equal."""
        store, given = self.open_store(tmp_path), rows(5)
        store.append(batch(given))
        assert self._read(store, "e" * 32).equals(given.sort("start_ns", "span_id"))
        store.close()

    def test_the_same_batch_again_changes_nothing(self, tmp_path: Path) -> None:
        """Appending is idempotent."""
        store, given = self.open_store(tmp_path), rows(5)
        store.append(batch(given))
        store.append(batch(given))
        assert self._read(store).height == 5
        store.close()

    def test_overlapping_batches_keep_each_row_once(self, tmp_path: Path) -> None:
        """A row that another batch brought is not stored a second time."""
        store = self.open_store(tmp_path)
        store.append(batch(rows(4)))
        store.append(batch(rows(4, first=2)))
        assert self._read(store)["span_id"].to_list() == [f"{index:016x}" for index in range(1, 7)]
        store.close()

    def test_an_ended_row_replaces_an_interrupted_one(self, tmp_path: Path) -> None:
        """The end of a span wins over its interruption, in whichever order they come."""
        store, ended = self.open_store(tmp_path), rows(2)
        interrupted = rows(2, status="interrupted", end_ns=None)
        store.append(batch(interrupted.head(1)))
        store.append(batch(ended))
        store.append(batch(interrupted))
        assert self._read(store)["status"].to_list() == ["unset", "unset"]
        assert self._read(store)["end_ns"].null_count() == 0
        store.close()

    def test_the_first_of_two_ended_rows_wins(self, tmp_path: Path) -> None:
        """A second ended row of the same identity changes nothing."""
        store = self.open_store(tmp_path)
        store.append(batch(rows(1)))
        store.append(batch(rows(1, name="second")))
        assert self._read(store)["name"].to_list() == ["chat gpt-4o-mini"]
        store.close()

    def test_one_span_may_be_in_two_experiments(self, tmp_path: Path) -> None:
        """Identity includes the experiment: one file imported into two is in both."""
        store = self.open_store(tmp_path)
        store.append(batch(rows(2, "a" * 32)))
        store.append(batch(rows(2, "b" * 32)))
        assert self._read(store, "a" * 32).height == self._read(store, "b" * 32).height == 2
        store.close()

    def test_an_unknown_experiment_has_no_rows(self, tmp_path: Path) -> None:
        """Scanning an unknown id gives no rows, with all columns."""
        store = self.open_store(tmp_path)
        assert self._read(store, "f" * 32).shape == (0, len(STORED))
        store.close()

    def test_first_rows_and_filters_are_taken_in_their_order(self, tmp_path: Path) -> None:
        """The first rows of what a filter leaves, or what it leaves of the first rows."""
        store = self.open_store(tmp_path)
        store.append(batch(rows(10)))
        import polars as pl

        scan, some = store.scan("e" * 32), pl.col("condition") == "a"
        assert scan.head(1).filter(some).collect().height <= 1
        assert scan.filter(some).head(3).collect().height == 3
        store.close()

    def test_odd_values_survive(self, tmp_path: Path) -> None:
        """Quotes, newlines, other scripts, long text, extreme integers and nulls come back as they were."""
        text = ["'; DROP TABLE spans; --", 'a "quoted", cell\nand a line', "日本語 \u202e עברית 🙂", "x" * 100_000]
        store = self.open_store(tmp_path)
        given = rows(4, name=text, condition=[None, "", "=1+1", "\\N"], mono_start_ns=[-(2**63), 2**63 - 1, 0, None])
        store.append(batch(given))
        assert self._read(store).equals(given.sort("start_ns", "span_id"))
        store.close()

    def test_an_empty_batch_is_nothing(self, tmp_path: Path) -> None:
        """A batch without rows changes nothing and is no error."""
        store = self.open_store(tmp_path)
        store.append(batch(rows(0)))
        assert self._read(store).is_empty()
        store.close()

    def test_delete_forgets_only_that_experiment(self, tmp_path: Path) -> None:
        """The others stay; deleting an unknown experiment does nothing."""
        store = self.open_store(tmp_path)
        store.append(batch(rows(2, "a" * 32)))
        store.append(batch(rows(2, "b" * 32)))
        store.delete("a" * 32)
        store.delete("c" * 32)
        assert self._read(store, "a" * 32).is_empty()
        assert self._read(store, "b" * 32).height == 2
        store.close()

    def test_close_is_idempotent_and_final(self, tmp_path: Path) -> None:
        """Closing twice is fine; appending afterwards raises StoreClosed."""
        store = self.open_store(tmp_path)
        store.close()
        store.close()
        try:
            store.append(batch(rows(1)))
        except StoreClosed:
            return
        raise AssertionError("append after close must raise StoreClosed")

    def test_concurrent_writers_lose_and_double_nothing(self, tmp_path: Path) -> None:
        """Threads that append overlapping batches leave each row once."""
        store = self.open_store(tmp_path)
        failures: list[BaseException] = []

        def write(offset: int) -> None:
            try:
                for first in range(offset, offset + 40, 10):
                    store.append(batch(rows(20, first=first)))
            except BaseException as error:
                failures.append(error)

        threads = [Thread(target=write, args=(offset,)) for offset in (0, 20, 40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert self._read(store)["span_id"].to_list() == [f"{index:016x}" for index in range(1, 91)]
        store.close()

    def test_concurrent_appends_are_all_there_when_they_return(self, tmp_path: Path) -> None:
        """Threads that append a row at a time, each batch another one, lose none of them."""
        store, every = self.open_store(tmp_path), batch(rows(160))
        made = [[every.slice(10 * n + m, 1) for m in range(10)] for n in range(16)]

        def write(batches: list[pa.RecordBatch]) -> None:
            for one in batches:
                store.append(one)

        with ThreadPoolExecutor(len(made)) as pool:
            list(pool.map(write, made))
        assert self._read(store)["span_id"].to_list() == [f"{index:016x}" for index in range(1, 161)]
        store.close()

    def test_what_was_appended_survives_closing(self, tmp_path: Path) -> None:
        """A durable store opened again holds what it held; one that is not says so by `is_durable`."""
        store, given = self.open_store(tmp_path), rows(3)
        store.append(batch(given))
        store.close()
        again = self.open_store(tmp_path)
        assert self._read(again).equals(given.sort("start_ns", "span_id")) == self.is_durable
        again.close()
