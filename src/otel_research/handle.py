"""`Experiment`: what users hold. It says which spans belong together and gives them back."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import msgspec
from opentelemetry.trace import Tracer

from otel_research import context, exclusion
from otel_research.amending import Amendable
from otel_research.capture import accounts, registry
from otel_research.capture.experiment import OWN_SCOPE, ExperimentCapture
from otel_research.capture.ledger import Ledger
from otel_research.context import Scope
from otel_research.errors import (
    ConfigurationError,
    ExperimentError,
    ExperimentRunning,
    ExperimentStopped,
    StoreUnreachable,
    UnknownExperiment,
)
from otel_research.experiments import EndedBy, ExperimentRecord, State, check_factors, check_label
from otel_research.recorder import Recorder
from otel_research.reported import Reported
from otel_research.runner.running import RunsTrials
from otel_research.store.library import Library
from otel_research.trial import Trial, item_text, repetition_number
from otel_research.watched import Watchable

if TYPE_CHECKING:
    import polars as pl

    from otel_research.formats.export import OfExport
    from otel_research.selection import Selection

    Where = pl.Expr | Mapping[str, Any]


_logger = logging.getLogger("otel_research")


class Experiment(Watchable, Reported, RunsTrials, Amendable):
    """One experiment: its record, its spans, and, in the process that runs it, its recording.

    The attributes of its record (`id`, `name`, `hypothesis`, `condition`, `tags`, `state`,
    `ended_by`, `sample_size`, `metadata`, `study`, `factors`, `environment`, `content_hash`, ...)
    are its own. Made by `start_experiment`, `experiment`, `get_experiment` and `list_experiments`.
    """

    # The record's fields, given by `__getattr__` as they are now.
    hypothesis: str | None
    condition: str | None
    tags: tuple[str, ...]
    state: State
    ended_by: EndedBy | None
    sample_size: int | None
    metadata: dict[str, Any]
    primary: tuple[str, ...]
    direction: dict[str, str]
    margin: dict[str, float]
    study: str | None
    factors: dict[str, Any]
    seed: int | None
    session_id: str | None
    sampling_rate: float | None
    environment: dict[str, Any]
    content_hash: str | None
    is_hidden: bool

    def __init__(
        self,
        record: ExperimentRecord,
        library: Library,
        *,
        recorder: Recorder | None = None,
        capture: ExperimentCapture | None = None,
        custom_metrics: tuple[Any, ...] = (),
        base: Scope | None = None,
    ) -> None:
        self._record = record
        self.library = library
        self.recorder = recorder
        self.custom_metrics = custom_metrics
        self._capture = capture
        self._base = base
        self._pid = os.getpid()
        self._is_deleted = False

    def __repr__(self) -> str:
        return f"<Experiment {self.name!r} {self.id} {self.state}>"

    def _repr_html_(self) -> str:
        from otel_research.report import card

        return card.experiment(self.record, self.ledger())

    def __getattr__(self, name: str) -> Any:
        """The record's fields, as they are now."""
        if name.startswith("_") or name not in ExperimentRecord.__struct_fields__:
            raise AttributeError(f"Experiment has no attribute {name!r}")
        return getattr(self.record, name)

    @property
    def record(self) -> ExperimentRecord:
        """The record; of an experiment that runs elsewhere, as its store says now."""
        if (self._capture is None or self.is_guest or self._capture.is_stopped) and self._record.state == "running":
            self._record = self.library.get(self._record.id)
        return self._record

    @property
    def id(self) -> str:
        """Hex text."""
        return self._record.id

    @property
    def name(self) -> str:
        """What it is called."""
        return self._record.name

    @property
    def started_at(self) -> datetime:
        """When it was started, UTC."""
        return _moment(self._record.started_ns)

    @property
    def stopped_at(self) -> datetime | None:
        """When it was stopped, UTC; None while it runs."""
        stopped = self.record.stopped_ns
        return None if stopped is None else _moment(stopped)

    @property
    def is_recording(self) -> bool:
        """Whether spans started in this process can still belong to it."""
        return self._capture is not None and not self._capture.is_stopped

    @property
    def is_guest(self) -> bool:
        """Whether this process only takes part: it joined, or was forked since the experiment began."""
        return self._capture is not None and (self._base is not None or self._pid != os.getpid())

    # -- what spans carry ---------------------------------------------------------------

    def activate(self) -> AbstractContextManager[Scope]:
        """Enter the experiment in this thread or task, for a block."""
        return context.entered(self._scope())

    @contextmanager
    def arm(self, condition: str, factors: Mapping[str, Any] | None = None) -> Iterator[Experiment]:
        """Everything inside the block carries this condition (and these factor levels)."""
        scope = self._scope()
        levels = {**dict(scope.factors), **check_factors(factors)}
        with context.entered(scope.having(condition=_named("condition", condition), factors=tuple(levels.items()))):
            yield self

    @contextmanager
    def session(self, session_id: str) -> Iterator[Experiment]:
        """Everything inside the block belongs to this session."""
        with context.entered(self._scope().having(session_id=_named("session_id", session_id))):
            yield self

    @contextmanager
    def aside(self, name: str) -> Iterator[Experiment]:
        """Evaluation calls: captured, kept out of the system's latency, cost and reliability, reported apart."""
        with context.entered(self._scope().having(aside=_named("aside", name))):
            yield self

    def trial(self, item: str | int | None = None, repetition: int = 0, **attributes: Any) -> Trial:
        """One trial of an item; a context manager. An exception marks it failed.

        Args:
            item: the id of what the trial is about.
            repetition: 0-based, of the item within its condition.
            attributes: of the trial's span.
        """
        self._check_recording()
        is_disabled = self.recorder is not None and self.recorder.settings.is_disabled
        if self.id not in registry.running and not is_disabled:
            # While it waits for open spans what begins is not of it any more: a trial would be lost in silence.
            raise ExperimentStopped(f"experiment {self.name!r} ({self.id}) is being stopped and takes no more trials.")
        scope = self._scope().having(item_id=item_text(item), repetition=repetition_number(repetition))
        return Trial(self, scope, attributes)

    def _scope(self) -> Scope:
        """What is current here if it is of this experiment, else the experiment's own."""
        self._check_recording()
        here = context.current_scope()
        if here is not None and here.experiment_id == self.id:
            return here.from_source("context")
        return self._base or context.scope_of(self._record, "context")

    @property
    def tracer(self) -> Tracer:
        """Makes the experiment's own rows: trials, records, scores."""
        self._check_recording()
        assert self.recorder is not None
        made: Tracer = self.recorder.provider.get_tracer(OWN_SCOPE)
        return made

    def _check_recording(self) -> None:
        self._check_room()
        if not self.is_recording:
            raise ExperimentStopped(
                f"experiment {self.name!r} ({self.id}) is {self.state} and takes no more spans in this process. "
                f"Start a new one, or resume it: start_experiment({self.name!r}, resume=True)."
            )

    def _check_room(self) -> None:
        if self._capture is not None:
            self._capture.room.check()

    # -- what came of it ----------------------------------------------------------------

    def spans(self, flatten: bool = False) -> pl.LazyFrame:
        """One row per span, every one of them; the columns are documented in `spans.schema`.

        `flatten` adds one column `attr.<key>` per attribute key; a key of mixed types is JSON text.
        """
        from otel_research.pricing import price
        from otel_research.semconv import calls
        from otel_research.spans.schema import ALL, names

        if self._is_deleted:
            raise UnknownExperiment(f"experiment {self.name!r} ({self.id}) was deleted with its spans.")
        if self.recorder is not None and not self.recorder.is_closed:
            self.recorder.delivered(self.id)
        complete = price(calls.mark(self.library.scan(self.id))).select(names(ALL))
        if not flatten:
            return complete
        from otel_research.formats.flat import flatten as with_attributes

        return with_attributes(complete)

    def trials(self) -> pl.LazyFrame:
        """One row per trial: condition, item, outcome, latency, cost, tokens, scores."""
        from otel_research.analysis.trials import trials
        from otel_research.numbers import subject_of

        return trials(subject_of(self))

    def where(self, where: Where) -> Selection:
        """Part of the experiment, usable wherever an experiment is."""
        from otel_research.selection import Selection

        return Selection(self, (where,))

    def stream(self, batch_size: int = 1000) -> Iterator[pl.DataFrame]:
        """The spans in frames of at most `batch_size` rows; memory stays flat."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigurationError(f"batch_size is a whole number above 0, got {batch_size!r}.")
        for batch in self.spans().collect_batches(chunk_size=batch_size, maintain_order=True):
            yield from batch.iter_slices(batch_size)

    def ledger(self) -> Ledger:
        """What became of every span of the experiment, in all its processes."""
        if self.is_recording:
            # Without room to save it, it is told all the same.
            with contextlib.suppress(OSError):
                self._save_ledger()
        return accounts.of_experiment(self.library, self.id, is_running=self.record.state == "running")

    def ledgers(self) -> dict[str, Ledger]:
        """The same for every process that took part, by the name of its journal: host, process id, random."""
        return accounts.of_processes(self.library, self.id, is_running=self.record.state == "running")

    def validate(self) -> Any:
        """`otel_research.validate` of this experiment."""
        from otel_research.numbers import validate

        return validate(self)

    def export(self, format: str, path: str | Path | None = None, **options: Unpack[OfExport]) -> Path:
        """`otel_research.export` of this experiment."""
        from otel_research.numbers import export

        return export(self, format, path, **options)

    def archive(
        self,
        destination: str = "local",
        path: str | Path | None = None,
        bucket: str | None = None,
        prefix: str | None = None,
    ) -> str:
        """Put the whole experiment, sealed and verifiable, into one folder or S3 prefix; where that is.

        Of a running experiment it is a checkpoint; a stopped one becomes "archived". See `keeping.archive`.
        """
        from otel_research.keeping import archive

        return archive(self, destination, path, bucket, prefix)

    # -- annotations and the end --------------------------------------------------------

    def exclude(self, trial_or_where: Trial | str | Mapping[str, Any], *, reason: str) -> None:
        """Take trials out of every number, as an append-only annotation; the data stay.

        Args:
            trial_or_where: a trial, a trial's id, or a mapping from column to value.
            reason: why; kept with author and time.

        Raises:
            ConfigurationError: there is no reason, no such column, or a value that the column cannot have.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigurationError("an exclusion needs a reason that a reader can judge.")
        self._annotate({"kind": "exclusion", **exclusion.described(trial_or_where), "reason": reason})

    def _annotate(self, note: dict[str, Any]) -> None:
        from otel_research.measure import author

        self.library.catalogue.annotate(self.id, {**note, "author": author(), "time_ns": time.time_ns()})

    def annotations(self) -> Sequence[dict[str, Any]]:
        """Scores, exclusions and amendments made after the fact, in their order."""
        return self.library.catalogue.annotations(self.id)

    def cleanup(self, *, keep_data: bool, force: bool = False) -> None:
        """True hides the experiment from the list, False deletes it with its spans.

        Raises:
            ExperimentRunning: it still runs.
            ExperimentError: it is to be deleted, is not archived, and `force` is not given.
        """
        if not isinstance(keep_data, bool):
            raise ConfigurationError(f"keep_data is True (hide) or False (delete), got {keep_data!r}.")
        self._read_again()
        if self.record.state == "running":
            raise ExperimentRunning(f"experiment {self.name!r} ({self.id}) still runs; stop it first.")
        if keep_data:
            self._replace(is_hidden=True)
            return
        if self.record.state != "archived" and not force:
            raise ExperimentError(
                f"experiment {self.name!r} ({self.id}) is not archived: deleting it would destroy its only copy. "
                "Archive it first, or pass force=True."
            )
        self.library.delete(self.record)
        self._is_deleted = True

    def _replace(self, **changes: Any) -> None:
        self._read_again()
        self._record = msgspec.structs.replace(self._record, **changes)
        self.library.catalogue.put_experiment(self._record)

    def _read_again(self) -> None:
        """Another handle may have written since: what it said must not be set back. Of a store that is away, as known."""
        with contextlib.suppress(StoreUnreachable, UnknownExperiment):
            self._record = self.library.catalogue.get_experiment(self.id)

    def _save_ledger(self) -> None:
        if self._capture is not None:
            self.library.journal.put_ledger(self.id, self._capture.log.writer.name, self._capture.told())

    def _leave(self) -> None:
        """This process records it no longer."""
        if self._capture is not None:
            self.library.leave(self.id, self._capture.log.writer)


def _moment(ns: int) -> datetime:
    """UTC, to the microsecond; whole numbers all the way, because a float would be hundreds of ns off."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).replace(microsecond=ns % 1_000_000_000 // 1000)


def _named(what: str, value: Any) -> str:
    if value is None:
        raise ConfigurationError(f"{what} is a name, got None.")
    return check_label(what, value) or ""
