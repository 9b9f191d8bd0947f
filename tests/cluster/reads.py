"""Spark reads an exported Parquet file as it was recorded: `python -m tests.cluster.reads`, run by `nox -s cluster`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
from pyspark.sql import SparkSession
from tests.cluster.equal import spans

from otel_research.formats import export
from otel_research.spans import schema

ROWS = 10_000


def main() -> None:
    """Write an export, read it with Spark, and compare every value of every column."""
    made, columns = spans(ROWS).lazy(), schema.polars_schema()
    known = set(made.collect_schema().names())
    whole = made.select(
        (pl.col(name) if name in known else pl.lit(None)).cast(dtype).alias(name) for name, dtype in columns.items()
    )
    with tempfile.TemporaryDirectory() as folder:
        path = export(whole, "parquet", Path(folder) / "spans.parquet")
        spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        read = spark.read.parquet(str(path))
        expected = whole.collect()
        assert read.columns == expected.columns
        got = [tuple(row) for row in read.orderBy("start_ns", "span_id").collect()]
        assert got == expected.sort("start_ns", "span_id").rows()
        spark.stop()
    print(f"Spark read {len(got):,} rows of {len(expected.columns)} columns as they were recorded")


if __name__ == "__main__":
    main()
