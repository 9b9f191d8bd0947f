"""One row per trial, lazily: what it was, how it ended, what it took."""

from __future__ import annotations

from typing import Any

import polars as pl

from otel_research.analysis.subject import Subject, conform, described, exclusions, trial_ids
from otel_research.analysis.units import is_trial
from otel_research.semconv.scores import listed

COLUMNS = (
    "trial_id", "condition", "item_id", "repetition", "session_id", "factors", "start_ns", "latency_ms", "outcome",
    "failure_reason", "calls", "cost_usd", "cost_nano_usd", "unpriced_calls", "input_tokens", "output_tokens", "scores",
)  # fmt: skip
_ID = ["experiment_id", "trial_id"]
_AMOUNTS = ("cost_nano_usd", "input_tokens", "output_tokens")


def trials(what: Subject | pl.LazyFrame, annotations: tuple[dict[str, Any], ...] = ()) -> pl.LazyFrame:
    """One row per trial, in order of start, with the columns `COLUMNS`.

    `outcome` is "ok", "failed", "interrupted" or "excluded" (by a note; the data stay), and
    `failure_reason` says why it is not "ok". `calls`, cost and tokens are sums over the trial's
    calls, evaluation calls apart; a cost is null where a call has no price (`unpriced_calls`
    counts them), 0 where the trial made no call. `scores` is JSON text, {name: value}, because
    which scores there are is not known before the rows are read; the last score of a name counts.
    """
    if isinstance(what, Subject):
        spans, annotations = what.spans, (*what.annotations, *annotations)
    else:
        spans = conform(what)
    own = spans.filter(is_trial()).select(
        *_ID, "condition", "item_id", "repetition", "session_id", "factors", "start_ns",
        pl.when(pl.col("status").ne_missing(pl.lit("interrupted"))).then("duration_ms").alias("latency_ms"),
        _excluded_because(annotations, spans).alias("excluded"),
        _outcome().alias("outcome"),
        pl.coalesce("status_message", "error_type").alias("failure_reason"),
    )  # fmt: skip
    joined = own.join(_calls(spans), on=_ID, how="left", nulls_equal=True)
    joined = joined.join(_scores(spans, annotations), on="trial_id", how="left")
    is_out, is_idle = pl.col("excluded").is_not_null(), pl.col("calls").is_null() & pl.col("calls").is_not_null().any()
    whole = pl.when(pl.col("unpriced_calls") == 0).then("cost_nano_usd")
    return (
        joined.with_columns(
            pl.when(is_out).then(pl.lit("excluded")).otherwise("outcome").alias("outcome"),
            pl.when(is_out)
            .then("excluded")
            .when(pl.col("outcome") != "ok")
            .then("failure_reason")
            .alias("failure_reason"),
            pl.when(is_idle).then(0).otherwise(whole).alias("cost_nano_usd"),
            *[pl.when(is_idle).then(0).otherwise(name).alias(name) for name in ("input_tokens", "output_tokens")],
            pl.col("calls", "unpriced_calls").fill_null(0),
        )
        .with_columns((pl.col("cost_nano_usd") / 1e9).alias("cost_usd"))
        .sort("start_ns", "trial_id")
        .select(COLUMNS)
    )


def _outcome() -> pl.Expr:
    failed = pl.col("status").eq_missing(pl.lit("error")) | pl.col("error_type").is_not_null()
    interrupted = pl.col("status").eq_missing(pl.lit("interrupted"))
    return pl.when(interrupted).then(pl.lit("interrupted")).when(failed).then(pl.lit("failed")).otherwise(pl.lit("ok"))


def _calls(spans: pl.LazyFrame) -> pl.LazyFrame:
    calls = spans.filter(pl.col("is_call").fill_null(value=False) & pl.col("aside").is_null())
    known = [pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum()).alias(name) for name in _AMOUNTS]
    return calls.group_by(_ID).agg(
        pl.len().cast(pl.Int64).alias("calls"),
        pl.col("cost_nano_usd").is_null().sum().cast(pl.Int64).alias("unpriced_calls"),
        *known,
    )


def _scores(spans: pl.LazyFrame, annotations: tuple[dict[str, Any], ...]) -> pl.LazyFrame:
    columns = {"trial_id": pl.String, "name": pl.String, "value": pl.Float64, "label": pl.String}
    later = [
        (str(note.get("trial_id")), str(note.get("name")), note.get("value"), note.get("label"))
        for note in annotations
        if note.get("kind") == "score"
    ]
    during = spans.filter(pl.col("score_name").is_not_null() & pl.col("trial_id").is_not_null()).sort("start_ns")
    during = during.select("trial_id", name="score_name", value="score_value", label="score_label")
    judged = listed(spans, ("trial_id", "start_ns")).filter(
        pl.col("name").is_not_null() & pl.col("trial_id").is_not_null()
    )
    judged = judged.sort("start_ns").select(*columns)
    every = pl.concat([during, judged, pl.LazyFrame(later, schema=columns, orient="row", strict=False)])
    last = every.unique(["trial_id", "name"], keep="last", maintain_order=True)
    # A JSON object with keys from the data: Polars encodes text inside a struct, '{"t":"..."}'.
    number = pl.when(pl.col("value").is_finite()).then(pl.col("value").cast(pl.String))
    pair = (
        _as_json("name")
        + ":"
        + pl.coalesce(number, pl.when(pl.col("label").is_not_null()).then(_as_json("label")), pl.lit("null"))
    )
    return last.group_by("trial_id").agg(("{" + pair.str.join(",") + "}").alias("scores"))


def _as_json(column: str) -> pl.Expr:
    return pl.struct(t=column).struct.json_encode().str.strip_prefix('{"t":').str.strip_suffix("}")


def _excluded_because(annotations: tuple[dict[str, Any], ...], spans: pl.LazyFrame) -> pl.Expr:
    reasons = pl.lit(None, pl.String)
    for note in exclusions(annotations):
        applies = pl.col("trial_id").is_in(trial_ids(note))
        hit = described(note, spans)
        if hit is not None:
            applies = applies | hit
        why = pl.lit(str(note.get("reason") or "excluded without a reason"))
        reasons = pl.when(applies.fill_null(value=False) & reasons.is_null()).then(why).otherwise(reasons)
    return reasons
