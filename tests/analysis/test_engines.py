"""Other engines give the numbers of Polars: DuckDB and Spark (Sail, by Spark Connect)."""

from __future__ import annotations

import socket
import sys
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_research import calculate_metrics, compare, metrics_by, time_series
from otel_research.analysis import engine, quantiles
from otel_research.analysis.engines.chosen import engine_of
from otel_research.analysis.engines.spark import connected
from otel_research.analysis.result import Result
from otel_research.analysis.series import METRICS
from otel_research.errors import ConfigurationError, MissingExtra

SECOND = 1_000_000_000
CLOSE = 1e-12
"""Sums of floating-point numbers depend on their order, in the last digits."""


@pytest.fixture(scope="module")
def sail() -> Iterator[str]:
    """The address of a Sail server, which speaks Spark Connect."""
    from pysail.spark import SparkConnectServer

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        # A worker of a parallel run has a main module without a file, which pyspark takes for its own doctests.
        patched.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
        warnings.simplefilter("ignore")
        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
        host, port = server.listening_address[:2]
        yield f"sc://{host}:{port}"
        server.stop()


@pytest.fixture(scope="module")
def spark(sail: str) -> Iterator[Any]:
    """A session of it: the one that its address means."""
    session = connected(sail)
    yield session
    session.stop()
    connected.cache_clear()


@pytest.fixture(params=["duckdb", "spark"])
def other(request: pytest.FixtureRequest) -> Any:
    return "duckdb" if request.param == "duckdb" else request.getfixturevalue("spark")


def calls(n: int, seed: int = 0, *, is_weighted: bool = False, has_timeouts: bool = False) -> pl.LazyFrame:
    """Calls with everything that a metric looks at: missing values, failures, asides, records, two conditions and none."""
    rng = np.random.default_rng(seed)
    start = 1_795_414_056_000_000_000 + np.sort(rng.integers(0, 3600 * SECOND, n))
    latency = rng.lognormal(6, 0.8, n)
    failed = rng.random(n) < 0.1
    numbers = np.arange(n)
    return pl.LazyFrame(
        {
            "experiment_id": ["e" * 32] * n,
            "trace_id": [f"{number:032x}" for number in numbers],
            "span_id": [f"{number:016x}" for number in numbers],
            "role": np.where(numbers % 50 == 7, "record", "call"),
            "is_call": numbers % 50 != 7,
            "condition": [("a", "b", None)[number % 3] for number in numbers],
            "aside": [None if number % 20 else "judge" for number in numbers],
            "item_id": [f"item {number % 40}" for number in numbers],
            "start_ns": start,
            "end_ns": start + (latency * 1e6).astype(np.int64),
            "ttft_ms": [None if number % 4 == 0 else float(x) / 5 for number, x in enumerate(latency)],
            "status": [
                "interrupted" if number % 97 == 0 else "error" if bad else "ok" for number, bad in zip(numbers, failed, strict=True)
            ],
            "error_type": [("RateLimit", "Server")[number % 2] if bad else None for number, bad in zip(numbers, failed, strict=True)],
            "error_kind": ["timeout" if bad and has_timeouts else "server" if bad else None for bad in failed],
            "request_model": [("gpt-4o", "claude", "own model")[number % 3] for number in numbers],
            "input_tokens": [None if number % 11 == 0 else int(x) for number, x in enumerate(rng.integers(10, 5000, n))],
            "output_tokens": [None if number % 13 == 0 else int(x) for number, x in enumerate(rng.integers(1, 900, n))],
            "cache_read_tokens": [int(number) if number % 2 else None for number in numbers],
            "cost_nano_usd": [None if number % 3 == 2 else int(x) for number, x in enumerate(rng.integers(10**5, 10**9, n))],
            "sample_weight": rng.choice([1.0, 2.0, 10.0], n) if is_weighted else np.ones(n),
        }
    )  # fmt: skip


EXACT = ("count", "p50", "p90", "p95", "p99", "p99_9", "median", "min", "max", "iqr", "mad", "total_nano_usd", "priced")


def assert_same(one: Result, two: Result) -> None:
    """Field by field; counts, extremes and quantiles to the bit, sums and means up to rounding."""
    left, right = one.rows(), two.rows()
    assert [row["field"] for row in left] == [row["field"] for row in right]
    for a, b in zip(left, right, strict=True):
        name = a["field"].rpartition(".")[2]
        for side in ("value", "low", "high"):
            if isinstance(a.get(side), float) and name not in EXACT:
                assert b[side] == pytest.approx(a[side], rel=CLOSE), a["field"]
            else:
                assert a.get(side) == b.get(side), a["field"]
        assert a.get("reason") == b.get("reason"), a["field"]
    assert one.data_hash == two.data_hash  # type: ignore[attr-defined]


@pytest.mark.parametrize("unit", ["call", "span", pl.col("item_id")], ids=str)
def test_every_metric(other: Any, unit: Any) -> None:
    """Every number of `calculate_metrics`, its interval and its reason, for each unit of analysis."""
    spans = calls(1500)
    polars, there = calculate_metrics(spans, unit=unit), calculate_metrics(spans, unit=unit, engine=other)
    assert "polars" not in there.method
    assert polars.latency is not None
    assert polars.latency.count > 0
    assert_same(polars, there)


