"""What units depend on each other: those of an item, else of a session, a trial or a trace.

Ten calls of one trial are not ten observations. Items are declared, so any number of them counts; the other
levels are only taken where each arm has at least `FEWEST` of them, because a clustered error of fewer is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

ITEM = "item_id"
LEVELS = ("session_id", "trial_id", "trace_id")
FEWEST = 10
Codes = NDArray[np.intp]


def clusters(frames: Sequence[pl.DataFrame]) -> tuple[Codes | None, str | None]:
    """Cluster codes of the rows of all frames, one after the other, and their level; None where all stand alone."""
    items = pl.concat([frame[ITEM] for frame in frames])
    if items.len() and not items.null_count():
        return _codes(items), ITEM
    for level in LEVELS:
        if not all(level in frame.columns and not frame[level].null_count() for frame in frames):
            continue
        sizes = [frame[level].n_unique() for frame in frames]
        repeats = any(size < frame.height for size, frame in zip(sizes, frames, strict=True))
        if repeats and min(sizes) >= FEWEST:
            return _codes(pl.concat([frame[level] for frame in frames])), level
    return None, None


def too_few(frames: Sequence[pl.DataFrame]) -> str | None:
    """The level that units share without there being enough of it to tell how far they depend."""
    for level in ("trial_id", "session_id"):
        for frame in frames:
            if level in frame.columns and not frame[level].null_count() and frame.height:
                groups = frame[level].n_unique()
                if groups < FEWEST and groups < frame.height:
                    return level
    return None


def _codes(column: pl.Series) -> Codes:
    return column.rank("dense").to_numpy().astype(np.intp) - 1
