"""What an exported table consists of: leading columns, chosen columns, transformers, filter.

Everything is checked before the first row is read, so that a typing mistake costs
nothing and never leaves a half-written file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from otel_research.errors import ConfigurationError
from otel_research.formats import flat
from otel_research.spans import schema
from otel_research.spans.where import Where, check_expression, predicate, suggest

LEADING = (
    "timestamp",
    "event_name",
    "duration_us",
    "condition",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "status",
    "error_type",
)
"""The first columns of CSV and JSON Lines: what a person looks for in a spreadsheet."""

Row = dict[str, Any]
Transformer = pl.Expr | Callable[[Row], Any]


@dataclass(frozen=True)
class Table:
    """A checked request: a frame that has every column of `columns` that is not an attribute or a function."""

    frame: pl.LazyFrame
    columns: tuple[str, ...]
    attributes: frozenset[str]
    """Those of `columns` that are attribute keys, to be taken from the JSON."""
    all_attributes: bool
    """After `columns`, one more column for every other attribute key."""
    functions: Mapping[str, Callable[[Row], Any]]
    """Columns that a Python function computes from the row."""


def prepare(
    frame: pl.LazyFrame,
    default: Sequence[str],
    *,
    columns: Sequence[str] | None,
    transformers: Mapping[str, Transformer] | None,
    where: Where | None,
    all_attributes: bool = False,
) -> Table:
    """Check the request against the frame; raises `ConfigurationError` naming what is wrong."""
    transformers = _checked_transformers(transformers)
    frame = frame.filter(predicate(where, frame)) if where is not None else frame
    frame = with_leading(frame)
    chosen = _checked_columns(columns) if columns is not None else tuple(default)
    chosen += tuple(name for name in transformers if name not in chosen)
    functions = {name: made for name, made in transformers.items() if not isinstance(made, pl.Expr)}
    frame = _with_expressions(frame, {name: made for name, made in transformers.items() if isinstance(made, pl.Expr)})
    known = frame.collect_schema().names()
    attributes = frozenset(_attributes(frame, [name for name in chosen if name not in functions], known))
    return Table(frame, chosen, attributes, all_attributes and columns is None, functions)


def with_leading(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with the leading columns that are not columns of `spans()` already."""
    when = pl.from_epoch(pl.col("start_ns"), time_unit="ns").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    # Where duration_ms is null there is no duration (interrupted, a point in time): unknown, not 0.
    duration = pl.when(pl.col("duration_ms").is_not_null()).then((pl.col("end_ns") - pl.col("start_ns")) / 1000)
    return frame.with_columns(
        when.alias("timestamp"),
        pl.col("name").alias("event_name"),
        duration.alias("duration_us"),
        pl.coalesce("request_model", "response_model").alias("model"),
    )


def _checked_columns(columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        columns = [columns]
    for name in columns:
        if not isinstance(name, str):
            raise ConfigurationError(f"columns are names, got {name!r} ({type(name).__name__}).")
    twice = {name for name in columns if list(columns).count(name) > 1}
    if twice:
        raise ConfigurationError(f"the column {sorted(twice)[0]!r} is asked for twice.")
    if not columns:
        raise ConfigurationError("columns is empty: name at least one column, or leave it out for all of them.")
    return tuple(columns)


def _checked_transformers(transformers: Mapping[str, Transformer] | None) -> dict[str, Transformer]:
    for name, made in (transformers or {}).items():
        if not isinstance(made, pl.Expr) and not callable(made):
            raise ConfigurationError(
                f"the transformer of {name!r} is a {type(made).__name__}; "
                "give a Polars expression or a function that takes the row as a dict."
            )
    return dict(transformers or {})


def _with_expressions(frame: pl.LazyFrame, expressions: Mapping[str, pl.Expr]) -> pl.LazyFrame:
    """The frame with the expressions' columns; an expression may name attribute keys as well."""
    if not expressions:
        return frame
    known = frame.collect_schema().names()
    roots = {root for made in expressions.values() for root in made.meta.root_names()}
    unknown = [root for root in sorted(roots) if root not in known]
    if unknown:
        kinds = flat.attribute_kinds(frame)
        keys = {key: name for key in kinds for name in (key, flat.PREFIX + key) if name in unknown}
        frame = flat.with_attributes(frame, keys, kinds)
    for name, made in expressions.items():
        check_expression(f"the transformer of {name!r}", made, frame)
    return frame.with_columns(**expressions)


def _attributes(frame: pl.LazyFrame, chosen: Iterable[str], known: list[str]) -> list[str]:
    """Those of the chosen names that are attribute keys; an unknown name is refused."""
    missing = [name for name in chosen if name not in known]
    if not missing:
        return []
    keys = flat.attribute_keys(frame)
    allowed = {*keys, *(flat.PREFIX + key for key in keys)}
    for name in missing:
        if name not in allowed:
            names = [*LEADING, *schema.names(schema.ALL), *keys]
            raise ConfigurationError(f"there is no column and no attribute {name!r}.{suggest(name, names)}")
    return missing
