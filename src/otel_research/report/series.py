"""A series of windows in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otel_research.report.values import amount

if TYPE_CHECKING:
    from rich.table import Table

_NUMBERS = ("mean", "p50", "p95", "p99", "expected")
_MARKS = {"anomaly": "anomaly", "step": "new level"}


def series_table(rows: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """One line per window, from the rows of `time_series`; what is not known is a dash."""
    from rich.table import Table

    fixed = {"window", "count", "min", "max", "reason", *_NUMBERS, *_MARKS}
    keys = [name for name in (rows[0] if rows else {}) if name not in fixed]
    table = Table(title=metric, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in (*keys, "window", "count", *_NUMBERS, ""):
        table.add_column(name, justify="left" if name in (*keys, "window", "") else "right")
    for row in rows:
        marks = ", ".join(text for name, text in _MARKS.items() if row[name])
        shown = [str(row[key]) for key in keys]
        numbers = ["–" if row[name] is None else amount(row[name]) for name in _NUMBERS]
        table.add_row(*shown, row["window"].replace("+00:00", "Z"), f"{row['count']:,}", *numbers, marks)
    return table
