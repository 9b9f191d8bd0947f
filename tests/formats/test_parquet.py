"""Parquet export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from otel_research.formats import export
from otel_research.formats.parquet import COMPRESSIONS
from otel_research.spans import schema

Spans = Callable[..., pl.LazyFrame]


def test_parquet_is_the_frame(spans: Spans, tmp_path: Path) -> None:
    """Columns, types, values and order of spans() come back equal."""
    frame = spans({}, {"cost_usd": None}, {"attributes": {"nan": float("nan")}})
    path = export(frame, "parquet", tmp_path / "spans.parquet")
    assert_frame_equal(pl.read_parquet(path), frame.collect())
    assert pl.read_parquet_schema(path) == dict(schema.polars_schema())


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("is_computed", [False, True])
def test_every_compression_is_what_the_file_uses(
    spans: Spans, tmp_path: Path, compression: str, is_computed: bool
) -> None:
    """The codec in the file is the one that was asked for, with Python transformers and without."""
    transformers = {"x": lambda row: 1} if is_computed else None
    path = export(spans({}), "parquet", tmp_path / "x.parquet", compression=compression, transformers=transformers)
    codec = pq.ParquetFile(path).metadata.row_group(0).column(0).compression.lower()
    assert codec.startswith(compression)


def test_computed_columns_get_the_type_of_all_their_values(spans: Spans, tmp_path: Path) -> None:
    """A value far down decides as well: whole numbers with one fraction are floats, a mixture is JSON text."""
    frame = spans(*[{}] * 3)
    path = export(
        frame,
        "parquet",
        tmp_path / "x.parquet",
        columns=["span_id"],
        transformers={
            "number": lambda row: [1, 2, 0.5][row["n"]],
            "mixed": lambda row: [1, "a", None][row["n"]],
            "nothing": lambda row: None,
        },
    )
    read = pl.read_parquet(path)
    assert read["number"].to_list() == [1.0, 2.0, 0.5]
    assert read["mixed"].to_list() == ["1", '"a"', None]
    assert read["nothing"].to_list() == [None] * 3
    assert read.columns == ["span_id", "number", "mixed", "nothing"]


def test_attributes_can_be_columns(spans: Spans, tmp_path: Path) -> None:
    """An attribute key is a column of its own type when it is asked for by name."""
    frame = spans({"attributes": {"n": 7, "status": "s"}}, {"attributes": {}})
    read = pl.read_parquet(export(frame, "parquet", tmp_path / "x", columns=["n", "attr.status", "timestamp"]))
    assert read.schema["n"] == pl.Int64
    assert read.select("n", "attr.status").rows() == [(7, "s"), (None, None)]
