"""What a store holds after a crash, as anybody would read it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from otel_research.capture.accounts import of_experiment
from otel_research.capture.ledger import Ledger
from otel_research.experiments import ExperimentRecord
from otel_research.store.library import Library


class Left(NamedTuple):
    """One experiment of a store whose process is gone."""

    record: ExperimentRecord
    rows: pl.DataFrame
    ledger: Ledger

    @property
    def ended(self) -> list[int]:
        """Span ids of the spans that ended."""
        rows = self.rows.filter(~pl.col("status").eq_missing("interrupted"))
        return [int(span_id, 16) for span_id in rows["span_id"]]


def left_in(folder: Path, spill: Path | None = None) -> Left:
    """The one experiment in the store."""
    library = Library(f"disk:{folder}")
    library.spill_to(spill)
    (record,) = library.find(include_hidden=True)
    rows = library.scan(record.id).collect()
    assert rows.select(pl.struct("trace_id", "span_id", "start_ns").is_duplicated().sum()).item() == 0
    return Left(record, rows, of_experiment(library, record.id, is_running=record.state == "running"))
