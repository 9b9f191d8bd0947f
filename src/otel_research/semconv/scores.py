"""Scores and evaluations wherever they were written, one row each.

our own `score()` rows, and log records `gen_ai.evaluation.result` that were captured as rows
what events, evaluators' outputs and annotations say (`evaluations`)
"""

from __future__ import annotations

import polars as pl

from otel_research.semconv.attributes import decode

_WHERE = ("experiment_id", "condition", "trial_id", "item_id", "repetition", "trace_id", "span_id", "start_ns")
_OUT = {"name": pl.String(), "value": pl.Float64(), "label": pl.String(), "explanation": pl.String()}
_LISTED = pl.List(pl.Struct({**_OUT, "source": pl.String()}))
_WHY = "gen_ai.evaluation.explanation"


def scores(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Where each score belongs (experiment, trial, item, span), its `name`, `value`, `label`, `explanation`, `source`.

    `source` is "row", "event", "evaluator" or "annotation". Takes RAW and CANONICAL columns; rows come in no
    particular order.
    """
    types = frame.collect_schema()
    schema = {**{name: types[name] for name in _WHERE}, **_OUT, "source": pl.String()}
    written = frame.filter(pl.col("role") == "score").select(
        *_WHERE, "attributes", name="score_name", value="score_value", label="score_label"
    )
    return pl.concat([written.map_batches(_of_rows, schema=schema, streamable=True), listed(frame, _WHERE)])


def listed(frame: pl.LazyFrame, where: tuple[str, ...]) -> pl.LazyFrame:
    """One row per result in `evaluations`, with the columns `where` of its span."""
    told = frame.filter(pl.col("evaluations").is_not_null()).select(
        *where, pl.col("evaluations").str.json_decode(_LISTED).alias("told")
    )
    return told.explode("told", empty_as_null=False).unnest("told")


def _of_rows(rows: pl.DataFrame) -> pl.DataFrame:
    why = decode(rows["attributes"], pl.Struct({_WHY: pl.String()}))[_WHY]
    return rows.drop("attributes").with_columns(why.alias("explanation"), source=pl.lit("row"))
