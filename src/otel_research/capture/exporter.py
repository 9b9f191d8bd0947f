"""The same capture behind the SDK's `SpanExporter`, for pipelines that only take exporters."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_research.capture import registry
from otel_research.capture.content import Content, Policy, check_policy
from otel_research.capture.courier import Courier
from otel_research.capture.experiment import named
from otel_research.capture.ledger import Ledger, Tally
from otel_research.capture.view import PublicView
from otel_research.context import environment
from otel_research.errors import ResearchError, StoreUnreachable, UnknownExperiment
from otel_research.experiments import STAND_IN, ExperimentRecord, check_id, is_id
from otel_research.journal.frame import END
from otel_research.journal.log import Log
from otel_research.journal.writer import this_writer
from otel_research.spans.record import Labels, decode_span, encode_end, encode_msgpack, encode_origin
from otel_research.store import converting
from otel_research.store.base import Store
from otel_research.store.library import Library

if TYPE_CHECKING:
    from otel_research.spans.batch import Definitions
    from otel_research.spans.record import SpanRecord

Owned = list[tuple[ReadableSpan, str]]
"""Spans with the experiment of each."""
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

    Spans are journaled before `export` returns. A store elsewhere is fed from that journal in the
    background, so that one that is away costs no span and delays none.

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
        self._courier = Courier(SYNC_SECONDS)
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
        mine = [(span, experiment) for span in spans if (experiment := self._experiment_of(span)) is not None]
        self._tally.add("outside", len(spans) - len(mine))
        if self._is_shut:
            self._lose(mine, "shut_down")
            return SpanExportResult.FAILURE if mine else SpanExportResult.SUCCESS
        stored = self._stored(mine)
        if time.monotonic() > self._next_sync:
            self._make_durable()
        return SpanExportResult.SUCCESS if stored == len(mine) else SpanExportResult.FAILURE

    def _experiment_of(self, span: ReadableSpan) -> str | None:
        named = (span.attributes or {}).get("experiment.id")
        # A span that names nonsense must not cost its neighbours in the batch.
        return named if is_id(named) else self._default

    def _stored(self, spans: Owned) -> int:
        """How many of them are stored; each of the others is counted as lost."""
        # A batch for what this process also records itself: its log is the recorder's.
        recorded = () if self._library.is_fed else registry.running
        ours = [(span, owner) for span, owner in spans if owner in recorded]
        return self._attempt(ours, self._append) + sum(
            self._attempt([one], self._journal) for one in spans if one[1] not in recorded
        )

    def _attempt(self, spans: Owned, store: Callable[[Owned], None]) -> int:
        """Store them all, or none: how many."""
        try:
            for span, owner in spans:
                self._ensure_record(owner, span)
            store(spans)
        except Exception as error:
            self._lose(spans, "store_error")
            _logger.warning("otel_research: the exporter could not store %d spans: %s", len(spans), error)
            return 0
        for _, owner in spans:
            self._tally.add(f"received:{owner}")
        return len(spans)

    def _lose(self, spans: Owned, reason: str) -> None:
        for _, owner in spans:
            self._tally.add(f"lost:{reason}")
            self._tally.add(f"lost_of:{owner}:{reason}")

    def _append(self, spans: Owned) -> None:
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

    def _journal(self, spans: Owned) -> None:
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
                log = self._logs.setdefault(experiment_id, self._library.journal.open_log(experiment_id))
                if converting.is_safe:  # else the parent, or who opens the experiment next, delivers
                    self._courier.take(experiment_id, log.writer.name, self._library)
            return self._logs[experiment_id]

    def _make_durable(self) -> bool:
        """Survive a power cut, and keep the counts beside the rows; what fails is an error and costs no span."""
        self._next_sync = time.monotonic() + SYNC_SECONDS
        due: list[tuple[str, Callable[[], object]]] = []
        for owner, log in list(self._logs.items()):
            due.append(("fsync", log.sync))
            due.append(("beat", functools.partial(self._library.beat, owner, log.writer)))
        for owner, counts in self._counted().items():
            due.append(
                ("ledger", functools.partial(self._library.journal.put_ledger, owner, self._writer.name, counts))
            )
        failed = [what for what, step in due if not self._is_done(what, step)]
        return not failed

    def _is_done(self, what: str, step: Callable[[], object]) -> bool:
        try:
            step()
        except (OSError, ResearchError) as error:
            self._tally.add(f"error:{what}")
            _logger.warning("otel_research: the exporter's spans are stored, but %s failed: %s", what, error)
            return False
        return True

    def _counted(self) -> dict[str, dict[str, Any]]:
        """By experiment, what its ledger is to know."""
        stored, lost = self._tally.under("received"), self._tally.under("lost_of")
        counted: dict[str, dict[str, Any]] = {}
        for owner in {*stored, *(key.partition(":")[0] for key in lost)}:
            reasons = {key.partition(":")[2]: number for key, number in lost.items() if key.startswith(owner + ":")}
            counted[owner] = {
                "received": stored.get(owner, 0) + sum(reasons.values()),
                "framed": self._tally[f"framed:{owner}"],
                "lost_received": reasons,
            }
        return counted

    def _ensure_record(self, experiment_id: str, span: ReadableSpan) -> None:
        with self._lock:
            if experiment_id in self._known:
                return
            try:
                self._library.catalogue.get_experiment(experiment_id)
            except (UnknownExperiment, StoreUnreachable):
                # Where the store is away nobody knows: ours gives way to one that turns out to be declared there.
                self._library.catalogue.put_experiment(self._made_for(experiment_id, span))
            self._known.add(experiment_id)

    def _made_for(self, experiment_id: str, span: ReadableSpan) -> ExperimentRecord:
        """The record of an experiment that nobody has declared here."""
        self._made.add(experiment_id)
        return ExperimentRecord(
            id=experiment_id,
            name=str((span.attributes or {}).get("experiment.name") or "exported"),
            started_ns=span.start_time or time.time_ns(),
            environment={"source": STAND_IN, "writer": msgspec.to_builtins(self._writer)},
        )

    def ledger(self) -> Ledger:
        """What became of the spans that were handed over."""
        received = sum(self._tally.under("received").values())
        lost = self._tally.under("lost")
        return Ledger(
            received=received + sum(lost.values()),
            stored=received,
            outside=self._tally["outside"],
            lost=lost,
            errors=self._tally.under("error"),
        )

    def shutdown(self) -> None:
        """Take no more spans; the experiments that were made for spans are over. Idempotent."""
        if self._is_shut:
            return
        self._is_shut = True
        self._make_durable()
        with self._lock:
            made, self._made = self._made, set()
        for experiment_id in made.union(self._logs if self._library.is_fed else ()):
            try:
                self._end(experiment_id, is_over=experiment_id in made)
            except ResearchError as error:
                _logger.warning("otel_research: experiment %s could not be marked stopped: %s", experiment_id, error)
        self._courier.close()

    def _end(self, experiment_id: str, *, is_over: bool) -> None:
        """No more spans come from here: bring away what a store elsewhere lacks, in one attempt."""
        if experiment_id in self._logs:
            self._library.seal(experiment_id, is_over=is_over)
        if not is_over:
            return
        record = self._library.catalogue.get_experiment(experiment_id)
        if record.state == "running" and record.environment.get("source") == STAND_IN:
            over = msgspec.structs.replace(record, state="stopped", ended_by="user", stopped_ns=time.time_ns())
            self._library.catalogue.put_experiment(over)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Make everything that `export` returned SUCCESS for survive a power cut, and bring it to the store.

        False where that failed, or where a store elsewhere does not have all of it after the timeout:
        the rest is in the local journal then, and is delivered later.
        """
        is_durable = self._make_durable() and not any(log.is_suspect for log in list(self._logs.values()))
        return self._courier.deliver_all(timeout_millis / 1000) == 0 and is_durable

    def _after_fork(self) -> None:
        """In the child: segments and counts of its own."""
        self._lock = threading.RLock()
        self._tally.restart()
        self._writer = this_writer()
        self._library.after_fork()
        self._courier = Courier(SYNC_SECONDS)
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
