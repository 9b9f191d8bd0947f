"""Our own rows: trials, measurements from `otr.record()`, scores from `otr.score()`."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import Attributes, Dialect

SCOPE = "otel_research"
ROLES = ("trial", "record", "score")


def role(attributes: Attributes) -> pl.Expr:
    """What `experiment.row` says, on spans of our own scope; an evaluation's log record is a score, whoever wrote it."""
    row = attributes.text("experiment.row")
    ours = pl.when(row.is_in(ROLES) & pl.col("scope").str.starts_with(SCOPE)).then(row)
    return pl.coalesce(ours, pl.when(pl.col("name") == "gen_ai.evaluation.result").then(pl.lit("score")))


DIALECT = Dialect(
    name="otel_research",
    versions="otel-research 0.1",
    role=role,
    evidence=("experiment.row",),
    aliases={
        "record_model": ("measurement.model", "model", "measurement.request_model", "request_model"),
        "record_provider": ("measurement.provider", "provider"),
        "record_operation": ("measurement.operation", "operation"),
        "input_tokens": ("measurement.input_tokens",),
        "output_tokens": ("measurement.output_tokens",),
        "cache_read_tokens": ("measurement.cache_read_tokens",),
        "cache_write_tokens": ("measurement.cache_write_tokens",),
        "cache_write_1h_tokens": ("measurement.cache_write_1h_tokens",),
        "reasoning_tokens": ("measurement.reasoning_tokens",),
        "service_tier": ("measurement.service_tier", "service_tier"),
        "reported_cost_usd": ("measurement.cost_usd",),
        "ttft_ms": ("measurement.ttft_ms",),
        "measured_ms": ("measurement.duration_ms",),
        "measured_us": ("measurement.duration_us",),
        "success": ("measurement.success",),
        "error_type": ("measurement.error_type",),
        "outcome": ("experiment.trial.outcome",),
        "failure_reason": ("experiment.trial.failure_reason",),
        "row": ("experiment.row",),
    },
    known=("experiment.", "measurement.", "session.id"),
)
