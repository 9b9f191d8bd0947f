"""Which rows are the calls: one row per request to a model, whatever wrapped, repeated or logged it.

Structure decides (what is above what, times, response ids, usage), never the name of a file or a package.
`excluded_because` says why a row that looks like a call does not count:

    wrapper         another call below it stands for the request
    twin            another instrumentation's row stands for the same request
    inner           the row above it has the usage of several such rows, or it is a model server's view of that row
    stream_request  the request's row of a stream; the row that was logged at its end has the usage
    stream_log      the row logged at the end of a stream; another row stands for the call
    transport       the raw request below a call
    rollup          an agent or chain that repeats the usage of the calls below it
    aside           an evaluation call: it counts, but apart (`role` stays "call")

A row that counts gets what only its excluded partners know (finish reason, first token, session, cached tokens,
usage), with the flag `usage_from_twin` or `filled_from_twin`. Where each HTTP request below a call is a row, the call
has its `attempts` and its `backoff_ms` (see `transport`).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
from polars.io.plugins import register_io_source

from otel_research.semconv import filling, narrow, transport, verdicts
from otel_research.semconv.normalise import COMPUTED
from otel_research.semconv.scratch import Scratch
from otel_research.spans import schema

_KEYS = ["id", "start_ns"]
MARKS = ("is_call", "excluded_because", "backoff_ms")


def mark(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with `is_call`, `excluded_because` and `backoff_ms`; needs RAW and CANONICAL columns, keeps the order of rows.

    Two passes, made when the result is asked for: a narrow one over identities, times and counts decides about the
    rows that repeat another; then the wide frame streams past that decision. Stored columns are read again in each
    pass; where `normalise` is part of the same plan, its rows are held in between. What is held is in memory while it
    is little, else in scratch files, so that memory grows with the rows that repeat another, not with all.
    """
    names = frame.collect_schema().names()
    kept = frame.drop([name for name in MARKS if name in names])
    missing = [column.name for column in schema.STORED if column.name not in names]
    types = schema.polars_schema(schema.STORED)
    whole = kept.with_columns(pl.lit(None, dtype=types[name]).alias(name) for name in missing)
    whole = whole.with_columns(_of_the_type(whole)).with_columns(narrow.identity("span_id").alias("id"))
    order = [*(name for name in names if name not in MARKS), *MARKS]

    def rows(
        columns: list[str] | None, predicate: pl.Expr | None, limit: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = order if columns is None else columns
        with Scratch() as scratch:
            marked = _marked(whole, wanted, scratch).select(wanted)
            # Polars asks for the first rows before it filters them; where it filters first, it takes them itself.
            marked = marked if limit is None else marked.head(limit)
            marked = marked if predicate is None else marked.filter(predicate)
            yield from marked.collect_batches(maintain_order=True, engine="streaming")

    marked = _judged(whole, verdicts.NOTHING).select(order)
    return register_io_source(rows, schema=marked.collect_schema, is_pure=True)


def _of_the_type(whole: pl.LazyFrame) -> list[pl.Expr]:
    """Canonical columns that have another type, with the contract's: it is what fills their gaps."""
    have, types = whole.collect_schema(), schema.polars_schema(schema.CANONICAL)
    return [pl.col(name).cast(dtype) for name, dtype in types.items() if have[name] != dtype]


def _marked(whole: pl.LazyFrame, wanted: list[str], scratch: Scratch) -> pl.LazyFrame:
    if COMPUTED not in whole.explain(optimized=False):
        return _judged(whole, _of_stored(whole, scratch))
    # Canonical columns are made in this very plan: once, and what the narrow pass asks with them, so that the texts
    # that it is made of need not be held.
    asked = _asked()
    held = scratch.hold(whole.with_columns(asked).select(*_needed(wanted, whole), *_names(asked)))
    return _judged(held.drop(_names(asked)), _of_held(held))


def _of_stored(whole: pl.LazyFrame, scratch: Scratch) -> pl.DataFrame:
    # One after the other: collected together they would share, and hold, the columns that several read.
    # None is numbered here: the plan would hold many wide rows, waiting for their turn.
    links = scratch.hold(whole.select(narrow.links()))
    calls = scratch.hold(whole.filter(narrow.counts()).select(narrow.facts()))
    # Where a request went to is in its attributes, by far the widest column: of the others they are not read.
    requests = scratch.hold(whole.filter(narrow.is_request()).select(transport.facts()))
    return verdicts.decide(links, calls, requests)


def _of_held(held: pl.LazyFrame) -> pl.DataFrame:
    def part(letter: str, columns: list[pl.Expr]) -> list[pl.Expr]:
        return [pl.col(f"_{letter}_{name}").alias(name) for name in _names(columns)]

    calls = held.filter(pl.col("_l_part") == narrow.CALL).select(part("f", narrow.facts()))
    requests = held.filter("_l_is_request").select(part("h", transport.facts()))
    return verdicts.decide(held.select(part("l", narrow.links())), calls, requests)


def _asked() -> list[pl.Expr]:
    """What the narrow pass asks of every row, of calls, and of HTTP requests: by the letter before the name.

    A frame may have columns of its own beside these, so that no plain name is taken.
    """
    several = {"l": narrow.links(), "f": narrow.facts(), "h": transport.facts()}
    return [column.name.prefix(f"_{part}_") for part, columns in several.items() for column in columns]


def _names(columns: list[pl.Expr]) -> list[str]:
    return [column.meta.output_name() for column in columns]


def _needed(wanted: list[str], whole: pl.LazyFrame) -> list[str]:
    """The frame's columns that marking reads or that are wanted."""
    asked = [name for column in (_excluded(), _is_call()) for name in column.meta.root_names()]
    read = {*_KEYS, *filling.FACTS, "flags", "duration_ms", *asked, *wanted}
    return [name for name in whole.collect_schema().names() if name in read]


def _judged(whole: pl.LazyFrame, found: pl.DataFrame) -> pl.LazyFrame:
    """The frame with the marks, where `found` has a line about each call that repeats another or is in doubt."""
    lines = found.select(
        *_KEYS, pl.col("because", "doubt").cast(pl.String).name.prefix("_"), "backoff_ms", _attempts="attempts"
    )
    told = filling.learnt(whole, found)
    if found.is_empty():
        judged = whole.with_columns(pl.lit(None, dtype=lines.schema[name]).alias(name) for name in lines.columns[2:])
    else:
        judged = whole.join(
            lines.lazy(), on=_KEYS, how="left", nulls_equal=True, maintain_order="left", build_side="force_right"
        )
    attempts = pl.max_horizontal("attempts", "_attempts")
    judged = filling.filled(judged, told).with_columns(
        _excluded(), filling.with_flag(pl.col("_doubt")), attempts=attempts
    )
    return judged.with_columns(_is_call())


def _excluded() -> pl.Expr:
    role = pl.col("role")
    rolled_up = pl.any_horizontal(
        pl.col(name).is_not_null() for name in ("rollup_input_tokens", "rollup_output_tokens")
    )
    raw_request = (role == "http") & pl.col("dialect").is_not_null()
    because = (
        pl.when(pl.col("_because").is_not_null())
        .then("_because")
        .when(role.is_in(["agent", "chain", "tool"]) & rolled_up)
        .then(pl.lit("rollup"))
        .when(raw_request)
        .then(pl.lit("transport"))
    )
    return because.alias("excluded_because")


def _is_call() -> pl.Expr:
    return (narrow.counts() & pl.col("excluded_because").is_null()).alias("is_call")
