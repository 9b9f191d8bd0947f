"""Rows in the order of their identity, however many there are: sorted part by part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

AT_ONCE = 100_000
"""Rows that are sorted in memory."""
_BATCH = 50_000
_KEYS = ("trace_id", "span_id", "start_ns")


def in_order(rows: pl.LazyFrame, at_once: int | None = None) -> Iterator[pl.DataFrame]:
    """The rows sorted by trace, span and start, in frames; memory does not grow with their number.

    A part is the rows whose trace ids begin alike. Ids are random digits, so parts are of one
    size; the rows are read once per part. Rows without a trace id come last.
    """
    for part in _parts(rows, AT_ONCE if at_once is None else at_once):
        yield from part.sort(_KEYS, nulls_last=True).collect().iter_slices(_BATCH)


def _parts(rows: pl.LazyFrame, at_once: int) -> Iterator[pl.LazyFrame]:
    import polars as pl

    count = int(rows.select(pl.len()).collect().item())
    digits = 0
    while count >> 4 * digits > at_once:
        digits += 1
    if not digits:
        yield rows
        return
    begin = pl.col("trace_id").str.head(digits)
    for number in range(16**digits):
        yield rows.filter(begin == f"{number:0{digits}x}")
    yield rows.filter(~begin.str.contains(f"^[0-9a-f]{{{digits}}}$").fill_null(False))
