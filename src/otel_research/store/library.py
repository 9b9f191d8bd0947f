"""A store together with its catalogue: find experiments, mend what a crash left, count."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from otel_research.errors import ExperimentRunning
from otel_research.experiments import ExperimentRecord, has_tag
from otel_research.store import rows
from otel_research.store.base import Catalogue, Journaled, Store
from otel_research.store.urls import open_store

if TYPE_CHECKING:
    import polars as pl


class Library:
    """Experiments of one store. Reading needs nothing else: no provider, no recorder."""

    def __init__(self, store: str | Store | None = None, *, local_root: Path | None = None) -> None:
        self.store = open_store(store)
        self.journal = self._journal(local_root)
        """Where spans are journaled: the store itself, or a local disk that feeds it."""
        self.catalogue: Catalogue = self.store if isinstance(self.store, Catalogue) else self._local(local_root)

    def _journal(self, local_root: Path | None) -> Journaled:
        return self.store if isinstance(self.store, Journaled) else self._local(local_root)

    def _local(self, local_root: Path | None) -> Any:
        from otel_research.store.disk import DiskStore, default_root

        existing = getattr(self, "_local_store", None)
        if existing is None:
            existing = self._local_store = DiskStore(local_root or default_root())
        return existing

    @property
    def is_fed(self) -> bool:
        """Whether the store gets its spans from the local journal."""
        return not isinstance(self.store, Journaled)

    @property
    def url(self) -> str:
        """The store's URL, or the name of its type."""
        return getattr(self.store, "url", type(self.store).__name__)

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The record; one whose processes died without a stop is marked stopped first."""
        return self._mended(self.catalogue.get_experiment(experiment_id))

    def find(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        tag: str | None = None,
        study: str | None = None,
        include_hidden: bool = False,
    ) -> list[ExperimentRecord]:
        """The records that match everything given, oldest first."""
        records = [self._mended(record) for record in self.catalogue.list_experiments()]
        return [
            record
            for record in records
            if (include_hidden or not record.is_hidden)
            and (state is None or record.state == state)
            and (name is None or record.name == name)
            and (tag is None or has_tag(record.tags, tag))
            and (study is None or record.study == study)
        ]

    def _mended(self, record: ExperimentRecord) -> ExperimentRecord:
        """A running experiment whose every process is dead has crashed: say so, seal what it left."""
        if record.state != "running" or self.journal.has_live_writer(record.id) or not self._is_abandoned(record):
            return record
        self.journal.seal(record.id, is_over=True)
        crashed = msgspec.structs.replace(record, state="stopped", ended_by="crash", stopped_ns=self._last_ns(record))
        self.catalogue.put_experiment(crashed)
        return crashed

    def _is_abandoned(self, record: ExperimentRecord) -> bool:
        """Whether the process that started it is known to be dead (it may not have written a span yet)."""
        from otel_research.journal.writer import Writer, is_alive

        owner = record.environment.get("writer")
        return owner is not None and is_alive(msgspec.convert(owner, Writer)) is False

    def _last_ns(self, record: ExperimentRecord) -> int:
        import polars as pl

        found = self.scan(record.id).select(pl.max_horizontal("start_ns", "end_ns").max()).collect().item()
        return int(found) if found is not None else time.time_ns()

    def scan(self, experiment_id: str) -> pl.LazyFrame:
        """The experiment's stored rows, those included that a remote store does not have yet."""
        stored = self.store.scan(experiment_id)
        if not self.is_fed:
            return stored
        import polars as pl

        journaled = self.journal.scan(experiment_id)  # type: ignore[attr-defined]
        return rows.once(pl.concat([rows.as_stored(stored), rows.as_stored(journaled)]))

    def delete(self, record: ExperimentRecord) -> None:
        """Forget an experiment: rows and record."""
        if record.state == "running":
            raise ExperimentRunning(f"experiment {record.name!r} ({record.id}) still runs; stop it first.")
        self.store.delete(record.id)
        if self.is_fed:
            self.journal.delete(record.id)  # type: ignore[attr-defined]
        self.catalogue.delete_experiment(record.id)
