"""The same capture behind the SDK's `SpanExporter`, for pipelines that only take exporters."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_research.capture import registry
from otel_research.capture.content import Content, Policy, check_policy
from otel_research.capture.experiment import named
from otel_research.capture.ledger import Ledger, Tally
from otel_research.capture.view import PublicView
from otel_research.context import environment
from otel_research.errors import ResearchError, UnknownExperiment
from otel_research.experiments import ExperimentRecord, check_id, is_id
from otel_research.journal.frame import END
from otel_research.journal.log import Log
from otel_research.journal.writer import this_writer
from otel_research.spans.record import Labels, decode_span, encode_end, encode_msgpack, encode_origin
from otel_research.store.base import Store
from otel_research.store.library import Library

if TYPE_CHECKING:
    from otel_research.spans.batch import Definitions
    from otel_research.spans.record import SpanRecord

SYNC_SECONDS = 1.0
"""Exports make what came before them durable at most this often; `force_flush` does it at once."""

_logger = logging.getLogger("otel_research")


class Identified(Protocol):
    """Anything with an experiment's id: an `Experiment`, which is made further up."""

    @property
    def id(self) -> str:
        """Hex text."""


class ExperimentExporter(SpanExporter):
    """Stores the spans it is given; each belongs to the experiment its attributes name, else to `experiment`.

    What never reaches an exporter (sampled out, dropped by a full queue, lost with the process)
    cannot be stored here: where you can, use `configure()` or `ExperimentSpanProcessor`.

    Args:
        store: a store URL or a `Store`.
        experiment: an `Experiment` or an id for spans that name none; without it they are
            counted as `outside`.
        content: what may be written of prompts and completions, as for `configure()`; default: the
            environment's OTEL_RESEARCH_CONTENT, else "full".
    """

    def __init__(
        self, store: str | Store, experiment: Identified | str | None = None, *, content: Policy | None = None
    ) -> None:
        chosen = content if content is not None else environment().get("content") or "full"
        self._content = Content(check_policy(chosen), self._note_error)
        self._library = Library(store)
        self._default = None if experiment is None else check_id(getattr(experiment, "id", experiment))
        self._tally = Tally()
        self._known: set[str] = set()
        self._made: set[str] = set()
        """Known ones whose record is ours: they end with the exporter."""
        # Protects the sets of experiments: exporters may be called from several threads.
        self._lock = threading.RLock()
        self._logs: dict[str, Log] = {}
        self._writer = this_writer()
        self._next_sync = 0.0
        self._is_shut = False
        if hasattr(os, "register_at_fork"):
            # Weakly: a registration cannot be taken back.
            forked = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (again := forked()) and again())

    def _note_error(self, where: str, error: Exception) -> None:
        if not self._tally[f"error:{where}"]:
            _logger.warning("otel_research: %s raised %s; what it was given is not written.", where, error)
        self._tally.add(f"error:{where}")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store the batch: SUCCESS only when all of it is stored."""
        if self._is_shut:
            self._tally.add("lost:shut_down", len(spans))
            return SpanExportResult.FAILURE
        mine = [(span, experiment) for span in spans if (experiment := self._experiment_of(span)) is not None]
        self._tally.add("outside", len(spans) - len(mine))
        if not mine:
            return SpanExportResult.SUCCESS
        try:
            self._store(mine)
        except Exception as error:
            self._tally.add("lost:store_error", len(mine))
            _logger.warning("otel_research: the exporter could not store %d spans: %s", len(mine), error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _experiment_of(self, span: ReadableSpan) -> str | None:
        named = (span.attributes or {}).get("experiment.id")
        # A span that names nonsense must not cost its neighbours in the batch.
        return named if is_id(named) else self._default

    def _store(self, spans: list[tuple[ReadableSpan, str]]) -> None:
        for span, experiment_id in spans:
            self._ensure_record(experiment_id, span)
        if self._library.is_fed:
            self._append(spans)
        else:
            # A batch for what this process also records itself: its log is the recorder's.
            self._append([(span, owner) for span, owner in spans if owner in registry.running])
            self._journal([(span, owner) for span, owner in spans if owner not in registry.running])
        for _, experiment_id in spans:
            self._tally.add(f"received:{experiment_id}")
        if time.monotonic() > self._next_sync:
            self._make_durable()

    def _append(self, spans: list[tuple[ReadableSpan, str]]) -> None:
        """One batch of rows."""
        if not spans:
            return
        from otel_research import semconv
        from otel_research.spans.batch import Definitions, to_frame

        definitions = Definitions()
        frame = to_frame([_record(span, experiment_id, definitions, self._content) for span, experiment_id in spans])
        table = semconv.normalise(frame.lazy()).collect().to_arrow(compat_level=None)
        for batch in table.combine_chunks().to_batches():
            self._library.store.append(batch)

    def _journal(self, spans: list[tuple[ReadableSpan, str]]) -> None:
        """One frame a span, as the processor would write it: a simple processor exports span by span."""
        for span, experiment_id in spans:
            log = self._log_of(experiment_id)
            scope, resource = span.instrumentation_scope, span.resource
            name, version = named(scope)
            described = dict(self._content.applied(getattr(scope, "attributes", None)) or {})
            numbers = (
                log.number_of(scope, "scope", name, version, described),
                log.number_of(resource, "resource", "", None, dict(self._content.applied(resource.attributes) or {})),
            )
            log.append(END, _payload(span, experiment_id, *numbers, self._content))
            self._tally.add(f"framed:{experiment_id}")

    def _log_of(self, experiment_id: str) -> Log:
        with self._lock:
            if experiment_id not in self._logs:
                # The first wins, where a signal handler exports in the middle of this.
                self._logs.setdefault(experiment_id, self._library.journal.open_log(experiment_id))
            return self._logs[experiment_id]

    def _make_durable(self) -> None:
        """Survive a power cut, and keep the count beside the rows."""
        self._next_sync = time.monotonic() + SYNC_SECONDS
        for experiment_id, log in list(self._logs.items()):
            log.sync()
            self._library.beat(experiment_id, log.writer)
        for experiment_id, received in self._tally.under("received").items():
            counts = {"received": received, "framed": self._tally[f"framed:{experiment_id}"]}
            self._library.put_ledger(experiment_id, self._writer.name, counts)

    def _ensure_record(self, experiment_id: str, span: ReadableSpan) -> None:
        with self._lock:
            if experiment_id in self._known:
                return
            try:
                self._library.catalogue.get_experiment(experiment_id)
            except UnknownExperiment:
                self._library.catalogue.put_experiment(self._made_for(experiment_id, span))
            self._known.add(experiment_id)

    def _made_for(self, experiment_id: str, span: ReadableSpan) -> ExperimentRecord:
        """The record of an experiment that nobody has declared here."""
        self._made.add(experiment_id)
        return ExperimentRecord(
            id=experiment_id,
            name=str((span.attributes or {}).get("experiment.name") or "exported"),
            started_ns=span.start_time or time.time_ns(),
            environment={"writer": msgspec.to_builtins(self._writer)},
        )

    def ledger(self) -> Ledger:
        """What became of the spans that were handed over."""
        received = sum(self._tally.under("received").values())
        lost = self._tally.under("lost")
        return Ledger(
            received=received + sum(lost.values()), stored=received, outside=self._tally["outside"], lost=lost
        )

    def shutdown(self) -> None:
        """Take no more spans; the experiments that were made for spans are over. Idempotent."""
        if self._is_shut:
            return
        self._is_shut = True
        self.force_flush()
        with self._lock:
            made, self._made = self._made, set()
        for experiment_id in made:
            try:
                if experiment_id in self._logs:
                    self._library.journal.seal(experiment_id, is_over=True)
                record = self._library.catalogue.get_experiment(experiment_id)
                if record.state == "running":
                    over = msgspec.structs.replace(record, state="stopped", ended_by="user", stopped_ns=time.time_ns())
                    self._library.catalogue.put_experiment(over)
            except ResearchError as error:
                _logger.warning("otel_research: experiment %s could not be marked stopped: %s", experiment_id, error)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Make everything that `export` returned SUCCESS for survive a power cut; False if that failed."""
        try:
            self._make_durable()
        except (OSError, ResearchError) as error:
            _logger.warning("otel_research: the exporter could not make its spans durable: %s", error)
            return False
        return True

    def _after_fork(self) -> None:
        """In the child: segments and counts of its own."""
        self._lock = threading.RLock()
        self._tally.restart()
        self._writer = this_writer()
        for log in self._logs.values():
            log.after_fork()


