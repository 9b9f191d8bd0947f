"""Evaluation results that were logged belong to the experiment of the span they are about."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from otel_research.formats.otlp_rows import EVALUATION, SCORE_SCOPE
from otel_research.store.library import Library

_LABELS = ("experiment_id", "condition", "trial_id", "item_id", "repetition", "session_id", "factors", "aside")


def is_homeless() -> pl.Expr:
    """A score row that names no experiment, but a span."""
    is_score = (pl.col("name") == EVALUATION) & (pl.col("scope") == SCORE_SCOPE)
    return is_score & pl.col("experiment_id").is_null() & pl.col("parent_span_id").is_not_null()


def follow(scores: pl.DataFrame, library: Library, experiments: Iterable[str]) -> pl.DataFrame:
    """The rows with the labels of their span, where that is in one of the experiments; the others as they are."""
    traces = scores["trace_id"].unique().to_list()
    about = [
        library.scan(experiment).filter(pl.col("trace_id").is_in(traces)).select("trace_id", "span_id", *_LABELS)
        for experiment in experiments
    ]
    if not about:
        return scores
    spans = pl.concat(about).unique(["trace_id", "span_id"], keep="first").collect()
    parent = spans.rename({"span_id": "parent_span_id"} | {name: f"{name}_of_span" for name in _LABELS})
    joined = scores.join(parent, on=["trace_id", "parent_span_id"], how="left", maintain_order="left")
    is_found = pl.col("experiment_id_of_span").is_not_null()
    return joined.with_columns(
        *(pl.coalesce(name, f"{name}_of_span").alias(name) for name in _LABELS),
        experiment_source=pl.when(is_found).then(pl.lit("parent")).otherwise("experiment_source"),
    ).select(scores.columns)
