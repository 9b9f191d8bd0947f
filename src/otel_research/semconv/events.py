"""What span events tell: the exception, the first token, an evaluation. Only rows that carry one are read."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.attributes import decode

_FIRST_TOKEN = (
    "First Token Stream Event",
    "ai.stream.firstChunk",
    "mlflow.chunk.item.0",
    "gen_ai.content.completion.chunk",
)
"""Events at the first token; of repeated ones (one per chunk) the first counts."""
_BEGAN = "stream.start"
"""The event of Langtrace when an answer is a stream."""
_MARKS = [f'"{name}"' for name in ("exception", "gen_ai.evaluation.result", _BEGAN, *_FIRST_TOKEN)]
_ATTRIBUTES = {
    "exception.type": "exception_type",
    "exception.message": "exception_message",
}
_EVENT = pl.Struct(
    {"name": pl.String(), "time_ns": pl.String(), "attributes": pl.Struct(dict.fromkeys(_ATTRIBUTES, pl.String()))}
)
SCHEMA: dict[str, pl.DataType] = {
    "first_token_ns": pl.Int64(),
    **dict.fromkeys(_ATTRIBUTES.values(), pl.String()),
    "event_score": pl.Boolean(),
    "stream_began": pl.Boolean(),
}


def read(events: pl.Series) -> pl.DataFrame:
    """One row per span: the last exception, the first "first token", whether there is an evaluation result and a stream."""
    rows = pl.DataFrame({"events": events}).with_row_index("row")
    marked = rows.filter(pl.col("events").str.contains_any(_MARKS))
    if marked.is_empty():
        return pl.DataFrame(schema=SCHEMA).clear(len(events))
    return rows.select("row").join(_told(marked), on="row", how="left", maintain_order="left").select(list(SCHEMA))


def _told(marked: pl.DataFrame) -> pl.DataFrame:
    # A list of events is wrapped as an object, because only objects are decoded.
    wrapped = marked.select(pl.concat_str(pl.lit('{"events":'), "events", pl.lit("}"))).to_series()
    listed = decode(wrapped, pl.Struct({"events": pl.List(_EVENT)}))
    told = marked.select("row").hstack(listed).explode("events", empty_as_null=False).unnest("events")
    told = told.unnest("attributes").with_columns(pl.col("time_ns").cast(pl.Int64, strict=False))
    first_token = pl.col("name").is_in(_FIRST_TOKEN)
    is_exception, is_score = pl.col("name") == "exception", pl.col("name") == "gen_ai.evaluation.result"
    return told.group_by("row").agg(
        pl.col("time_ns").filter(first_token).min().alias("first_token_ns"),
        *(_pick(key, is_exception).last().alias(column) for key, column in _ATTRIBUTES.items()),
        is_score.any().alias("event_score"),
        (pl.col("name") == _BEGAN).any().alias("stream_began"),
    )


def _pick(key: str, when: pl.Expr) -> pl.Expr:
    return pl.col(key).filter(when & pl.col(key).is_not_null())