def _record(
    span: ReadableSpan, experiment_id: str, definitions: Definitions, content: Content
) -> tuple[SpanRecord, Definitions]:
    """The record of an exported span; scope and resource become definitions on first sight."""
    from otel_research.spans.record import Definition

    scope, resource = span.instrumentation_scope, span.resource
    if scope is not None:
        definitions.learn(Definition(id(scope), "scope", *named(scope), dict(content.applied(scope.attributes) or {})))
    definitions.learn(Definition(id(resource), "resource", "", None, dict(content.applied(resource.attributes) or {})))
    return decode_span(_payload(span, experiment_id, id(scope), id(resource), content)), definitions


def _payload(span: ReadableSpan, experiment_id: str, scope: int, resource: int, content: Content) -> bytes:
    """The end record of an exported span, read through its public properties."""
    view, given = PublicView(span, content.redactor), dict(span.attributes or {})
    attributes = content.applied(given)
    origin = encode_origin(view, _labels(experiment_id, given), scope, resource, None)
    return encode_end(origin, view, None, 1.0, attributes, attributes)


def _labels(experiment_id: str, attributes: dict[str, Any]) -> msgspec.Raw:
    prefix = "experiment.factor."
    repetition = attributes.get("experiment.repetition")
    factors = {key.removeprefix(prefix): value for key, value in attributes.items() if key.startswith(prefix)}
    labels = Labels(
        experiment_id=experiment_id,
        condition=_text(attributes.get("experiment.condition")),
        trial_id=_text(attributes.get("experiment.trial.id")),
        item_id=_text(attributes.get("experiment.item.id")),
        repetition=repetition if isinstance(repetition, int) else None,
        session_id=_text(attributes.get("session.id")),
        factors=factors or None,
        source="attributes" if "experiment.id" in attributes else "exporter",
        aside=_text(attributes.get("experiment.aside")),
    )
    return msgspec.Raw(encode_msgpack(labels))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
