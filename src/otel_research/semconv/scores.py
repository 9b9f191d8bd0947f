"""Scores and evaluations wherever they were written, one row each.

our own `score()` rows, and log records `gen_ai.evaluation.result` that were captured as rows
span events `gen_ai.evaluation.result`, any number on a span
OpenInference evaluator spans, whose output is {"score": ..., "label": ..., "explanation": ...}
"""

from __future__ import annotations

import polars as pl

from otel_research.semconv.attributes import at, decode, struct_of

_WHERE = ("experiment_id", "condition", "trial_id", "item_id", "repetition", "trace_id", "span_id", "start_ns")
_EVENT = "gen_ai.evaluation.result"
_NAMES = {
    "name": "gen_ai.evaluation.name",
    "value": "gen_ai.evaluation.score.value",
    "label": "gen_ai.evaluation.score.label",
    "explanation": "gen_ai.evaluation.explanation",
}
_VERDICT = {"score": "value", "label": "label", "explanation": "explanation"}
_OUT = {"name": pl.String(), "value": pl.Float64(), "label": pl.String(), "explanation": pl.String()}


def scores(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Where each score belongs (experiment, trial, item, span), its `name`, `value`, `label`, `explanation`, `source`.

    `source` is "row", "event" or "evaluator". Takes RAW and CANONICAL columns; rows come in no particular order.
    """
    types = frame.collect_schema()
    schema = {**{name: types[name] for name in _WHERE}, **_OUT, "source": pl.String()}
    written = pl.col("role") == "score"
    evaluated = (pl.col("role") == "evaluator") & pl.col("attributes").str.contains('"output.value"', literal=True)
    parts = (
        (frame.filter(written), _of_rows),
        (frame.filter(pl.col("events").str.contains(f'"{_EVENT}"', literal=True)), _of_events),
        (frame.filter(evaluated), _of_evaluators),
    )
    return pl.concat(
        rows.select(*_WHERE, "name", "attributes", "events").map_batches(read, schema=schema, streamable=True)
        for rows, read in parts
    )


def _of_rows(rows: pl.DataFrame) -> pl.DataFrame:
    told = decode(rows["attributes"], pl.Struct(dict.fromkeys(_NAMES.values(), pl.String())))
    return _table(rows, told.select(pl.col(key).alias(name) for name, key in _NAMES.items()), "row")


def _of_events(rows: pl.DataFrame) -> pl.DataFrame:
    fields = pl.Struct({"name": pl.String(), "attributes": pl.Struct(dict.fromkeys(_NAMES.values(), pl.String()))})
    wrapped = rows.select(pl.concat_str(pl.lit('{"told":'), "events", pl.lit("}"))).to_series()
    told = decode(wrapped, pl.Struct({"told": pl.List(fields)}))["told"]
    each = rows.with_columns(told).explode("told").filter(pl.col("told").struct.field("name") == _EVENT)
    inside = pl.col("told").struct.field("attributes").struct
    return _table(each, each.select(inside.field(key).alias(name) for name, key in _NAMES.items()), "event")


def _of_evaluators(rows: pl.DataFrame) -> pl.DataFrame:
    outputs = decode(rows["attributes"], pl.Struct({"output.value": pl.String()}))["output.value"]
    objects = outputs.set(~outputs.str.starts_with("{").fill_null(False), None)
    told = decode(objects, struct_of(_VERDICT)).select(at(path).alias(name) for path, name in _VERDICT.items())
    named = told.with_columns(rows["name"])
    table = _table(rows, named, "evaluator")
    return table.filter(pl.col("value").is_not_null() | pl.col("label").is_not_null())


def _table(rows: pl.DataFrame, told: pl.DataFrame, source: str) -> pl.DataFrame:
    values = told.select(pl.col(name).cast(dtype, strict=False) for name, dtype in _OUT.items())
    return rows.select(_WHERE).hstack(values).with_columns(source=pl.lit(source))