def test_every_metric_by_group(other: Any) -> None:
    """The same by group, the group of rows without a condition included."""
    spans = calls(1500)
    polars, there = (metrics_by(spans, ["condition", "request_model"], engine=e) for e in (None, other))
    assert polars.keys() == there.keys()
    assert len(polars) == 3
    for key in polars:
        assert_same(polars[key], there[key])


@pytest.mark.parametrize("odd", [{"is_weighted": True}, {"has_timeouts": True}], ids=str)
def test_weights_and_timeouts(other: Any, odd: dict[str, bool]) -> None:
    """Where values are looked at one by one, the numbers are the same too."""
    spans = calls(900, **odd)
    assert_same(calculate_metrics(spans), calculate_metrics(spans, engine=other))


def test_nothing_at_all(other: Any) -> None:
    """No rows, no usable durations: the same absences with the same reasons."""
    spans = calls(60)
    for frame in (spans.filter(pl.lit(False)), spans.with_columns(duration_ms=pl.lit(None, pl.Float64))):
        assert_same(calculate_metrics(frame), calculate_metrics(frame, engine=other))


@pytest.mark.parametrize("metric", METRICS)
def test_every_series(other: Any, metric: str) -> None:
    """Every metric of `time_series`, whole and by group."""
    spans = calls(3000)
    for by in (None, "condition"):
        polars, there = (time_series(spans, metric, "5m", by=by, engine=e) for e in (None, other))
        assert polars.height > 10
        exact = [name for name in polars.columns if not polars[name].dtype.is_float()]
        assert there.select(exact).equals(polars.select(exact), null_equal=True)
        for name in set(polars.columns) - set(exact):
            for a, b in zip(polars[name], there[name], strict=True):
                assert a == b or b == pytest.approx(a, rel=CLOSE), name


DESIGNS: dict[str, dict[str, Any]] = {
    "paired": {},
    "clustered": {"paired": False},
    "independent": {"drop": "item_id"},
    "means": {"estimand": "mean", "equivalence": "5%", "drop": "item_id"},
    "p90": {"estimand": "p90"},
    "weights": {"is_weighted": True, "paired": False},
    "timeouts": {"has_timeouts": True},
}


@pytest.mark.parametrize("design", DESIGNS)
def test_every_comparison(other: Any, design: str) -> None:
    """Every number of `compare`, whatever the design: quantiles to the bit, what sums enter up to rounding."""
    options = dict(DESIGNS[design])
    made = {name: options.pop(name) for name in ("is_weighted", "has_timeouts") if name in options}
    spans = calls(1200, **made)
    if dropped := options.pop("drop", None):
        spans = spans.with_columns(pl.lit(None, pl.String).alias(dropped))
    # Trace ids tell every call apart, so that nothing but items groups them.
    arms = [spans.filter(condition=name) for name in "ab"]
    polars, there = (compare(*arms, engine=engine, **options) for engine in (None, other))
    assert {effect.design for effect in polars.effects.values()} <= {"paired", "clustered", "independent"}
    assert len(polars.effects) == 5
    assert "polars" not in there.method
    left, right = (flat(result.to_dict()) for result in (polars, there))
    assert left.keys() == right.keys()
    for path, value in left.items():
        if path.endswith((".method", ".methods")):
            continue  # Which function computed it, and where.
        if ".quantiles." in path and ".ci." not in path:
            assert right[path] == value, path
        elif isinstance(value, float):
            assert right[path] == pytest.approx(value, rel=1e-9, abs=1e-12), path
        else:
            assert right[path] == value, path


def test_what_is_equal_stays_equal(other: Any) -> None:
    """Costs that are the same in both arms, in another order, differ by nothing; constants do not seem to vary."""
    one = calls(1200).with_columns(
        is_call=True, role=pl.lit("call"), aside=None, cost_nano_usd=pl.col("start_ns") % 10**9
    )
    two = one.with_columns(pl.col("cost_nano_usd").reverse().over("item_id"))
    for engine_ in (None, other):
        found = compare(one, two, metrics="cost", engine=engine_)
        assert found.effects["cost"].design == "paired"
        assert found.effects["cost"].mean.difference == 0
        assert found.effects["cost"].test.p_value is None
    flat = [one.with_columns(duration_ms=0.1 * k, item_id=None) for k in (1, 2)]
    here, there = (compare(*flat, metrics="latency", paired=False, engine=engine_) for engine_ in (None, other))
    assert here.reasons == there.reasons
    assert here.effects["latency"].test == there.effects["latency"].test


