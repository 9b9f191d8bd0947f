"""A fingerprint of the values that entered a result, whatever their order.

Each row is mixed to 64 bits (splitmix64, Steele et al. 2014); the sums of both halves do not
depend on the order of rows. It tells data apart; it is no protection against forgery (the
archive's SHA-256 is).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

LOW, HIGH = "fingerprint_low", "fingerprint_high"
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MISSING = -(2**63) + 1


def with_marks(table: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The table with two integer columns whose sums, with the count, make a digest."""
    mixed = np.zeros(table.height, dtype=np.uint64)
    for name in columns:
        bits = _bits(table[name])
        mixed = _mix(mixed + _GOLDEN + bits)
    low, high = mixed & np.uint64(0xFFFFFFFF), mixed >> np.uint64(32)
    return table.with_columns(pl.Series(LOW, low.astype(np.int64)), pl.Series(HIGH, high.astype(np.int64)))


def digest(count: int, low: int | None, high: int | None) -> str:
    """The digest of so many rows with these sums: 32 hex digits."""
    return hashlib.sha256(f"{count}:{low or 0}:{high or 0}".encode()).hexdigest()[:32]


def of_values(*samples: Sequence[float] | NDArray[np.float64]) -> str:
    """The digest of plain sequences, each in its place."""
    parts = []
    for values in samples:
        marked = with_marks(pl.DataFrame({"x": np.asarray(values, dtype=np.float64)}), ["x"])
        parts.append(digest(marked.height, int(marked[LOW].sum()), int(marked[HIGH].sum())))
    return hashlib.sha256(":".join(parts).encode()).hexdigest()[:32]


def _bits(column: pl.Series) -> NDArray[np.uint64]:
    if column.dtype == pl.Float64:
        # Adding 0.0 makes -0.0 and 0.0 one value.
        whole = (column.fill_null(0.0) + 0.0).to_numpy().view(np.int64)
    else:
        whole = column.cast(pl.Int64).fill_null(0).to_numpy()
    if column.null_count():
        whole = np.where(column.is_null().to_numpy(), _MISSING, whole)
    return whole.astype(np.uint64)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64, in place."""
    z ^= z >> np.uint64(30)
    z *= _FIRST
    z ^= z >> np.uint64(27)
    z *= _SECOND
    z ^= z >> np.uint64(31)
    return z
