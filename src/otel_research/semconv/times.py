"""Durations and the time to the first token, in milliseconds, whatever unit they were written in."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from otel_research.semconv.dialect import Attributes

_SLACK_MS = 1.0
"""Two clocks of one process may disagree by this much."""
SETTING_ONLY = ("openinference.instrumentation.langchain", "@arizeai/openinference-instrumentation-langchain")
"""Scopes that write the model object's setting: `false` for every `model.stream(...)` too (0.1.80, 4.1.1)."""


def milliseconds(nanoseconds: pl.Expr) -> pl.Expr:
    """Nanoseconds as milliseconds, the nearest float to the exact decimal (so that it does not depend on the batch)."""
    return (nanoseconds / 1e6).round(6)


def spent(attributes: Attributes) -> Iterable[pl.Expr]:
    """How long the span took; null for a point in time, an interrupted or an impossible one."""
    span = milliseconds(pl.col("end_ns") - pl.col("start_ns"))
    possible = (pl.col("status") != "interrupted") & (span >= 0) & ~ended_early()
    measured = pl.coalesce("measured_ms", pl.col("measured_us") / 1e3)
    logged = pl.col("logged_s") * 1e3
    is_log = attributes.text("logfire.span_type") == "log"
    yield (
        pl.when(pl.col("role") == "record")
        .then(measured)
        .when(pl.col("role") == "score")
        .then(None)
        .when(is_log)
        .then(logged)
        .when(possible)
        .then(span)
        .alias("duration_ms")
    )
    yield _written_ttft().alias("ttft_ms")
    yield _streaming(attributes).alias("streaming")


def ended_early() -> pl.Expr:
    """Spans that were ended when a stream was opened, not when it was read: its first token came later."""
    return (pl.col("first_token_ns") > pl.col("end_ns") + int(_SLACK_MS * 1e6)).fill_null(False)


def _written_ttft() -> pl.Expr:
    """Seconds, milliseconds, nanoseconds, an event's time or an ISO time: the first that is there."""
    typed = pl.col("ttft_typed").cast(pl.Float64, strict=False)
    at = pl.col("first_token_at").str.to_datetime(time_unit="ns", time_zone="UTC", strict=False, format="%+")
    return pl.coalesce(
        pl.col("ttft_s") * 1e3,
        "ttft_ms",
        milliseconds(pl.col("first_token_ns") - pl.col("start_ns")),
        milliseconds(at.dt.epoch("ns") - pl.col("start_ns")),
        # One name, two units: a fraction is seconds (OpenLIT), a whole number milliseconds (Strands).
        pl.when(pl.col("ttft_typed").str.contains(".", literal=True)).then(typed * 1e3).otherwise(typed),
        milliseconds(pl.col("ttft_ns")),
        # A server knows it of every request, streamed or not.
        pl.col("served_ttft_s") * 1e3,
    )


def _streaming(attributes: Attributes) -> pl.Expr:
    """What the span says; a first chunk also says so (OpenLIT writes a time for every call, so its does not)."""
    chunk = pl.coalesce(pl.col("ttft_s"), "ttft_ms", "first_token_ns", "ttft_ns").is_not_null()
    signs = (
        attributes.text("ai.operationId").str.ends_with("doStream"),
        attributes.text("rpc.method").str.contains("Stream", literal=True),  # Bedrock's ConverseStream and the like
        pl.col("stream_began"),
    )
    streams = pl.any_horizontal(sign.fill_null(False) for sign in signs)
    began = chunk | pl.col("first_token_at").is_not_null() | streams
    told = pl.col("streaming")
    return pl.coalesce(
        pl.when(~pl.col("scope").is_in(SETTING_ONLY).fill_null(False) | told).then(told),
        pl.when(began).then(True),
        pl.when(attributes.text("ai.operationId").is_not_null()).then(False),
    )


def first_token() -> pl.Expr:
    """The time to the first token, where it can be one: streamed, after the start, before the end."""
    value = pl.col("ttft_ms")
    possible = possible_ttft(value, pl.col("duration_ms"))
    return pl.when(possible & pl.col("streaming").fill_null(True)).then(value).alias("ttft_ms")


def possible_ttft(value: pl.Expr, duration: pl.Expr) -> pl.Expr:
    """Whether the first token came after the start and not after the end, where that is known."""
    return (value >= 0) & (value <= duration + _SLACK_MS).fill_null(True)
