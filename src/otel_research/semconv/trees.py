"""What each trace alone says of its calls: which only wrap another, which belong to an evaluation, which were sent again.

Nothing above or below a row is outside its trace, so that traces are read part by part: memory is that of one part,
however many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from otel_research.semconv import doubts, narrow, nesting, transport

AT_ONCE = 1_000_000
"""About so many rows are read together."""
_NO_ROW = pl.lit(None, dtype=pl.UInt32)


class Trees(NamedTuple):
    """About calls, each by its number `row`."""

    wrapped: pl.DataFrame
    """`row` that is left out, `because`, the `keeper` that stands for it (null where several may), the `first` of those."""
    aside: pl.DataFrame
    """`row`: part of an evaluation."""
    doubtful: pl.DataFrame
    """`row`, `doubt`: what may be wrong with its usage."""
    alone: pl.DataFrame
    """`key`, `start_ns` of rows that are no calls: sums with no call below."""
    resent: pl.DataFrame
    """`row`, `attempts`, `backoff_ms`: sent more than once."""


def read(links: pl.LazyFrame, calls: pl.LazyFrame, requests: pl.LazyFrame) -> Trees:
    """`links` of every row; `facts` of those that are calls, numbered `row`, and of those that are requests."""
    each = [_of_part(*part) for part in _parts(links, calls, requests)]
    return Trees(*(pl.concat(frames) for frames in zip(*each, strict=True)))


def _parts(*frames: pl.LazyFrame) -> Iterator[tuple[pl.DataFrame, ...]]:
    """The frames' rows of the same traces together."""
    count = min(narrow.BUCKETS, -(-frames[0].select(pl.len()).collect().item() // AT_ONCE))
    for number in range(count or 1):
        mine = pl.lit(True) if count < 2 else pl.col("bucket").cast(pl.UInt32) * count // narrow.BUCKETS == number
        yield tuple(frame.filter(mine).collect(engine="streaming") for frame in frames)


def _of_part(rows: pl.DataFrame, calls: pl.DataFrame, requests: pl.DataFrame) -> Trees:
    calls = _placed(calls, rows, (rows["part"] == narrow.CALL).arg_true())
    requests = _placed(requests, rows, rows["is_request"].arg_true())
    parent = _parents(rows)
    found = None if parent is None else nesting.nearest(parent, rows["part"] == narrow.CALL, rows["part"])
    calls = calls.with_columns(_above(rows, calls, parent, found))
    pairs, served, nest = nesting.wrapped(calls)
    wrapped = _wrapped(pairs, served)
    return Trees(
        wrapped=wrapped,
        aside=calls.filter("aside").select("row"),
        doubtful=doubts.about(rows, calls, wrapped, nest, parent, found),
        alone=doubts.sums_alone(rows, parent),
        resent=_resent(calls, transport.NONE if found is None else transport.retries(requests, found)),
    )


def _placed(facts: pl.DataFrame, rows: pl.DataFrame, at: pl.Series) -> pl.DataFrame:
    """The facts with the position `at` of their row. A database may tell rows in another order whenever it is asked."""
    keys = rows.select("key", "start_ns")[at]
    if not keys.equals(facts.select("key", "start_ns")):
        at = at.gather(keys.select(pl.arg_sort_by("key", "start_ns")).to_series())
        facts = facts.sort("key", "start_ns")
    return facts.with_columns(at=at)


def _parents(rows: pl.DataFrame) -> pl.Series | None:
    """Position of each row's parent; None where no row has one."""
    return nesting.parents(rows.with_row_index("row")) if rows["parent_key"].null_count() < len(rows) else None


def _above(
    rows: pl.DataFrame, calls: pl.DataFrame, parent: pl.Series | None, found: pl.DataFrame | None
) -> list[pl.Series]:
    """Per call: the number of the nearest call above, what lies between, and whether it is part of an evaluation."""
    at = calls["at"]
    if parent is None or found is None:
        nothing = pl.repeat(None, len(at), dtype=pl.UInt32, eager=True)
        none = {"above": nothing, "crossed": nothing.cast(pl.UInt8), "aside": rows["is_aside"].gather(at)}
        return [series.alias(name) for name, series in none.items()]
    place = pl.repeat(None, len(rows), dtype=pl.UInt32, eager=True).scatter(at, pl.int_range(len(at), eager=True))
    above = calls["row"].gather(nesting.without_circles(place.gather(found["above"].gather(at))))
    aside = nesting.under(parent, rows["is_aside"]).gather(at)
    return [above.alias("above"), found["crossed"].gather(at).alias("crossed"), aside.alias("aside")]


def _wrapped(pairs: pl.DataFrame, served: pl.DataFrame) -> pl.DataFrame:
    """Outer rows that an inner one stands for; inner ones, where only the outer has the usage of several, or that are served.

    `keeper` stands for the row (null where several may), `first` is one of those.
    """
    fit = pl.when(pl.col("succeeded") == 0).then("siblings").otherwise("succeeded")
    pairs = pairs.sort("start", "key").with_columns(fit=fit, is_fit=~pl.col("failed") | (pl.col("succeeded") == 0))
    outer_stays = pl.col("only_outer_counts") & (pl.col("fit") > 1)
    inside = pl.concat([pairs.filter(outer_stays).select("inner", "outer"), served.select("inner", "outer")])
    inner = inside.select(row="inner", because=pl.lit("inner"), keeper="outer", first="outer")
    fits = pl.col("inner").filter("is_fit").first()
    outer = (
        pairs.filter(~outer_stays)
        .group_by("outer", maintain_order=True)
        .agg(
            keeper=pl.when(pl.col("fit").first() == 1).then(fits).otherwise(_NO_ROW),
            first=fits,
            because=pl.lit("wrapper"),
        )
        .select(row="outer", because="because", keeper="keeper", first="first")
    )
    return pl.concat([outer, inner]).unique("row", keep="first", maintain_order=True)


def _resent(calls: pl.DataFrame, resent: pl.DataFrame) -> pl.DataFrame:
    return resent.join(calls.select("at", "row"), on="at", how="inner").select("row", *transport.FACTS)
