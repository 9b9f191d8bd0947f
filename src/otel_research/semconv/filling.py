"""What a row that counts learns from the rows that were left out for it."""

from __future__ import annotations

import polars as pl

from otel_research.semconv import times
from otel_research.semconv.times import milliseconds

_COUNTS = ("input_tokens", "output_tokens")
_PARTS = (
    "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens", "audio_input_tokens",
    "audio_output_tokens", "image_input_tokens", "image_output_tokens",
)  # fmt: skip
_SINGLE = (
    "provider", "request_model", "response_model", "reported_cost_usd", "ttft_ms", "streaming", "finish_reason",
    "response_id", "service_tier", "temperature", "request_seed", "agent_name", "conversation_id", "user_id", "attempts",
)  # fmt: skip
_FAILURE = ("error_type", "error_kind")
FACTS = (*_COUNTS, *_PARTS, *_SINGLE, *_FAILURE)
"""Columns that are filled where they are null: both counts together, parts only where they fit the counts.

A failure only where nobody tells of an answer: a wrapper may have failed at what it made of a good one.
"""
_KEYS = ["id", "start_ns"]
_WHOLE = "_told_whole_ms"


def learnt(rows: pl.LazyFrame, found: pl.DataFrame) -> pl.DataFrame | None:
    """Per row that counts (`id`, `start_ns`) and lacks something: the first known value among the rows left out for it.

    One column `_told_<fact>` for each fact that any row lacks, and for both counts; None where no row lacks any.
    """
    left_out = found.select(*_KEYS, "keeper", "keeper_start_ns", is_request=pl.col("because") == "stream_request")
    left_out = left_out.filter(pl.col("keeper").is_not_null())
    if left_out.is_empty():
        return None
    left_out, lacking = _of_use(rows, left_out)
    if left_out.is_empty():
        return None
    told = _of(left_out.select(_KEYS), rows.select(*_KEYS, "ttft_ms", *(name for name in lacking if name != "ttft_ms")))
    told = told.join(left_out, on=_KEYS).sort(_KEYS[::-1])
    later_ms = milliseconds(pl.col("keeper_start_ns") - pl.col("start_ns"))
    # Another row's first token came that long after its own start, not after the start of the row that counts.
    since = pl.when("is_request").then("ttft_ms").otherwise((pl.col("ttft_ms") - later_ms).round(6))
    # A row that nobody ended says nothing of how the request did.
    ended = [
        pl.when(pl.col("error_type") != "interrupted").then(name).alias(name) for name in _FAILURE if name in lacking
    ]
    told = told.with_columns(ended if "error_type" in lacking else [])
    # A log row begins when its stream has ended: with its request's start that is the whole of the call.
    told = told.with_columns(since.alias("ttft_ms"), whole_ms=pl.when("is_request").then(later_ms))
    first = [pl.col(name).drop_nulls().first().alias(f"_told_{name}") for name in lacking]
    told = told.group_by("keeper", "keeper_start_ns").agg(*first, pl.col("whole_ms").max().alias(_WHOLE))
    return told.rename({"keeper": "id", "keeper_start_ns": "start_ns"})


