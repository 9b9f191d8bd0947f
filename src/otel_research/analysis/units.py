"""Units of analysis: from spans to one row per call, trial, session, span or group.

Two tables come out of one pass over the rows:

- units: what latency and reliability are about;
- calls: the requests to a model inside them, which cost and tokens are summed over, so that
  a wrapper's copy of its children's totals never counts twice.

For `unit="call"` the two are one. Rows outside of every unit (evaluation calls in `aside`,
measurements, scores) stay in `Tables.rows` for the parts of a result that report them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from otel_research.analysis.engine import Rows
from otel_research.analysis.engines.chosen import Engine
from otel_research.analysis.subject import Subject, included
from otel_research.errors import ConfigurationError
from otel_research.spans.where import Where, check_columns, predicate

Unit = str | pl.Expr

NAMES = ("call", "trial", "session", "span")
MARKERS = ("call", "agent", "chain", "tool", "retrieval", "evaluator")
"""Roles that show instrumented GenAI work: with any of them, root spans are no calls."""
POINTS = ("record", "score")
"""Rows that are measurements: without a duration they never enter latency or reliability."""
NO_CALLS = "no_call_spans"

GROUP = "unit_group"
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_KEPT = (
    "experiment_id", "condition", "trace_id", "session_id", "trial_id", "item_id", "repetition", "aside", "start_ns", "end_ns", "ttft_ms", "role",
    "score_name", "score_value", "evaluations", "reported_cost_usd", "cost_nano_usd", "is_call", "excluded_because", "response_model", *TOKENS,
)  # fmt: skip
AMOUNTS = ("cost_nano_usd", "reported_cost_usd", *TOKENS)
_TRIAL = ["experiment_id", "trial_id"]
_ORDERED = ("start_ns", "latency_ms", "item_id", "trial_id", "cost_nano_usd", "input_tokens", "output_tokens", "score_name",
            "score_value", "measurements", "weight")  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """The rows of one analysis, in memory."""

    units: pl.DataFrame
    calls: pl.DataFrame
    rows: pl.DataFrame
    unit: str
    keys: tuple[str, ...] = ()
    """The group keys' columns in the three tables (prefixed, so that a key may have any name)."""
    reason: str | None = None
    """Why there are no units, as a short code; None where there are some."""
    has_fallen_back: bool = False
    """Root spans stand for calls, because no span carries a GenAI, agent or tool marker."""
    engine: Engine | None = None
    """Where the tables are aggregated; None is Polars."""

    def on_engine(self, frame: pl.DataFrame) -> Rows:
        """A table, or a part of one, where it is aggregated."""
        # Nothing is nothing everywhere, and some engines cannot take it.
        return frame if self.engine is None or frame.is_empty() else self.engine.take(frame)


def tables(subject: Subject, unit: Unit = "call", keys: tuple[str, ...] = (), where: Where | None = None) -> Tables:
    """The units and calls of a subject, without its excluded trials.

    `where` selects rows of the unit: a trial is kept when its own span passes, with all that lies in it. A row
    outside of every trial (a score, an evaluation call) is kept when it passes itself.
    """
    name = unit_name(unit)
    check_columns(list(keys), subject.spans, "the group key")
    rows = _narrow(subject, unit, keys, where)
    if name == "trial" and where is not None:
        rows = _with_their_trials(rows)
    rows = rows.with_columns(is_wasted=_is_wasted(rows))
    by = tuple(f"key:{key}" for key in keys)
    if name == "trial":
        return _trial_tables(rows, by)
    falls_back = not rows["is_call"].any() and not rows["is_marked"].any()
    rows = rows.with_columns(is_counted=pl.col("is_root") if falls_back else pl.col("is_call"))
    calls = rows.filter(pl.col("is_counted") & _is_work()).with_columns(calls=pl.lit(1))
    if name == "call":
        return Tables(
            calls, calls, rows, name, by, None if calls.height else NO_CALLS, falls_back and bool(calls.height)
        )
    work = rows.filter(_is_work())
    if name == "span":
        spans = work.with_columns(_only_counted(), calls=pl.col("is_counted").cast(pl.Int64))
        return Tables(spans, calls, rows, name, by, None if spans.height else "no_spans", falls_back)
    return _grouped(work, calls, rows, by, name)


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows in an order of their own: sums end in the same bits however the rows were stored."""
    if frame["start_ns"].is_sorted() and not frame["start_ns"].null_count() and frame["start_ns"].is_unique().all():
        return frame
    keys = [name for name in _ORDERED if name in frame.columns]
    return frame.sort(keys, nulls_last=True)


def unit_name(unit: Unit) -> str:
    """The unit's name as results print it; raises `ConfigurationError` for an unknown one."""
    if isinstance(unit, pl.Expr):
        return str(unit)
    if unit not in NAMES:
        raise ConfigurationError(
            f"unit={unit!r} is not a unit of analysis. Use one of {', '.join(map(repr, NAMES))} or a Polars expression "
            'whose values name the groups, for example pl.col("trace_id").'
        )
    return unit


