"""Which rows: an expression or a mapping over the columns of spans, checked against a frame before a row is read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import polars as pl

from otel_research.errors import ConfigurationError
from otel_research.spans import schema

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
    kinds = frame.collect_schema()
    tests = [_test(name, value, kinds[name]) for name, value in where.items()]
    return pl.all_horizontal(tests) if tests else pl.lit(True)


def told(where: Where) -> str:
    """The filter as a label has it: "condition=long, item_id=1"."""
    if isinstance(where, Mapping):
        return ", ".join(f"{name}={value}" for name, value in where.items())
    return str(where)


def _test(name: str, value: object, kind: pl.DataType) -> pl.Expr:
    if isinstance(value, (list, tuple, set, frozenset)):
        return pl.col(name).is_in([_fitting(name, one, kind) for one in value])
    # A missing value is another value, not an unknown answer: what is excluded by it must not take others along.
    return pl.col(name).eq_missing(pl.lit(_fitting(name, value, kind)))


def _fitting(name: str, value: object, kind: pl.DataType) -> object:
    """The value as the column has it: a whole number is the text of an id, as `exp.trial(item=1)` says it."""
    if value is None:
        return None
    is_flag = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")  # NumPy's is no bool
    if kind in (pl.String, pl.Categorical, pl.Enum):
        if isinstance(value, Integral) and not is_flag:
            return str(int(value))
        fits = isinstance(value, str)
    elif kind == pl.Boolean:
        fits = is_flag
    elif kind.is_numeric():
        fits = isinstance(value, Real) and not is_flag
    else:
        fits = True
    if not fits:
        raise ConfigurationError(f"where: the column {name!r} is {kind}, and {value!r} can never be one of its values.")
    return value


def check_spans(where: Mapping[str, Any]) -> None:
    """Refuse a mapping that the rows of `exp.spans()` could not answer, before there are any."""
    predicate(where, pl.LazyFrame(schema=schema.polars_schema(schema.ALL)))


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
