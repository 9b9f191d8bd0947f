"""Which span of a pattern a call belongs to, by climbing the tree of spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_KEY = ["trace_id", "span_id"]


def attribute(name: str) -> pl.Expr:
    """An attribute's value as text; null where the span does not have it."""
    import polars as pl

    return pl.col("attributes").str.json_path_match(f"$['{name}']")


def flag(name: str) -> pl.Expr:
    """A yes/no attribute."""
    return attribute(name) == "true"


def number(name: str) -> pl.Expr:
    """A numeric attribute."""
    import polars as pl

    return attribute(name).cast(pl.Float64, strict=False)


def read(spans: pl.LazyFrame, names: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The spans with these names, and every model call with the nearest of them above it.

    The calls come as `trace_id, owner` (the span id of the nearest), `cost_usd`.
    """
    import polars as pl

    present = set(spans.collect_schema().names())
    mine = spans.filter(pl.col("name").is_in(list(names))).collect()
    if mine.is_empty() or not {"is_call", "cost_usd"} <= present:
        return mine, pl.DataFrame(schema={"trace_id": pl.String, "owner": pl.String, "cost_usd": pl.Float64})
    traces = mine.select("trace_id").unique().lazy()
    edges = spans.select(*_KEY, "parent_span_id").join(traces, on="trace_id", how="semi").collect()
    calls = spans.filter(pl.col("is_call")).select("trace_id", "parent_span_id", "cost_usd").collect()
    return mine, _owned(calls, edges, mine.select(*_KEY))


def _owned(calls: pl.DataFrame, edges: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """Each call with the first owner on its way to the root; calls under none are left out."""
    import polars as pl

    climbing = calls.join(owners.select("trace_id").unique(), on="trace_id", how="semi")
    climbing = climbing.rename({"parent_span_id": "owner"})
    targets = owners.rename({"span_id": "owner"})
    parents = edges.rename({"span_id": "owner"})
    found = []
    # A path cannot be longer than the tree has spans; a damaged one with a cycle ends there too.
    for _ in range(edges.height + 1):
        found.append(climbing.join(targets, on=["trace_id", "owner"], how="semi"))
        climbing = climbing.join(targets, on=["trace_id", "owner"], how="anti")
        climbing = climbing.join(parents, on=["trace_id", "owner"], how="inner")
        climbing = climbing.select("trace_id", pl.col("parent_span_id").alias("owner"), "cost_usd")
        climbing = climbing.filter(pl.col("owner").is_not_null())
        if climbing.is_empty():
            break
    return pl.concat([one.select("trace_id", "owner", "cost_usd") for one in found])


def costs(calls: pl.DataFrame) -> pl.DataFrame:
    """Per owner: calls, what the priced ones cost, and how many have no price."""
    import polars as pl

    return calls.group_by("trace_id", "owner").agg(
        pl.len().alias("calls"),
        pl.col("cost_usd").sum().alias("priced_usd"),
        pl.col("cost_usd").null_count().alias("unpriced"),
    )


def rate(part: int, whole: int) -> float | None:
    """A share; None where there is nothing to take it of."""
    return part / whole if whole else None
