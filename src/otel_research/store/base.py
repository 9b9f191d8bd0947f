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
    from otel_research.journal.writer import Writer


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

    def seal_off(self, experiment_id: str) -> None:
        """No more frames in the current segments of this process."""

    def seal(self, experiment_id: str, *, is_over: bool) -> None:
        """Turn complete segments into columns; `is_over`: what is still open will never end."""

    def counts(self, experiment_id: str) -> tuple[Counts, int]:
        """(what the frames of all processes tell, spans that are open: without a row, because they may still end)."""

    def writers(self, experiment_id: str) -> set[str]:
        """Every process that has written frames here."""

    def copies(self, experiment_id: str) -> pl.LazyFrame:
        """Every row as it lies there, second copies too: what `scan` gives each once."""

    def has_live_writer(self, experiment_id: str) -> bool:
        """Whether a process that writes to the experiment may still run."""

    def beat(self, experiment_id: str, writer: Writer) -> bool:
        """This process still records the experiment; True where it had been taken for gone meanwhile."""

    def leave(self, experiment_id: str, writer: Writer) -> None:
        """This process records it no longer."""

    def is_gone(self, experiment_id: str, writer: Writer) -> bool:
        """Whether a process that recorded the experiment has gone without a word."""

    def put_ledger(self, experiment_id: str, writer: str, counts: dict[str, Any]) -> None:
        """Keep what one process counted beside its frames: losses, late spans, errors."""

    def ledgers(self, experiment_id: str) -> list[dict[str, Any]]:
        """What every process counted."""

    def by_writer(self, experiment_id: str) -> dict[str, tuple[Counts, dict[str, Any]]]:
        """The name of every process that took part -> (what its frames tell, what it counted beside them)."""


@runtime_checkable
class Accounts(Protocol):
    """Optional: what each process counted, kept beside the rows of a store that several machines feed."""

    def put_accounts(self, experiment_id: str, writer: str, counts: dict[str, Any], /) -> None:
        """Keep or replace what one process counted."""

    def accounts(self, experiment_id: str) -> dict[str, dict[str, Any]]:
        """writer -> what it counted."""


@runtime_checkable
class Derived(Protocol):
    """Optional: calls and their cost beside the rows, for those who query the store without us."""

    def put_derived(self, experiment_id: str, calls: pl.DataFrame, prices: str, /) -> None:
        """Replace an experiment's calls: identity and DERIVED columns, and which prices were used."""


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
