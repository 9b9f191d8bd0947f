"""`Experiment`: what users hold. It says which spans belong together and gives them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry.trace import Tracer

from otel_research import context
from otel_research.capture import accounts
from otel_research.capture.experiment import OWN_SCOPE, ExperimentCapture
from otel_research.capture.ledger import Ledger
from otel_research.context import Scope
from otel_research.errors import ConfigurationError, ExperimentRunning, ExperimentStopped
from otel_research.experiments import ExperimentRecord, check_json
from otel_research.recorder import Recorder
from otel_research.store.library import Library
from otel_research.trial import Trial, item_text

if TYPE_CHECKING:
    import polars as pl

    from otel_research.analysis.metrics import Metrics
    from otel_research.selection import Selection

    Where = pl.Expr | Mapping[str, Any]


class Experiment:
    """One experiment: its record, its spans, and, in the process that runs it, its recording.

    The attributes of its record (`id`, `name`, `hypothesis`, `condition`, `tags`, `state`,
    `ended_by`, `sample_size`, `metadata`, `study`, `factors`, `environment`, `content_hash`, ...)
    are its own. Made by `start_experiment`, `experiment`, `get_experiment` and `list_experiments`.
    """

    def __init__(
        self,
        record: ExperimentRecord,
        library: Library,
        *,
        recorder: Recorder | None = None,
        capture: ExperimentCapture | None = None,
        custom_metrics: tuple[Any, ...] = (),
    ) -> None:
        self._record = record
        self.library = library
        self.recorder = recorder
        self.custom_metrics = custom_metrics
        self._capture = capture

    def __repr__(self) -> str:
        return f"<Experiment {self.name!r} {self.id} {self.state}>"

    def __getattr__(self, name: str) -> Any:
        """The record's fields, as they are now."""
        if name.startswith("_") or name not in ExperimentRecord.__struct_fields__:
            raise AttributeError(f"Experiment has no attribute {name!r}")
        return getattr(self.record, name)

    @property
    def record(self) -> ExperimentRecord:
        """The record; of an experiment that runs elsewhere, as its store says now."""
        if self._capture is None and self._record.state == "running":
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
        return datetime.fromtimestamp(self._record.started_ns // 1_000_000_000, UTC)

    @property
    def stopped_at(self) -> datetime | None:
        """When it was stopped, UTC; None while it runs."""
        stopped = self.record.stopped_ns
        return None if stopped is None else datetime.fromtimestamp(stopped // 1_000_000_000, UTC)

    @property
    def is_recording(self) -> bool:
        """Whether spans started in this process can still belong to it."""
        return self._capture is not None and not self._capture.is_stopped

    # -- what spans carry ---------------------------------------------------------------

    def activate(self) -> AbstractContextManager[Scope]:
        """Enter the experiment in this thread or task, for a block."""
        return context.entered(self._scope())

    @contextmanager
    def arm(self, condition: str, factors: Mapping[str, Any] | None = None) -> Iterator[Experiment]:
        """Everything inside the block carries this condition (and these factor levels)."""
        if not isinstance(condition, str) or not condition.strip():
            raise ConfigurationError(f"a condition is a name such as 'baseline', got {condition!r}.")
        scope = self._scope()
        levels = {**dict(scope.factors), **check_json("factors", factors)}
        with context.entered(scope.having(condition=condition, factors=tuple(levels.items()))):
            yield self

    @contextmanager
    def session(self, session_id: str) -> Iterator[Experiment]:
        """Everything inside the block belongs to this session."""
        with context.entered(self._scope().having(session_id=str(session_id))):
            yield self

    @contextmanager
    def aside(self, name: str) -> Iterator[Experiment]:
        """Evaluation calls: captured, kept out of the system's latency, cost and reliability, reported apart."""
        with context.entered(self._scope().having(aside=str(name))):
            yield self

    def trial(self, item: str | int | None = None, repetition: int = 0, **attributes: Any) -> Trial:
        """One trial of an item; a context manager. An exception marks it failed."""
        self._check_recording()
        scope = self._scope().having(item_id=item_text(item), repetition=repetition)
        return Trial(self, scope, attributes)

    def _scope(self) -> Scope:
        """What is current here if it is of this experiment, else the experiment's own."""
        self._check_recording()
        here = context.current_scope()
        if here is not None and here.experiment_id == self.id:
            return here.from_source("context")
        return context.scope_of(self._record, "context")

    @property
    def tracer(self) -> Tracer:
        """Makes the experiment's own rows: trials, records, scores."""
        self._check_recording()
        assert self.recorder is not None
        assert self.recorder.provider is not None
        return self.recorder.provider.get_tracer(OWN_SCOPE)

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
        from otel_research import semconv
        from otel_research.pricing import price
        from otel_research.semconv import calls
        from otel_research.spans.schema import ALL, names

        if self.recorder is not None and not self.recorder.is_closed:
            self.recorder.delivered(self.id)
        rows = semconv.normalise(self.library.scan(self.id)) if self._is_of_older_vocabulary else self.library.scan(self.id)
        complete = price(calls.mark(rows)).select(names(ALL))
        if not flatten:
            return complete
        from otel_research.formats.flat import flatten as with_attributes

        return with_attributes(complete)

    @property
    def _is_of_older_vocabulary(self) -> bool:
        """Whether a later dialect may read the rows better than the one that stored them."""
        return False

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
            self._save_ledger()
        return accounts.of_experiment(self.library, self.id, is_running=self.record.state == "running")

    def metrics(self, **options: Any) -> Metrics:
        """`otel_research.calculate_metrics` of this experiment."""
        from otel_research.numbers import calculate_metrics

        return calculate_metrics(self, **options)

    def validate(self, **options: Any) -> Any:
        """`otel_research.validate` of this experiment."""
        from otel_research.numbers import validate

        return validate(self, **options)

    def export(self, format: str, path: str | Path | None = None, **options: Any) -> Path:
        """`otel_research.export` of this experiment."""
        from otel_research.numbers import export

        return export(self, format, path, **options)

    # -- annotations and the end --------------------------------------------------------

    def exclude(self, trial_or_where: Trial | str | Mapping[str, Any], *, reason: str) -> None:
        """Take trials out of every number, as an append-only annotation; the data stay.

        Args:
            trial_or_where: a trial, a trial's id, or a mapping from column to value.
            reason: why; kept with author and time.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigurationError("an exclusion needs a reason that a reader can judge.")
        what: dict[str, Any]
        if isinstance(trial_or_where, Mapping):
            what = {"where": check_json("where", trial_or_where)}
        else:
            what = {"trial_id": trial_or_where.id if isinstance(trial_or_where, Trial) else str(trial_or_where)}
        self._annotate({"kind": "exclusion", **what, "reason": reason})

    def _annotate(self, note: dict[str, Any]) -> None:
        from otel_research.measure import author

        self.library.catalogue.annotate(self.id, {**note, "author": author(), "time_ns": time.time_ns()})

    def annotations(self) -> Sequence[dict[str, Any]]:
        """Scores, exclusions and amendments made after the fact, in their order."""
        return self.library.catalogue.annotations(self.id)

    def cleanup(self, *, keep_data: bool) -> None:
        """True hides the experiment from the list, False deletes it with its spans.

        Raises `ExperimentRunning` while it runs.
        """
        if self.record.state == "running":
            raise ExperimentRunning(f"experiment {self.name!r} ({self.id}) still runs; stop it first.")
        if keep_data:
            self._replace(is_hidden=True)
        else:
            self.library.delete(self.record)

    def _replace(self, **changes: Any) -> None:
        self._record = msgspec.structs.replace(self._record, **changes)
        self.library.catalogue.put_experiment(self._record)

    def _save_ledger(self) -> None:
        if self._capture is not None:
            counts = self._capture.ledger().to_dict()
            counts["unseen_starts"] = self._capture.unseen_starts
            self.library.journal.put_ledger(self.id, self._capture.log.writer.name, counts)

    def _sealed(self, *, stopped_ns: int) -> None:
        """Seal what is stored and set the record's last state; `lifecycle.stop_experiment` calls it."""
        self._save_ledger()
        self.library.journal.seal(self.id, is_over=True)
        if self.recorder is not None:
            self.recorder.delivered(self.id)
        self._replace(state="stopped", ended_by="user", stopped_ns=stopped_ns)
        self._replace(content_hash=content_hash(self.library.scan(self.id)), ledger=self.ledger().to_dict())


def content_hash(rows: pl.LazyFrame) -> str:
    """SHA-256 over what the stored rows say, independent of their order and of how they are stored."""
    import hashlib

    columns = ["trace_id", "span_id", "start_ns", "end_ns", "name", "status", "condition", "trial_id", "attributes"]
    digest = hashlib.sha256()
    for batch in rows.select(columns).sort(columns[:3]).collect().iter_slices(50_000):
        digest.update(batch.write_csv(include_header=False).encode())
    return digest.hexdigest()


