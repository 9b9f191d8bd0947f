"""One row per span: what a store does with rows that share an identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_research.spans.schema import IDENTITY, STORED, names, polars_schema

if TYPE_CHECKING:
    import polars as pl


def once(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Each identity once: an ended row before an interrupted one, else the first."""
    import polars as pl

    is_interrupted = pl.col("status").eq_missing("interrupted")
    ended_first = pl.concat([frame.filter(~is_interrupted), frame.filter(is_interrupted)])
    return ended_first.unique(subset=list(IDENTITY), keep="first", maintain_order=True)


def is_distinct(frame: pl.LazyFrame) -> bool:
    """Whether no two rows share an identity, told by 64 bits of each: rows that share those may differ all the same.

    So a yes is certain, and a no (one in a million times at ten million rows) only costs time.
    """
    import polars as pl

    hashed = pl.lit(0, dtype=pl.UInt64)
    for number, name in enumerate(IDENTITY):
        hashed = hashed ^ pl.col(name).hash(number)
    counts = frame.select(pl.len().alias("rows"), hashed.n_unique().alias("spans")).collect(engine="streaming")
    return bool(counts["rows"][0] == counts["spans"][0])


def nothing() -> pl.LazyFrame:
    """No rows, all stored columns."""
    import polars as pl

    return pl.LazyFrame(schema=polars_schema(STORED))


def as_stored(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The stored columns in their order; one that an older version did not write is null."""
    import polars as pl

    types = polars_schema(STORED)
    present = set(frame.collect_schema().names())
    return frame.select(
        pl.col(name).cast(types[name]) if name in present else pl.lit(None, dtype=types[name]).alias(name)
        for name in names(STORED)
    )
