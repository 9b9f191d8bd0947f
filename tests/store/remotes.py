"""A store on another machine, as far as its callers can tell: a folder behind the four methods, which can be cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from otel_research.errors import StoreUnreachable
from otel_research.experiments import ExperimentRecord
from otel_research.store.disk import DiskStore


class Remote:
    """Rows in a folder; while the file `down` is in it, nobody reaches it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = DiskStore(folder)
        self.appended = 0
        """Rows that were sent here, those that were known included."""

    @property
    def url(self) -> str:
        return f"remote:{self._folder}"

    def append(self, batch: pa.RecordBatch, /) -> None:
        self._check()
        self._rows.append(batch)
        self.appended += batch.num_rows

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        self._check()
        return self._rows.scan(experiment_id)

    def delete(self, experiment_id: str) -> None:
        self._rows.delete(experiment_id)

    def close(self) -> None:
        self._rows.close()

    def cut_off(self) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / "down").touch()

    def bring_back(self) -> None:
        (self._folder / "down").unlink()

    def _check(self) -> None:
        if (self._folder / "down").exists():
            raise StoreUnreachable(f"{self.url} does not answer.")


class Whole(Remote):
    """The same with a catalogue of its own, as databases have."""

    def put_experiment(self, record: ExperimentRecord, /) -> None:
        self._check()
        self._rows.put_experiment(record)

    def get_experiment(self, experiment_id: str) -> ExperimentRecord:
        self._check()
        return self._rows.get_experiment(experiment_id)

    def list_experiments(self) -> list[ExperimentRecord]:
        self._check()
        return self._rows.list_experiments()

    def delete_experiment(self, experiment_id: str) -> None:
        self._check()
        self._rows.delete_experiment(experiment_id)

    def annotate(self, experiment_id: str, note: dict[str, Any], /) -> None:
        self._check()
        self._rows.annotate(experiment_id, note)

    def annotations(self, experiment_id: str) -> list[dict[str, Any]]:
        self._check()
        return self._rows.annotations(experiment_id)
