"""Exact linear (type 7) quantiles on any engine, bit-equal to Polars', in bounded memory.

A first pass counts the values by cells of a logarithmic scale; ranks tell which cells hold the
order statistics that are needed. A cell with too many values is counted again by cells of its
own. The last pass brings the values of the needed cells, and those alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from otel_research.analysis import engine
from otel_research.analysis.engine import Key

_PER_OCTAVE = 64
"""Cells between x and 2x: each is about 1 % wide."""
_ZERO, _BELOW = -(10**6), -2 * 10**6
_FINER = 1024
MOST_VALUES = 1_000_000
"""A cell with more values is divided before it is brought here."""
_AT_ONCE = 50
"""Cells that one pass asks for."""

Expr = nw.Expr
Frame = nw.LazyFrame[Any]


@dataclass(frozen=True)
class Cell:
    """Some neighbouring values of one group: how many, between which, and how many lie below them."""

    key: Key
    low: float
    high: float
    n: int
    before: int


class _Where(NamedTuple):
    """The frame, its group keys, and the sample."""

    frame: Frame
    keys: tuple[str, ...]
    x: Expr


def linear(frame: Frame, keys: Sequence[str], column: str, probs: Mapping[str, float]) -> dict[Key, dict[str, float]]:
    """Key -> name -> quantile; a group without a value is missing. Null values do not enter."""
    x = nw.col(column).cast(nw.Float64)
    where = _Where(frame.filter(~nw.col(column).is_null()), tuple(keys), x)
    cells = _cells(where, _logarithmic(x))
    total = {key: last.before + last.n for key, members in cells.items() for last in members[-1:]}
    wanted = {key: _ranks(n, probs.values()) for key, n in total.items()}
    found = _statistics(where, cells, wanted)
    return {key: {name: _between(found[key], (n - 1) * p) for name, p in probs.items()} for key, n in total.items()}


def at(ordered: NDArray[np.float64], p: float) -> float:
    """The same quantile of values that are here, in their order."""
    place = (ordered.size - 1) * p
    return _between({rank: float(ordered[rank]) for rank in (math.floor(place), math.ceil(place))}, place)


def _ranks(n: int, probs: Iterable[float]) -> set[int]:
    """The ranks (0-based) that the quantiles lie between."""
    return {end((n - 1) * p) for p in probs for end in (math.floor, math.ceil)}


def _between(statistics: Mapping[int, float], place: float) -> float:
    """Linear between two order statistics, in the operations that Polars uses."""
    low, high = math.floor(place), math.ceil(place)
    below, above = statistics[low], statistics[high]
    return below if low == high or below == above else (place - low) * (above - below) + below


def _logarithmic(x: Expr) -> Expr:
    """The number of a value's cell; it never falls when the value rises."""
    above = (x.log(2.0) * _PER_OCTAVE).floor()
    below = ((x * -1).log(2.0) * _PER_OCTAVE).floor() * -1 + 2 * _BELOW
    return nw.when(x > 0).then(above).otherwise(nw.when(x < 0).then(below).otherwise(nw.lit(float(_ZERO))))


def _cells(where: _Where, number: Expr, before: int = 0) -> dict[Key, list[Cell]]:
    """Every group's cells that hold something, in the order of their values."""
    counted = engine.aggregate(
        where.frame.with_columns(quantile_cell=number),
        (*where.keys, "quantile_cell"),
        {"n": nw.len(), "low": where.x.min(), "high": where.x.max()},
    )
    found: dict[Key, list[Cell]] = defaultdict(list)
    for (*key, _), raw in sorted(counted.items(), key=lambda pair: pair[1]["low"]):
        members = found[tuple(key)]
        at = members[-1].before + members[-1].n if members else before
        members.append(Cell(tuple(key), raw["low"], raw["high"], int(raw["n"]), at))
    return found


def _statistics(
    where: _Where, cells: Mapping[Key, list[Cell]], wanted: Mapping[Key, set[int]]
) -> dict[Key, dict[int, float]]:
    """Key -> rank -> value."""
    found: dict[Key, dict[int, float]] = defaultdict(dict)
    to_bring: list[Cell] = []
    for key, members in cells.items():
        waiting = list(members)
        while waiting:
            cell = waiting.pop()
            ranks = [rank for rank in wanted[key] if cell.before <= rank < cell.before + cell.n]
            if not ranks:
                continue
            if cell.low == cell.high:
                found[key].update(dict.fromkeys(ranks, cell.low))
            elif cell.n > MOST_VALUES:
                waiting += _divided(where, cell)
            else:
                to_bring.append(cell)
    for start in range(0, len(to_bring), _AT_ONCE):
        for cell, values in _brought(where, to_bring[start : start + _AT_ONCE]):
            inside = {rank - cell.before for rank in wanted[cell.key] if cell.before <= rank < cell.before + cell.n}
            found[cell.key].update({cell.before + place: values[place] for place in inside})
    return found


def _divided(where: _Where, cell: Cell) -> list[Cell]:
    """The same values in finer cells, of equal width."""
    inside = where._replace(frame=where.frame.filter(_is_in(where, cell)))
    number = ((where.x - cell.low) * (_FINER / (cell.high - cell.low))).floor()
    return _cells(inside, number, cell.before)[cell.key]


def _brought(where: _Where, cells: Sequence[Cell]) -> list[tuple[Cell, list[float]]]:
    """The values of some cells, sorted."""
    anywhere = _is_in(where, cells[0])
    for cell in cells[1:]:
        anywhere = anywhere | _is_in(where, cell)
    picked = where.frame.filter(anywhere).select(*where.keys, quantile_value=where.x)
    values: dict[Key, list[float]] = defaultdict(list)
    for *key, value in engine.collected(picked).rows():
        values[tuple(key)].append(value)
    ordered = {key: sorted(found) for key, found in values.items()}
    return [(cell, [value for value in ordered[cell.key] if cell.low <= value <= cell.high]) for cell in cells]


def _is_in(where: _Where, cell: Cell) -> Expr:
    return engine.is_group(where.keys, cell.key) & (where.x >= cell.low) & (where.x <= cell.high)
