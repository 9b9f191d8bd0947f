"""Which rows: an expression or a mapping over the columns of spans, checked against a frame before a row is read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from otel_research.errors import ConfigurationError

Where = pl.Expr | Mapping[str, Any]


def predicate(where: Where, frame: pl.LazyFrame) -> pl.Expr:
    """The filter as one expression. A mapping means: equal, one of (a list), or missing (None).

    Raises `ConfigurationError` where it names a column that the frame lacks, or is no filter.
    """
    if isinstance(where, pl.Expr):
        check_expression("where", where, frame)
        return where
    if not isinstance(where, Mapping):
        raise ConfigurationError(
            f"where is a Polars expression or a mapping of column to value, got {type(where).__name__}. "
            'Examples: where={"condition": "a"}, where=pl.col("is_call").'
        )
    check_columns(where, frame, "where")
    tests = [_test(pl.col(name), value) for name, value in where.items()]
    return pl.all_horizontal(tests) if tests else pl.lit(True)


def _test(column: pl.Expr, value: object) -> pl.Expr:
    if isinstance(value, (list, tuple, set, frozenset)):
        return column.is_in(list(value))
    # A missing value is another value, not an unknown answer: what is excluded by it must not take others along.
    return column.eq_missing(pl.lit(value))


def check_columns(names: Iterable[str], frame: pl.LazyFrame, what: str) -> None:
    """Refuse a column that does not exist, naming the nearest ones."""
    known = frame.collect_schema().names()
    for name in names:
        if name not in known:
            raise ConfigurationError(f"{what}: there is no column {name!r}.{suggest(name, known)}")


def check_expression(what: str, expression: pl.Expr, frame: pl.LazyFrame) -> None:
    """Refuse an expression that the frame cannot answer."""
    try:
        frame.select(expression).collect_schema()
    except pl.exceptions.ColumnNotFoundError as error:
        known = frame.collect_schema().names()
        missing = next((root for root in expression.meta.root_names() if root not in known), "?")
        raise ConfigurationError(f"{what}: there is no column {missing!r}.{suggest(missing, known)}") from error
    except pl.exceptions.PolarsError as error:
        raise ConfigurationError(f"{what} is not an expression over the columns of spans(): {error}") from error


def suggest(name: str, known: Iterable[str]) -> str:
    """A "did you mean" for a name, or the first few that exist."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(map(repr, close))}?"
    return f" Known: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}."