def _narrow(subject: Subject, unit: Unit, keys: tuple[str, ...], where: Where | None) -> pl.DataFrame:
    """The one pass: only the columns that some metric needs, with their flags."""
    frame = included(subject)
    passes = pl.lit(value=True) if where is None else predicate(where, frame).fill_null(value=False)
    if unit_name(unit) != "trial":
        frame = frame.filter(passes)
        passes = pl.lit(value=True)
    interrupted = pl.col("status").eq_missing(pl.lit("interrupted"))
    failed = (pl.col("status").eq_missing(pl.lit("error")) | pl.col("error_type").is_not_null()) & ~interrupted
    length = pl.col("duration_ms").fill_nan(None)
    group = unit if isinstance(unit, pl.Expr) else pl.coalesce("session_id", "conversation_id")
    return (
        frame.select(
            *_KEPT,
            *[pl.col(key).alias(f"key:{key}") for key in keys],
            group.alias(GROUP),
            pl.coalesce("request_model", "response_model", pl.lit("unknown")).alias("model"),
            pl.when(length.is_finite() & (length >= 0) & ~interrupted).then(length).alias("latency_ms"),
            pl.col("sample_weight").alias("weight"),
            failed.alias("is_failed"),
            interrupted.alias("is_interrupted"),
            (failed & pl.col("error_kind").eq_missing(pl.lit("timeout"))).alias("is_censored"),
            pl.when(failed).then(pl.coalesce("error_type", "error_kind", pl.lit("error"))).alias("error"),
            pl.col("parent_span_id").is_null().alias("is_root"),
            pl.col("role").is_in(MARKERS).fill_null(value=False).alias("is_marked"),
            pl.when(pl.col("role") == "record").then("attributes").alias("measurements"),
            passes.alias("passes"),
        )
        .with_columns(pl.col("is_call").fill_null(value=False), pl.col("ttft_ms").fill_nan(None))
        .collect()
    )


def _is_work() -> pl.Expr:
    """The system proper: no evaluation call, no point in time."""
    is_point = pl.col("role").is_in(POINTS).fill_null(value=False) & pl.col("latency_ms").is_null()
    return pl.col("aside").is_null() & ~is_point


def _is_wasted(rows: pl.DataFrame) -> pl.Expr:
    """Whose cost bought nothing: calls of failed trials, and failed calls outside of any trial."""
    trials = rows.filter((pl.col("role") == "trial") & (pl.col("is_failed") | pl.col("is_interrupted")))
    is_known = pl.col("trial_id").is_in(rows.filter(pl.col("role") == "trial")["trial_id"].implode())
    in_failed = pl.col("trial_id").is_in(trials["trial_id"].implode())
    return pl.when(is_known.fill_null(value=False)).then(in_failed).otherwise(pl.col("is_failed"))


def _only_counted() -> list[pl.Expr]:
    return [pl.when("is_counted").then(name).alias(name) for name in AMOUNTS]