def test_a_comparison_asks_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a t test needs comes from the engine and not from the values here: an engine that is wrong is believed."""
    from otel_research.analysis.engines.duckdb import DuckDB

    spans = calls(900).with_columns(item_id=pl.lit(None, pl.String))
    arms = [spans.filter(condition=name) for name in "ab"]
    straight = compare(*arms, metrics="latency", estimand="mean")
    take = DuckDB.take
    monkeypatch.setattr(DuckDB, "take", lambda self, table: take(self, table.with_columns(pl.col("value") * 2)))
    doubled = compare(*arms, metrics="latency", estimand="mean", engine="duckdb")
    told, real = (result.effects["latency"] for result in (doubled, straight))
    assert told.mean.difference == pytest.approx(2 * real.mean.difference)
    assert told.quantiles["p95"].baseline == 2 * real.quantiles["p95"].baseline
    assert told.test.statistic == pytest.approx(real.test.statistic)


def flat(data: Any, path: str = "") -> dict[str, Any]:
    """Every value of nested data by its path."""
    if isinstance(data, dict):
        return {key: value for name in data for key, value in flat(data[name], f"{path}.{name}").items()}
    if isinstance(data, (list, tuple)):
        return {key: value for at, part in enumerate(data) for key, value in flat(part, f"{path}[{at}]").items()}
    return {path: data}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.floats(allow_nan=False, allow_infinity=False, width=64), st.sampled_from([0.0, 1.0, 1.0, -1.0, 250.0]), st.none()),
        min_size=1,
        max_size=60,
    )
)  # fmt: skip
def test_quantiles_are_those_of_polars_to_the_bit(sample: list[float | None]) -> None:
    """Two passes give what a sort gives, whatever the values: ties, zeros, negative, tiny and huge ones."""
    table = pl.DataFrame({"x": sample, "g": [None, "a"] * (len(sample) // 2) + ["a"] * (len(sample) % 2)})
    table = table.with_columns(pl.col("x").cast(pl.Float64), pl.col("g").cast(pl.String))
    found = quantiles.linear(engine_of("duckdb").take(table), ["g"], "x", engine.PLACES)  # type: ignore[union-attr]
    for (key,), part in table.drop_nulls("x").group_by("g"):
        wanted = {name: part["x"].quantile(p, "linear") for name, p in engine.PLACES.items()}
        assert found[(key,)] == wanted


def test_a_full_cell_is_divided(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that lie too close for one cell are counted finer, so that memory stays bounded; the result is the same."""
    brought: list[int] = []
    collected = engine.collected

    def watched(frame: nw.LazyFrame[Any]) -> pl.DataFrame:
        found = collected(frame)
        if "quantile_value" in found.columns:
            brought.append(found.height)
        return found

    monkeypatch.setattr(quantiles, "MOST_VALUES", 50)
    monkeypatch.setattr(engine, "collected", watched)
    table = pl.DataFrame({"x": 1000 + np.random.default_rng(1).random(20_000)})
    found = quantiles.linear(engine_of(other).take(table), [], "x", engine.PLACES)[()]  # type: ignore[union-attr]
    assert found == {name: table["x"].quantile(p, "linear") for name, p in engine.PLACES.items()}
    assert sum(brought) < 1000


def test_an_engine_that_is_none() -> None:
    """An unknown engine is refused by name."""
    with pytest.raises(ConfigurationError, match="engine='dask' is not an engine"):
        calculate_metrics(calls(10), engine="dask")
    with pytest.raises(ConfigurationError, match="engine='dask' is not an engine"):
        compare([1.0, 2.0], [3.0, 4.0], engine="dask")


def test_a_spark_server_by_its_address(sail: str, spark: Any) -> None:
    """ "sc://HOST:PORT" is a Spark Connect server; an address that cannot be one is an error that says so."""
    assert_same(calculate_metrics(calls(200)), calculate_metrics(calls(200), engine=sail))
    for address in ("sc://127.0.0.1:1", "sc://", "sc://host:port"):
        with pytest.raises(ConfigurationError, match="no Spark Connect server answers"):
            calculate_metrics(calls(10), engine=address)


def test_a_pyspark_without_its_connect_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyspark alone does not bring pandas and gRPC's statuses, and says so only when it connects."""

    def create() -> None:
        raise ImportError("[PACKAGE_NOT_INSTALLED] Pandas >= 2.2.0 must be installed; however, it was not found.")

    bare = SimpleNamespace(builder=SimpleNamespace(remote=lambda address: SimpleNamespace(create=create)))
    monkeypatch.setattr("otel_research.analysis.engines.spark._sessions", lambda: bare)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(MissingExtra, match=r"otel-research\[spark\]"):
        connected(f"sc://127.0.0.1:{server.getsockname()[1]}")


def test_spark_keeps_rows_while_they_are_aggregated(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers keep each table that is sent, and may forget it when its numbers are there."""
    from pyspark.sql.connect.dataframe import DataFrame

    kept: list[Any] = []
    released: list[Any] = []
    monkeypatch.setattr(DataFrame, "persist", lambda frame: kept.append(frame) or frame)
    monkeypatch.setattr(DataFrame, "unpersist", lambda frame: released.append(frame))
    calculate_metrics(calls(100), engine=spark)
    assert kept
    assert sorted(map(id, released)) == sorted(map(id, kept))
