"""What the pages show as one table each, for who wants to go on with it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from otel_research import numbers
from otel_research.analysis.arms import best_unit
from otel_research.dashboard.comparing import Opened, compared, members
from otel_research.handle import Experiment
from otel_research.store.library import Library

_WRITE = {"csv": pl.DataFrame.write_csv, "parquet": pl.DataFrame.write_parquet, "jsonl": pl.DataFrame.write_ndjson}


def write(table: pl.DataFrame, format: str, path: Path) -> None:
    """The table as a file."""
    _WRITE[format](table, path)  # type: ignore[operator]


def metrics(experiment: Experiment) -> pl.DataFrame:
    """Every number with its interval or reason, by condition, in the unit of the page."""
    unit = best_unit([numbers.subject_of(experiment)])
    by = numbers.metrics_by(experiment, "condition", unit=unit)
    return _stacked([(name, found.to_polars()) for name, found in by.items()], "condition")


def comparison(opened: Opened, baseline: str, candidates: Sequence[str]) -> pl.DataFrame:
    """Every number of a comparison, candidate by candidate."""
    found = compared(opened, baseline, candidates)
    return _stacked([(one.candidate, one.to_polars()) for one in (found, *found.others)], "candidate")


def study(library: Library, opened: Opened, name: str) -> pl.DataFrame:
    """The pooled effects of a study."""
    return numbers.study(members(library, opened, name)).to_polars()


def experiments(lines: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """The list, as it is shown."""
    flat = [{**line, "tags": ", ".join(line["tags"])} for line in lines]
    return pl.DataFrame(flat, infer_schema_length=None)


def _stacked(parts: Sequence[tuple[str | None, pl.DataFrame]], column: str) -> pl.DataFrame:
    """One below the other, each with its name in front."""
    named = [frame.select(pl.lit(name, pl.String).alias(column), pl.all()) for name, frame in parts]
    return pl.concat(named) if named else pl.DataFrame(schema={column: pl.String})
