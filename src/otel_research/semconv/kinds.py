"""Rows of one kind worked out once: what an expression makes of a few words is the same for all rows that have them.

A batch has many rows and few different combinations of scope, name, model and the like. So it is held in two
frames: one line per row, and one line per kind of row (the different combinations of its columns of few words).
An expression that asks for such columns only is evaluated per kind; any other one per row. The result is the same,
row by row, whatever the kinds are: that is why the expressions know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from operator import xor
from typing import NamedTuple

import polars as pl

_SAMPLE = 1009
"""Rows that are looked at to find the columns of few words."""
_FEW_WORDS = 32
_FEWER = 8
"""Kinds are worth their while where there are so many times fewer of them than rows."""
_LEAST = 4096
"""Below so many rows the search for kinds costs more than it saves."""
_KIND = "kind of row"
_NUMBER = "number of what is shared"


class Shared(NamedTuple):
    """Columns that have one line for many rows: the row's `number` says which, null for none."""

    columns: pl.DataFrame
    number: pl.Series

    def by_row(self) -> pl.DataFrame:
        """The columns, a line per row."""
        return self.columns[self.number]


class Batch:
    """The columns of a batch, by row or by kind of row."""

    def __init__(self, frame: pl.DataFrame, shared: Shared | None = None) -> None:
        self._rows, self._height = _columns(frame), len(frame)
        # What is shared is told by its number: the columns themselves need not be looked at.
        told = frame if shared is None else frame.with_columns(shared.number.alias(_NUMBER))
        self._at, each = _by_kind(told)
        self._kinds, self._count = _columns(each), len(each)
        self._rows = {name: column for name, column in self._rows.items() if name not in self._kinds}
        if shared is not None and self._at is not None:
            self._kinds |= _columns(shared.columns[self._kinds.pop(_NUMBER)])
        elif shared is not None:
            self._rows |= _columns(shared.by_row())

    def add(self, expressions: Iterable[pl.Expr]) -> None:
        """The columns that the expressions make of those that are there now, whose place they take."""
        every = [(one, set(one.meta.root_names())) for one in expressions]
        by_kind = [(one, roots) for one, roots in every if self._at is not None and roots <= self._kinds.keys()]
        by_row = [(one, roots) for one, roots in every if self._at is None or not roots <= self._kinds.keys()]
        kinds = _made(by_kind, lambda names: pl.DataFrame([self._kinds[name] for name in names]), self._count)
        rows = _made(by_row, self.select, self._height)
        for new, mine, others in ((kinds, self._kinds, self._rows), (rows, self._rows, self._kinds)):
            mine |= new
            for name in new.keys() & others.keys():
                del others[name]

    def put(self, column: pl.Series) -> None:
        """A column that was made without expressions, a line per row."""
        self._rows[column.name] = column
        self._kinds.pop(column.name, None)

    def has_any(self, name: str) -> bool:
        """Whether the boolean column is true anywhere."""
        return bool((self._kinds if name in self._kinds else self._rows)[name].any())

    def select(self, names: Iterable[str]) -> pl.DataFrame:
        """The columns, a line per row."""
        wanted = list(names)
        columns = {name: self._rows[name] for name in wanted if name in self._rows}
        if self._at is not None:
            told = pl.DataFrame([self._kinds[name] for name in wanted if name in self._kinds])
            columns |= _columns(told[self._at]) if told.width else {}
        return pl.DataFrame([columns[name] for name in wanted])

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return [*self._kinds, *self._rows]


def _columns(frame: pl.DataFrame) -> dict[str, pl.Series]:
    return {column.name: column for column in frame.get_columns()}


def _made(
    expressions: list[tuple[pl.Expr, set[str]]], columns: Callable[[Iterable[str]], pl.DataFrame], height: int
) -> dict[str, pl.Series]:
    """The columns that the expressions make, each `height` lines long."""
    if not expressions:
        return {}
    asked = columns(sorted(set().union(*(roots for _, roots in expressions))))
    made = _columns(asked.select([one for one, _ in expressions]))
    # Literals alone give one line.
    return {name: one if len(one) == height else one.new_from_index(0, height) for name, one in made.items()}


def _by_kind(frame: pl.DataFrame) -> tuple[pl.Series | None, pl.DataFrame]:
    """The number of each row's kind, and the words of each kind; None and nothing where kinds are not worth it."""
    named = _of_few_words(frame) if len(frame) >= _LEAST else []
    at = _kind_of_row(frame.select(_varied(frame, named))) if named else None
    return (None, pl.DataFrame()) if at is None else (at, _one_each(frame.select(named), at))


def _of_few_words(frame: pl.DataFrame) -> list[str]:
    sample = frame.gather_every(max(1, len(frame) // _SAMPLE | 1))
    return [name for name in frame.columns if sample[name].n_unique() <= _FEW_WORDS]


def _varied(frame: pl.DataFrame, named: list[str]) -> list[str]:
    """Those of the columns that are not one word throughout, which tells no kinds apart; at least one."""
    return [name for name in named if not _is_one_word(frame[name])] or named[:1]


def _is_one_word(column: pl.Series) -> bool:
    if column.null_count():
        return column.null_count() == len(column)
    return column[0] == column[-1] and bool((column == column[0]).all())


def _kind_of_row(words: pl.DataFrame) -> pl.Series | None:
    """The number of each row's kind; None where there are too many kinds."""
    mixed = _hashed(words)
    if mixed.n_unique() * _FEWER > len(words):
        return None
    at = mixed.rank("dense") - 1
    # Two kinds of one hash would be taken for one: compared with the kind's own words, a row shows it.
    told = _one_each(words, at).select(pl.all().gather(at))
    return at if words.equals(told) else None


def _hashed(words: pl.DataFrame) -> pl.Series:
    return words.select(reduce(xor, (pl.col(name).hash(seed) for seed, name in enumerate(words.columns)))).to_series()


def _one_each(words: pl.DataFrame, at: pl.Series) -> pl.DataFrame:
    """The words of each kind, in the order of its number."""
    first = pl.DataFrame({_KIND: at}).with_row_index("row").unique(_KIND, keep="any").sort(_KIND)["row"]
    return words.select(pl.all().gather(first))
