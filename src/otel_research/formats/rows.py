"""A table's values, a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from otel_research.errors import ConfigurationError
from otel_research.formats import flat
from otel_research.formats.table import Row, Table

_CELLS = 2_000_000
"""Cells in memory at once; a table with very many columns is read in smaller pieces."""


@dataclass(frozen=True)
class Piece:
    """Some rows: the frame's own columns as they are, attributes (as stored) and computed ones as lists."""

    frame: pl.DataFrame
    made: Mapping[str, list[Any]]

    def lists(self, names: Iterable[str]) -> dict[str, list[Any]]:
        """The named columns as lists of Python values."""
        return {name: self.made[name] if name in self.made else self.frame[name].to_list() for name in names}


def read(table: Table, extra: Mapping[str, str], unknown: set[str] | None = None) -> Iterator[Piece]:
    """The table's columns and the attributes `extra` ({key: column}).

    Attribute keys that are in neither are added to `unknown`, where one is given.
    """
    needed = [name for name in table.columns if name not in table.functions and name not in table.attributes]
    wanted = _wanted(table, extra)
    # A function may read any column, so it gets them all.
    frame = table.frame if table.functions else table.frame.select([*dict.fromkeys([*needed, "attributes"])])
    reads_attributes = bool(wanted or table.functions or unknown is not None)
    done = 0
    for batch in flat.batches(frame, max(100, min(flat.CHUNK, _CELLS // (len(wanted) + len(needed) + 1)))):
        decoded = [flat.decode(text) for text in batch["attributes"]] if reads_attributes else []
        made = _attributes(decoded, wanted, unknown, batch.height)
        made |= {name: _computed(name, function, batch, decoded, done) for name, function in table.functions.items()}
        done += batch.height
        yield Piece(batch, made)


def _wanted(table: Table, extra: Mapping[str, str]) -> dict[str, list[str]]:
    """Attribute key -> the columns it fills."""
    wanted: dict[str, list[str]] = {}
    for name in table.attributes:
        wanted.setdefault(name, []).append(name)
        if name.startswith(flat.PREFIX):
            wanted.setdefault(name.removeprefix(flat.PREFIX), []).append(name)
    for key, name in extra.items():
        wanted.setdefault(key, []).append(name)
    return wanted


def _attributes(
    decoded: list[dict[str, Any]], wanted: Mapping[str, list[str]], unknown: set[str] | None, height: int
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [None] * height for names in wanted.values() for name in names}
    targets = {key: [columns[name] for name in names] for key, names in wanted.items()}
    for number, row in enumerate(decoded):
        for key, value in row.items():
            lists = targets.get(key)
            if lists is not None:
                for column in lists:
                    column[number] = value
            elif unknown is not None:
                unknown.add(key)
    return columns


def _computed(
    name: str, function: Callable[[Row], Any], batch: pl.DataFrame, decoded: list[dict[str, Any]], done: int
) -> list[Any]:
    found = []
    for number, (row, attributes) in enumerate(zip(batch.iter_rows(named=True), decoded, strict=True)):
        # A column of spans() wins over an attribute of the same name; `attr.<key>` always reaches the attribute.
        given = {key: flat.plain(value) for key, value in attributes.items()}
        given |= {flat.PREFIX + key: value for key, value in given.items()}
        try:
            found.append(function({**given, **row}))
        except Exception as error:
            where = f"row {done + number + 1} (trace {row.get('trace_id')}, span {row.get('span_id')})"
            raise ConfigurationError(
                f"the transformer of column {name!r} failed at {where}: {type(error).__name__}: {error}"
            ) from error
    return found