def _of_use(rows: pl.LazyFrame, left_out: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Lines whose keeper lacks a fact that one of its lines has, or whose duration another row knows; and the names of such facts."""
    keepers = left_out.select(id="keeper", start_ns="keeper_start_ns")
    known = _of(pl.concat([left_out.select(_KEYS), keepers]), rows.select(*_KEYS, _known())).unique(
        _KEYS, keep="first", maintain_order=True
    )
    keepers = known.rename({"id": "keeper", "start_ns": "keeper_start_ns", "known": "known_keeper"})
    told = left_out.join(known, on=_KEYS).join(keepers, on=["keeper", "keeper_start_ns"])
    told = told.with_columns(news=pl.col("known") & ~pl.col("known_keeper")).drop("known", "known_keeper")
    told = told.filter(((pl.col("news") != 0) | pl.col("is_request")).any().over("keeper", "keeper_start_ns"))
    any_news = [(pl.col("news") & (1 << bit) != 0).any().alias(name) for bit, name in enumerate(FACTS)]
    is_new = told.select(any_news).row(0, named=True)
    lacking = [name for name in FACTS if name in _COUNTS or is_new[name]]
    return told.drop("news"), lacking


def _known() -> pl.Expr:
    """Which facts a row has, one bit each."""
    bits = [pl.when(pl.col(name).is_not_null()).then(pl.lit(1 << bit, pl.UInt32)) for bit, name in enumerate(FACTS)]
    return pl.sum_horizontal(bits).alias("known")


def _of(keys: pl.DataFrame, rows: pl.LazyFrame) -> pl.DataFrame:
    """What is asked of these rows."""
    return rows.join(keys.lazy(), on=_KEYS, how="semi").collect(engine="streaming")


def filled(frame: pl.LazyFrame, told: pl.DataFrame | None) -> pl.LazyFrame:
    """The frame with its gaps filled from what was `learnt`, and flags that say so."""
    if told is None:
        return frame
    facts = [name for name in FACTS if f"_told_{name}" in told.columns]
    both = frame.join(told.lazy(), on=_KEYS, how="left", maintain_order="left", build_side="force_right")
    return both.with_columns(_gaps_filled(facts)).drop(_WHOLE, *(f"_told_{name}" for name in facts))


def _gaps_filled(facts: list[str]) -> list[pl.Expr]:
    unknown = pl.col("input_tokens").is_null() & pl.col("output_tokens").is_null()
    fits = unknown | (pl.col("_told_input_tokens") == pl.col("input_tokens")).fill_null(True)
    counted = unknown & (pl.col("_told_input_tokens").is_not_null() | pl.col("_told_output_tokens").is_not_null())
    duration = pl.coalesce(_WHOLE, "duration_ms")
    gaps = {name: _gap(name) & fits if name in _PARTS else _gap(name) for name in facts if name not in _COUNTS}
    failed = pl.lit(False)
    if "error_type" in gaps:
        failed = gaps["error_type"] & unknown & ~counted & pl.col("finish_reason").is_null()
        gaps |= {name: gaps[name] & failed for name in _FAILURE if name in gaps}
    if "ttft_ms" in gaps:
        gaps["ttft_ms"] &= times.possible_ttft(pl.col("_told_ttft_ms"), duration)
    flag = (
        pl.when(counted)
        .then(pl.lit("usage_from_twin"))
        .when(failed)
        .then(pl.lit("failure_from_twin"))
        .when(pl.any_horizontal(pl.lit(False), *gaps.values()))
        .then(pl.lit("filled_from_twin"))
    )
    return [
        duration.alias("duration_ms"),
        *(pl.when(unknown).then(f"_told_{name}").otherwise(name).alias(name) for name in _COUNTS),
        *(pl.when(gap).then(f"_told_{name}").otherwise(name).alias(name) for name, gap in gaps.items()),
        with_flag(flag, pl.when(counted).then(_without_silence(counted)).otherwise("flags")),
    ]


def _without_silence(counted: pl.Expr) -> pl.Expr:
    """The flags without those that say that nothing was reported: a twin has reported it."""
    silent = ["usage_missing", "usage_incomplete", "stream_without_usage", "zero_means_unknown"]
    each = pl.when(counted).then("flags").str.split(",")  # Elsewhere null, which costs nothing.
    rest = each.list.eval(pl.element().filter(~pl.element().is_in(silent))).list.join(",")
    return pl.when(rest != "").then(rest)


def _gap(name: str) -> pl.Expr:
    return pl.col(name).is_null() & pl.col(f"_told_{name}").is_not_null()


def with_flag(flag: pl.Expr, flags: pl.Expr | None = None) -> pl.Expr:
    """The row's flags with one more, where it is not null."""
    before = pl.col("flags") if flags is None else flags
    flag = pl.when(~before.str.split(",").list.contains(flag).fill_null(False)).then(flag)
    return pl.coalesce(pl.concat_str(before, flag, separator=","), before, flag).alias("flags")
