"""The HTTP requests below a call: how often it was sent, and how long it waited before sending again.

A client that retries inside a call leaves one span of the call; where the HTTP client is instrumented too, each
attempt is a row of its own below it. Back-off is the time between two attempts in which none was under way, so a
call's time in work is `duration_ms - backoff_ms`. Requests to other addresses (a token, a file) are no attempts.
"""

from __future__ import annotations

import polars as pl

from otel_research.semconv import narrow
from otel_research.semconv.times import milliseconds

_ADDRESS = r'"(?:url\.full|http\.url|server\.address|net\.peer\.name|http\.host)":\s*"([^"?#]*)'
FACTS = ("attempts", "backoff_ms")
NONE = pl.DataFrame(schema={"at": pl.UInt32, "attempts": pl.Int64, "backoff_ms": pl.Float64})


def facts() -> list[pl.Expr]:
    """Of an HTTP request: since and until when, and where to (hashed), which takes long and is null on all other rows."""
    address = pl.when(narrow.is_request()).then(pl.col("attributes")).str.extract(_ADDRESS).hash(6)
    return [*narrow.place(), pl.col("end_ns").alias("http_end"), address.alias("http_address")]


def retries(requests: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Per call that was sent more than once: its position `at`, its attempts and its time in back-off.

    `requests` are the `facts` of requests with their position `at`; `found` is, of every row, the nearest call above it
    and what lies between the two.
    """
    if requests.is_empty():
        return NONE
    above = found.select(pl.col("above", "crossed").gather(requests["at"]))
    below = requests.select("start_ns", "http_end", "http_address").with_columns(
        at=above["above"], crossed=above["crossed"]
    )
    ended_below = pl.col("http_end").is_not_null() & pl.col("at").is_not_null() & (pl.col("crossed") == 0)
    return _per_call(_to_the_model(below.filter(ended_below).drop("crossed")))


def _to_the_model(below: pl.DataFrame) -> pl.DataFrame:
    """The requests to the address that most of the call's requests went to."""
    asked = below.group_by("at", "http_address").agg(pl.len().alias("asked"), pl.col("http_end").max().alias("last"))
    chosen = asked.sort("at", "asked", "last").group_by("at", maintain_order=True).last().select("at", "http_address")
    return below.join(chosen, on=["at", "http_address"], how="semi")


def _per_call(requests: pl.DataFrame) -> pl.DataFrame:
    ordered = requests.sort("at", "start_ns", "http_end")
    so_far = pl.col("http_end").cum_max().shift(1)
    idle = (pl.col("start_ns") - so_far).clip(lower_bound=0).over("at")
    return (
        ordered.with_columns(idle=idle)
        .group_by("at")
        .agg(pl.len().cast(pl.Int64).alias("attempts"), milliseconds(pl.col("idle").sum()).alias("backoff_ms"))
        .filter(pl.col("attempts") > 1)
    )
