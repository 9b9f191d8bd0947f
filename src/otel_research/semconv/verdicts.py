"""The decision of `calls.mark`: which calls stand for another and are left out."""

from __future__ import annotations

import polars as pl

from otel_research.semconv import doubts, transport, trees, twins
from otel_research.semconv.doubts import DOUBT

_REASON = pl.Enum(["wrapper", "inner", "twin", "stream_log", "stream_request", "aside"])
NOTHING = pl.DataFrame(
    schema={
        "id": pl.UInt64,
        "start_ns": pl.Int64,
        "because": _REASON,
        "doubt": DOUBT,
        "attempts": pl.Int64,
        "backoff_ms": pl.Float64,
        "keeper": pl.UInt64,
        "keeper_start_ns": pl.Int64,
    }
)
"""What is decided where nothing is left out or in doubt."""
_CHAIN = 16
"""Rows stand for rows that stand for others at most 2**16 deep."""
_NO_ROW = pl.lit(None, dtype=pl.UInt32)
_MEMBER = ("row", "label", "is_record", "is_log", "is_open", "input", "output", "start", "end", "key", "package")
_NO_TWIN = pl.DataFrame(schema={"row": pl.UInt32, "because": _REASON, "keeper": pl.UInt32})


def decide(links: pl.LazyFrame, calls: pl.LazyFrame, requests: pl.LazyFrame) -> pl.DataFrame:
    """One line per call that is left out (with the one that stands for it) or that carries a doubt.

    `links` and `facts` are those of `narrow`, requests those of `transport`; see `trees.read`. All are read several times.
    """
    calls = calls.with_row_index("row")
    found = trees.read(links, calls, requests)
    wrapped = found.wrapped.drop("first").cast({"because": _REASON})
    left_out = pl.concat([wrapped, _repeated(calls, found.wrapped)]).unique("row", keep="first", maintain_order=True)
    return _lines(calls, left_out, found)


def _repeated(calls: pl.LazyFrame, wrapped: pl.DataFrame) -> pl.DataFrame:
    """Calls that another row, in another trace or beside them, stands for."""
    told = calls.select(pl.col("scope").n_unique(), logs=pl.col("is_log").sum()).collect(engine="streaming")
    scopes, logs = told.row(0)
    if scopes < 2 and not logs:  # As usual: one package, which writes every call once.
        return _NO_TWIN
    others = calls if wrapped.is_empty() else calls.join(wrapped.lazy(), on="row", how="anti")
    linked = [twins.pairs(others)] if scopes > 1 else []
    return _twins(calls, pl.concat([*linked, _logs(calls, wrapped)]) if logs else linked[0])


def _without(calls: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    """The other calls. Where none is left out, which is usual, they are not copied."""
    return calls if left_out.is_empty() else calls.join(left_out, on="row", how="anti", maintain_order="left")


def _logs(calls: pl.LazyFrame, wrapped: pl.DataFrame) -> pl.DataFrame:
    """Log rows with the row of their request, or with one that stands for it."""
    to = _resolved(wrapped.select("row", keeper=pl.coalesce("keeper", "first")))
    moved = twins.logs(calls).join(to, left_on="right", right_on="row", how="left", maintain_order="left")
    return moved.select("left", right=pl.coalesce("keeper", "right")).filter(pl.col("left") != pl.col("right"))


def _twins(calls: pl.LazyFrame, linked: pl.DataFrame) -> pl.DataFrame:
    """Of rows that are one request: all but the one that stays."""
    members = twins.clusters(linked)
    count = -(-len(members) // twins.AT_ONCE)
    parts = (members.filter(pl.col("label").hash() % count == number) for number in range(count))
    left_out = (
        _but_one(calls.join(part.lazy(), on="row").select(*_MEMBER).collect(engine="streaming")) for part in parts
    )
    return pl.concat([_NO_TWIN, *left_out])


def _but_one(members: pl.DataFrame) -> pl.DataFrame:
    """Of the rows with one label: all but the one that stays (counted, not a log, with an end, the innermost)."""
    silent = pl.col("input").is_null() & pl.col("output").is_null()
    members = members.with_columns(silent=silent.cast(pl.Int8), length=pl.col("end") - pl.col("start"))
    members = members.sort(
        "label", "is_record", "silent", "is_log", "is_open", "length", pl.col("start").neg(), "key", "row"
    )
    first = {name: pl.col(name).first().over("label") for name in ("row", "is_log", "package")}
    its_request = first["is_log"] & (pl.col("package") == first["package"])
    because = (
        pl.when("is_log")
        .then(pl.lit("stream_log"))
        .when(its_request)
        .then(pl.lit("stream_request"))
        .otherwise(pl.lit("twin"))
    )
    return members.select("row", because=because.cast(_REASON), keeper=first["row"]).filter(
        pl.col("row") != pl.col("keeper")
    )


def _resolved(left_out: pl.DataFrame) -> pl.DataFrame:
    """`row`, `keeper`: chains of rows that stand for each other followed to their end."""
    ends = left_out.select("row", "keeper")
    for _ in range(_CHAIN):
        further = ends.join(ends, left_on="keeper", right_on="row", how="left", suffix="_next", maintain_order="left")
        if further["keeper_next"].null_count() == len(further):
            break
        ends = further.select("row", keeper=pl.coalesce("keeper_next", "keeper"))
    return ends


def _lines(calls: pl.LazyFrame, left_out: pl.DataFrame, found: trees.Trees) -> pl.DataFrame:
    ends = left_out.select("row", "because").join(_resolved(left_out), on="row", how="left", maintain_order="left")
    apart = _without(found.aside, left_out).with_columns(because=pl.lit("aside", _REASON), keeper=_NO_ROW)
    doubtful = doubts.told(found.doubtful, ends, calls)
    lines = pl.concat([ends, apart]).join(doubtful, on="row", how="full", coalesce=True)
    lines = lines.join(_resent(ends, found.resent), on="row", how="full", coalesce=True)
    named = pl.concat([lines["row"], lines["keeper"]]).unique().to_frame("row")
    ids = calls.select("row", id="key", start_ns="start_ns").join(named.lazy(), on="row", how="semi")
    own = ids.collect(engine="streaming")
    keepers = own.rename({"row": "keeper", "id": "keeper_id", "start_ns": "keeper_start_ns"})
    told = lines.join(own, on="row", how="left").join(keepers, on="keeper", how="left")
    told = told.select("id", "start_ns", "because", "doubt", *transport.FACTS, "keeper_id", "keeper_start_ns")
    alone = found.alone.select(id="key", start_ns="start_ns", doubt=pl.lit("usage_without_calls", DOUBT))
    told = pl.concat([told, alone], how="diagonal")
    # A row that is there twice is one row with one verdict: two would give the frame more rows than it has.
    return (
        told.sort("id", "start_ns", "because").unique(["id", "start_ns"], keep="first").rename({"keeper_id": "keeper"})
    )


def _resent(ends: pl.DataFrame, resent: pl.DataFrame) -> pl.DataFrame:
    """What is known of a call's attempts, on the row that stands for it."""
    moved = resent.join(ends.select("row", "keeper"), on="row", how="left")
    moved = moved.with_columns(row=pl.coalesce("keeper", "row")).drop("keeper")
    moved = moved.sort(*transport.FACTS, descending=True)
    return moved.unique("row", keep="first", maintain_order=True)
