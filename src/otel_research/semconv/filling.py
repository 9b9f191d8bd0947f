"""What a row that counts learns from the rows that were left out for it.

It travels as one JSON text per row, because few rows have one: columns of it would cost every row of the frame.
"""

from __future__ import annotations

import polars as pl

from otel_research.semconv import times
from otel_research.semconv.times import milliseconds
from otel_research.spans import schema

_COUNTS = ("input_tokens", "output_tokens")
_PARTS = (
    "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens", "audio_input_tokens",
    "audio_output_tokens", "image_input_tokens", "image_output_tokens",
)  # fmt: skip
_SINGLE = (
    "provider", "request_model", "response_model", "reported_cost_usd", "ttft_ms", "streaming", "finish_reason",
    "response_id", "service_tier", "temperature", "request_seed", "agent_name", "conversation_id", "user_id", "attempts",
)  # fmt: skip
FACTS = (*_COUNTS, *_PARTS, *_SINGLE)
"""Columns that are filled where they are null: both counts together, parts only where they fit the counts."""
_FILLED = (*FACTS, "flags", "duration_ms")
_TYPES = schema.polars_schema(schema.CANONICAL)
_LEARNT = pl.Struct({**{f"_{name}": _TYPES[name] for name in FACTS}, "_whole_ms": pl.Float64()})
LEARNT = "_learnt"


def learnt(facts: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Per row that counts (`id`, `start_ns`): the first known value of each fact among the rows left out for it."""
    left_out = found.filter(pl.col("keeper").is_not_null())
    told = facts.join(left_out, on=["id", "start_ns"], how="inner").sort("start_ns", "id")
    later_ms = milliseconds(pl.col("keeper_start_ns") - pl.col("start_ns"))
    # A log row begins when its stream has ended: with its request's start that is the whole of the call.
    is_request = pl.col("because") == "stream_request"
    # Another row's first token came that long after its own start, not after the start of the row that counts.
    since = pl.when(is_request).then("ttft_ms").otherwise((pl.col("ttft_ms") - later_ms).round(6))
    told = told.with_columns(since.alias("ttft_ms"), whole_ms=pl.when(is_request).then(later_ms))
    first = [pl.col(name).drop_nulls().first().alias(f"_{name}") for name in FACTS]
    per_keeper = told.group_by("keeper", "keeper_start_ns").agg(*first, pl.col("whole_ms").max().alias("_whole_ms"))
    text = pl.struct([field.name for field in _LEARNT.fields]).struct.json_encode().alias(LEARNT)
    return per_keeper.select(id="keeper", start_ns="keeper_start_ns", **{LEARNT: text})


def filled(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with its gaps filled from `LEARNT`, and flags that say so."""
    out = pl.Struct({name: _TYPES[name] for name in _FILLED})
    step = pl.struct(*_FILLED, LEARNT).map_batches(_fill, return_dtype=out, is_elementwise=True)
    return frame.with_columns(step.alias("_filled")).drop(*_FILLED, LEARNT).unnest("_filled")


def _fill(batch: pl.Series) -> pl.Series:
    rows = batch.struct.unnest()
    if rows[LEARNT].null_count() == len(rows):
        return rows.select(_FILLED).to_struct(batch.name)
    told = rows[LEARNT].fill_null("{}").str.json_decode(_LEARNT).struct.unnest()
    return rows.hstack(told).with_columns(_gaps_filled()).select(_FILLED).to_struct(batch.name)


def _gaps_filled() -> list[pl.Expr]:
    unknown = pl.col("input_tokens").is_null() & pl.col("output_tokens").is_null()
    fits = unknown | (pl.col("_input_tokens") == pl.col("input_tokens")).fill_null(True)
    counted = unknown & (pl.col("_input_tokens").is_not_null() | pl.col("_output_tokens").is_not_null())
    gaps = {name: _gap(name) for name in _SINGLE} | {name: _gap(name) & fits for name in _PARTS}
    gaps["ttft_ms"] &= times.possible_ttft(pl.col("_ttft_ms"), pl.coalesce("_whole_ms", "duration_ms"))
    flag = (
        pl.when(counted)
        .then(pl.lit("usage_from_twin"))
        .when(pl.any_horizontal(gaps.values()))
        .then(pl.lit("filled_from_twin"))
    )
    return [
        pl.coalesce("_whole_ms", "duration_ms").alias("duration_ms"),
        *(pl.when(unknown).then(f"_{name}").otherwise(name).alias(name) for name in _COUNTS),
        *(pl.when(gap).then(f"_{name}").otherwise(name).alias(name) for name, gap in gaps.items()),
        with_flag(flag, pl.when(counted).then(_without_silence()).otherwise("flags")),
    ]


def _without_silence() -> pl.Expr:
    """The flags without those that say that nothing was reported: a twin has reported it."""
    silent = ["usage_missing", "usage_incomplete", "stream_without_usage", "zero_means_unknown"]
    rest = pl.col("flags").str.split(",").list.eval(pl.element().filter(~pl.element().is_in(silent))).list.join(",")
    return pl.when(rest != "").then(rest)


def _gap(name: str) -> pl.Expr:
    return pl.col(name).is_null() & pl.col(f"_{name}").is_not_null()


def with_flag(flag: pl.Expr, flags: pl.Expr | None = None) -> pl.Expr:
    """The row's flags with one more, where it is not null."""
    before = pl.col("flags") if flags is None else flags
    return pl.coalesce(pl.concat_str(before, flag, separator=","), before, flag).alias("flags")
