"""Which rows are the calls: one row per request to a model, whatever wrapped, repeated or logged it.

Structure decides (what is above what, times, response ids, usage), never the name of a file or a package.
`excluded_because` says why a row that looks like a call does not count:

    wrapper         another call below it stands for the request
    twin            another instrumentation's row stands for the same request
    inner           the row above it has the usage of several such rows
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

import polars as pl
import polars.selectors as cs

from otel_research.semconv import filling, transport, verdicts
from otel_research.semconv.normalise import COMPUTED
from otel_research.spans import schema

_DECIDED = {
    "id": pl.UInt64(),
    "start_ns": pl.Int64(),
    "_because": pl.String(),
    "_doubt": pl.String(),
    "_attempts": pl.Int64(),
    "backoff_ms": pl.Float64(),
    filling.LEARNT: pl.String(),
}
_KEYS = ["id", "start_ns"]
MARKS = ("is_call", "excluded_because", "backoff_ms")


def mark(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with `is_call`, `excluded_because` and `backoff_ms`; needs RAW and CANONICAL columns, keeps the order of rows.

    Two passes: a narrow one over identities, times and counts decides about the rows that repeat another; then
    the wide frame streams past that decision. Over stored rows memory grows with the narrow columns only; where
    `normalise` is part of the same plan, the rows are held until the decision is made.
    """
    names = frame.collect_schema().names()
    kept = frame.drop([name for name in MARKS if name in names])
    missing = [column.name for column in schema.STORED if column.name not in names]
    types = schema.polars_schema(schema.STORED)
    whole = kept.with_columns(pl.lit(None, dtype=types[name]).alias(name) for name in missing)
    whole = whole.with_columns(verdicts.identity("span_id").alias("id"))
    if _is_computed(whole):
        # Canonical columns are made in this very plan: both passes share them, so that they are made once.
        # What the narrow pass asks is made here, so that the texts it is made of need not be held.
        told = whole.with_columns(_asked())
        whole, decision = (
            told.drop(_names(_asked())),
            told.select(_names(_asked())).map_batches(_at_once, schema=_DECIDED),
        )
    else:
        # Stored columns are read twice: shared, the plan would hold the wide frame until the narrow pass is done.
        decision = pl.defer(lambda: _apart(whole), schema=_DECIDED)
    judged = whole.join(
        decision, on=_KEYS, how="left", nulls_equal=True, maintain_order="left", build_side="force_right"
    )
    judged = filling.filled(judged).with_columns(
        _excluded(), filling.with_flag(pl.col("_doubt")), attempts=pl.max_horizontal("attempts", "_attempts")
    )
    order = [name for name in kept.collect_schema().names() if name not in missing]
    return judged.with_columns(_is_call()).select(*order, *MARKS)


def _asked() -> list[pl.Expr]:
    """What the narrow pass asks of every row, HTTP requests, calls, and rows that tell others: by the letter before the name.

    A frame may have columns of its own beside these, so that no plain name is taken.
    """
    several = {
        "l": verdicts.links(),
        "h": transport.facts(),
        "f": verdicts.facts(),
        "t": [pl.col(name) for name in filling.FACTS],
    }
    return [column.name.prefix(f"_{part}_") for part, columns in several.items() for column in columns]


def _names(columns: list[pl.Expr]) -> list[str]:
    return [column.meta.output_name() for column in columns]


def _is_computed(whole: pl.LazyFrame) -> bool:
    """Whether `normalise` is still part of the plan."""
    return COMPUTED in whole.explain(optimized=False)


def _at_once(rows: pl.DataFrame) -> pl.DataFrame:
    def part(letter: str) -> pl.Expr:
        return cs.starts_with(f"_{letter}_").name.map(lambda name: name[3:])

    numbered = rows.lazy().with_row_index("at")
    is_call = pl.col("_l_part") == verdicts.CALL
    calls = numbered.filter(is_call).select("at", part("f"))
    requests = numbered.filter(pl.col("_h_http_end").is_not_null()).select("at", part("h"))
    found = verdicts.decide(rows.select(part("l")), calls.collect(), requests.collect())
    facts = rows.lazy().filter(is_call).select(part("t"), id="_l_key", start_ns="_l_start_ns")
    return _decided(found, _of_left_out(facts, found).collect())


def _apart(whole: pl.LazyFrame) -> pl.DataFrame:
    # One after the other: collected together they would share, and hold, the columns that both read.
    links = whole.select(verdicts.links()).collect(engine="streaming")
    numbered = whole.with_row_index("at")
    calls = numbered.filter(verdicts.counts()).select("at", *verdicts.facts()).collect(engine="streaming")
    # Where a request went to is in its attributes, by far the widest column: of the others they are not read.
    requests = numbered.filter(transport.is_request()).select("at", *transport.facts()).collect(engine="streaming")
    found = verdicts.decide(links, calls, requests)
    facts = _of_left_out(whole.select(*_KEYS, *filling.FACTS), found)
    return _decided(found, facts.collect(engine="streaming"))


def _of_left_out(facts: pl.LazyFrame, found: pl.DataFrame) -> pl.LazyFrame:
    left_out = found.filter(pl.col("keeper").is_not_null())
    return facts.clear() if left_out.is_empty() else facts.join(left_out.lazy(), on=_KEYS, how="semi")


def _decided(found: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    reasons = found.select(*_KEYS, _because="because", _doubt="doubt", _attempts="attempts", backoff_ms="backoff_ms")
    return reasons.join(filling.learnt(facts, found), on=_KEYS, how="full", coalesce=True).select(list(_DECIDED))


def _excluded() -> pl.Expr:
    role = pl.col("role")
    rolled_up = pl.any_horizontal(pl.col("rollup_input_tokens", "rollup_output_tokens").is_not_null())
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
    return (verdicts.counts() & pl.col("excluded_because").is_null()).alias("is_call")
