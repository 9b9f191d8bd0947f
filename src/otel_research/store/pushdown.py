"""The part of a Polars filter that a database can answer, as SQL.

Polars filters again whatever comes back, so what is not understood is left out, and a condition may let
through more than the filter; never less. Understood are comparisons of a stored column with a value
(equal, unequal, in, between, less, greater, null or not), joined by and/or.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from otel_research.spans.schema import STORED
from otel_research.store.postgres_rows import IDS, STANDS_IN, bytes_of, stored_as

if TYPE_CHECKING:
    import polars as pl

Quote = Callable[[Any], str]
"""A value as an SQL literal."""

_COLUMNS = {column.name: column for column in STORED}
_OPERATORS = {"Eq": "=", "NotEq": "<>", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_BETWEEN = {"Both": (">=", "<="), "Left": (">=", "<"), "Right": (">", "<="), "None": (">", "<")}
_NUMBERS = ("int", "float")


def condition(predicate: pl.Expr | None, quote: Quote) -> str | None:
    """SQL that holds of every row for which the predicate does; None where nothing of it is understood."""
    if predicate is None:
        return None
    try:
        tree = json.loads(predicate.meta.serialize(format="json"))
    except Exception:  # an expression that cannot be written down, such as a Python function
        return None
    return _Reading(quote).of(tree)


class _Reading:
    """One predicate's tree, as Polars writes it: what has another shape than we know is not understood."""

    def __init__(self, quote: Quote) -> None:
        self._quote = quote

    def of(self, node: Any) -> str | None:
        """The SQL of a node that is true or false."""
        match node:
            case {"BinaryExpr": {"left": left, "op": "And" | "LogicalAnd", "right": right}}:
                both = [text for text in (self.of(left), self.of(right)) if text is not None]
                return f"({' AND '.join(both)})" if both else None
            case {"BinaryExpr": {"left": left, "op": "Or" | "LogicalOr", "right": right}}:
                first, second = self.of(left), self.of(right)
                return None if first is None or second is None else f"({first} OR {second})"
            case {"BinaryExpr": {"left": {"Column": str(name)}, "op": str(op), "right": value}}:
                return self._compared(name, _OPERATORS.get(op), value)
            case {"BinaryExpr": {"left": value, "op": str(op), "right": {"Column": str(name)}}}:
                sign = _OPERATORS.get(op)
                return self._compared(name, None if sign is None else _MIRRORED.get(sign, sign), value)
            case {"Function": {"input": [{"Column": str(name)}, *values], "function": {"Boolean": kind}}}:
                return self._asked(name, kind, values)
        return None

    def _asked(self, name: str, kind: Any, values: list[Any]) -> str | None:
        if name not in _COLUMNS:
            return None
        match kind:
            case "IsNull":
                return f"{_stored(name)} IS NULL"
            case "IsNotNull":
                return f"{_stored(name)} IS NOT NULL"
            case {"IsIn": {"nulls_equal": False}} if len(values) == 1:
                return self._within(name, values[0])
            case {"IsBetween": {"closed": str(closed)}} if closed in _BETWEEN and len(values) == 2:
                bounds = zip(_BETWEEN[closed], values, strict=True)
                both = [text for sign, value in bounds if (text := self._compared(name, sign, value)) is not None]
                return f"({' AND '.join(both)})" if both else None
        return None

    def _compared(self, name: str, sign: str | None, value: Any) -> str | None:
        found = _values(value)
        if sign is None or name not in _COLUMNS or found is None or len(found) != 1:
            return None
        kind = _COLUMNS[name].type
        if sign not in ("=", "<>") and kind not in _NUMBERS:
            return None  # databases sort text each in its own way
        if sign == "<>" and kind == "text" and isinstance(found[0], str) and STANDS_IN in _shown(found[0]):
            return None
        text = self._literal(name, found[0])
        return None if text is None else f"{_stored(name)} {sign} {text}"

    def _within(self, name: str, value: Any) -> str | None:
        found = _values(value)
        if found is None:
            return None
        texts = [self._literal(name, each) for each in found if each is not None]
        if None in texts:
            return None
        return f"{_stored(name)} IN ({', '.join(text for text in texts if text)})" if texts else "FALSE"

    def _literal(self, name: str, value: Any) -> str | None:
        """A value of the column as it is stored; None for one of another type, or that SQL writes differently."""
        kind = _COLUMNS[name].type
        if name in IDS and isinstance(value, str):
            return self._quote(bytes_of(name, value))
        if kind == "text" and isinstance(value, str):
            return self._quote(_shown(value))
        if kind == "bool" and isinstance(value, bool):
            return self._quote(value)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # An integer against a float is compared in another type there than here.
        if kind in _NUMBERS and is_number and math.isfinite(value) and (kind == "float" or isinstance(value, int)):
            return self._quote(value)
        return None


def _stored(name: str) -> str:
    return f'"{stored_as(_COLUMNS[name])}"'


def _shown(text: str) -> str:
    """Text as a column holds it: NUL stands there as a visible character."""
    return text.replace("\0", STANDS_IN)


def _values(node: Any) -> list[Any] | None:
    """The values of a literal, a list's one by one; None for what is no literal."""
    import polars as pl

    if not (isinstance(node, dict) and set(node) == {"Literal"}):
        return None
    try:
        found = pl.select(pl.Expr.deserialize(io.BytesIO(json.dumps(node).encode()), format="json")).to_series()
    except Exception:  # a literal that another version writes
        return None
    if isinstance(found.dtype, pl.List):
        found = found.explode(empty_as_null=False) if found.len() else found
    return found.to_list()
