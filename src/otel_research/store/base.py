"""The contract of every store, ours and a user's.

`otel_research.testing.StoreContract` is the suite that every backend passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from otel_research.experiments import ExperimentRecord

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from otel_research.journal.log import Closed, Log
    from otel_research.journal.reader import Counts


@runtime_checkable
class Store(Protocol):
    """Where captured spans live. What was appended comes back, unchanged, whole, once.

    A batch has the columns `spans.schema.STORED`. Identity of a row is
    `spans.schema.IDENTITY`; appending a row that is already there changes nothing, except
    that an ended row replaces an interrupted one (`status == "interrupted"`).
    """

    def append(self, batch: pa.RecordBatch, /) -> None:
        """Store all rows or none. Idempotent. Durable as the class declares when it returns.

        Raises `StoreClosed` after `close`, `StoreError` when the backend fails.
        """

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        """Every stored row once, of one experiment or of all; an unknown id gives no rows."""

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment's rows. Deleting an unknown one does nothing."""

    def close(self) -> None:
        """Release what is held. Idempotent."""


@runtime_checkable
class Journaled(Protocol):
    """A store on this machine that takes frames span by span; the others are fed from one that does."""

    def open_log(self, experiment_id: str, on_rolled: Closed | None = None, *, is_quarantine: bool = False) -> Log:
        """Where this process's spans of the experiment go, one frame each."""

    def seal(self, experiment_id: str, *, is_over: bool) -> None:
        """Turn complete segments into columns; `is_over`: what is still open will never end."""

    def counts(self, experiment_id: str) -> tuple[Counts, int]:
        """(what the frames of all processes tell, spans that started and have not ended)."""

    def has_live_writer(self, experiment_id: str) -> bool:
        """Whether a process that writes to the experiment may still run."""

    def put_ledger(self, experiment_id: str, writer: str, counts: dict[str, Any]) -> None:
        """Keep what one process counted beside its frames: losses, late spans, errors."""

    def ledgers(self, experiment_id: str) -> list[dict[str, Any]]:
        """What every process counted."""


@runtime_checkable
class Catalogue(Protocol):
    """Where experiment records live. Optional: a store without it uses the local disk's."""

    def put_experiment(self, record: ExperimentRecord, /) -> None:
        """Store or replace a record, atomically."""

    def get_experiment(self, experiment_id: str) -> ExperimentRecord:
        """The record; raises `UnknownExperiment`."""

    def list_experiments(self) -> list[ExperimentRecord]:
        """Every record, oldest first."""

    def delete_experiment(self, experiment_id: str) -> None:
        """Forget a record. Deleting an unknown one does nothing."""

    def annotate(self, experiment_id: str, note: dict[str, Any], /) -> None:
        """Append one annotation (score, exclusion, amendment); never changes an earlier one."""

    def annotations(self, experiment_id: str) -> list[dict[str, Any]]:
        """Every annotation, in the order they were made."""
