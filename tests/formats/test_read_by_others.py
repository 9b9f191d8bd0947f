"""What other programs read from an export is what was recorded. Spark reads in `nox -s cluster`, R in the tests of R."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from otel_research.formats import export

pytestmark = pytest.mark.once  # what pandas and DuckDB read

Spans = Callable[..., pl.LazyFrame]

TEXT = 'a, "quoted"\nsecond line; ünïcode 🙂'
BIG = 2**60 + 1
"""No double holds it."""


@pytest.fixture
def frame(spans: Spans) -> pl.LazyFrame:
    """Text that needs quoting, a number that no double holds, and a span of which hardly anything is known."""
    known = {"attributes": {"prompt": TEXT, "big": BIG}}
    return spans(known, {"cost_usd": None, "input_tokens": None, "duration_ms": None, "end_ns": None, "attributes": {}})


def test_pandas_reads_the_csv(frame: pl.LazyFrame, tmp_path: Path) -> None:
    """Quoted text whole, times as times, numbers as numbers, unknown as missing."""
    pd: Any = pytest.importorskip("pandas")
    read = pd.read_csv(export(frame, "csv", tmp_path / "s.csv"), parse_dates=["timestamp"], dtype={"big": "Int64"})
    assert (read["prompt"][0], read["big"][0]) == (TEXT, BIG)
    assert read["timestamp"][0] == pd.Timestamp("2026-01-01T00:00:00.123456Z")
    assert (read["duration_us"][0], read["cost_usd"][0]) == (1234.567, 0.00125)
    assert read.loc[1, ["duration_us", "cost_usd", "input_tokens", "prompt"]].isna().all()


def test_pandas_reads_the_parquet(frame: pl.LazyFrame, tmp_path: Path) -> None:
    """The same values as Polars, to the nanosecond; unknown is missing."""
    pd: Any = pytest.importorskip("pandas")
    read = pd.read_parquet(export(frame, "parquet", tmp_path / "s.parquet"), dtype_backend="pyarrow")
    expected = frame.collect()
    assert list(read.columns) == expected.columns
    assert read["start_ns"].tolist() == expected["start_ns"].to_list()
    assert read["attributes"][0] == expected["attributes"][0]
    assert read.loc[1, ["duration_ms", "cost_usd", "input_tokens", "end_ns"]].isna().all()


def test_duckdb_reads_the_parquet(frame: pl.LazyFrame, tmp_path: Path) -> None:
    """Every column; an attribute is reached through its JSON, with all digits."""
    duckdb: Any = pytest.importorskip("duckdb")
    path = export(frame, "parquet", tmp_path / "s.parquet")
    asked = "SELECT attributes->>'prompt', CAST(attributes->>'big' AS BIGINT), start_ns, cost_usd FROM read_parquet(?)"
    with duckdb.connect() as connection:
        rows = connection.execute(asked, [str(path)]).fetchall()
        assert [name for name, *_ in connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()] == (
            frame.collect_schema().names()
        )  # fmt: skip
    starts = frame.collect()["start_ns"].to_list()
    assert rows == [(TEXT, BIG, starts[0], 0.00125), (None, None, starts[1], None)]