def call_sums() -> list[pl.Expr]:
    """What the calls of a unit add up to. Unknown stays unknown: a sum of nothing is null."""
    known = [pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum()).alias(name) for name in AMOUNTS]
    return [*known, pl.col("cost_nano_usd").is_null().sum().alias("unpriced"), pl.len().cast(pl.Int64).alias("calls")]


def is_trial() -> pl.Expr:
    """Which rows are trials of the system proper."""
    return (pl.col("role") == "trial").fill_null(value=False) & pl.col("aside").is_null()


def _with_their_trials(rows: pl.DataFrame) -> pl.DataFrame:
    """What passes: in a trial by the trial's own span, outside of every trial by itself."""
    trials = rows.filter(is_trial()).select(*_TRIAL, is_kept="passes").unique(_TRIAL)
    joined = rows.join(trials, on=_TRIAL, how="left", nulls_equal=True, maintain_order="left")
    return joined.filter(pl.coalesce("is_kept", "passes")).drop("is_kept")


def _trial_tables(rows: pl.DataFrame, by: tuple[str, ...]) -> Tables:
    trials = rows.filter(is_trial())
    calls = rows.filter(pl.col("is_call") & pl.col("aside").is_null()).with_columns(calls=pl.lit(1))
    # A call belongs to its trial's group, whatever its own row says.
    calls = calls.drop(by).join(trials.select(*_TRIAL, *by), on=_TRIAL, how="inner", nulls_equal=True)
    units = trials.drop(AMOUNTS).join(calls.group_by(_TRIAL).agg(call_sums()), on=_TRIAL, how="left", nulls_equal=True)
    if calls.height:
        # A trial without a call costs nothing and uses no tokens: known, not unknown.
        idle = pl.col("calls").is_null()
        units = units.with_columns(pl.when(idle).then(0).otherwise(name).alias(name) for name in AMOUNTS)
    units = units.with_columns(pl.col("calls", "unpriced").fill_null(0), ttft_ms=pl.lit(None, pl.Float64))
    return Tables(_whole_cost(units), calls, rows, "trial", by, None if units.height else "no_trial_spans")


def _grouped(work: pl.DataFrame, calls: pl.DataFrame, rows: pl.DataFrame, by: tuple[str, ...], name: str) -> Tables:
    """One unit per session or per value of the expression.

    Its latency runs from the first start to the last end inside it; it failed where a call in it failed.
    """
    keys = [GROUP, *by]
    inside = work.filter(pl.col(GROUP).is_not_null())
    calls = calls.filter(pl.col(GROUP).is_not_null())
    extent = (pl.col("end_ns").max() - pl.col("start_ns").min()) / 1e6
    decisive = inside.filter(pl.col("is_counted")) if calls.height else inside
    outcome = decisive.group_by(keys).agg(
        pl.col("is_failed").any(), pl.col("is_censored").any(), pl.col("error").drop_nulls().first()
    )
    units = inside.group_by(keys).agg(
        pl.col("experiment_id", "condition", "item_id").first(),
        pl.col("start_ns").min(),
        pl.when(~pl.col("is_interrupted").any() & (extent >= 0)).then(extent).alias("latency_ms"),
        pl.col("weight").mean(),
        pl.col("is_interrupted").any(),
        pl.lit(None, pl.Float64).alias("ttft_ms"),
    )
    units = units.join(outcome, on=keys, how="left", nulls_equal=True)
    units = units.join(calls.group_by(keys).agg(call_sums()), on=keys, how="left", nulls_equal=True)
    units = units.with_columns(
        (pl.col("is_failed").fill_null(value=False) & ~pl.col("is_interrupted")).alias("is_failed"),
        pl.col("is_censored").fill_null(value=False),
        pl.col("calls", "unpriced").fill_null(0),
    )
    reason = None if units.height else ("no_sessions" if name == "session" else "no_groups")
    return Tables(_whole_cost(units), calls, rows, name, by, reason)


def _whole_cost(units: pl.DataFrame) -> pl.DataFrame:
    """A unit with an unpriced call has no known cost; the sum of its priced calls would be too low."""
    return units.with_columns(pl.when(pl.col("unpriced") == 0).then("cost_nano_usd").alias("cost_nano_usd"))
