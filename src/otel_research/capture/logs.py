"""Evaluation results that are logged, as score rows of the experiment.

OpenTelemetry GenAI reports an evaluation as the event `gen_ai.evaluation.result`: a log record
that points at the span it is about. A processor on the `LoggerProvider` makes it a row of the
experiment that span belongs to; all other log records pass it by.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer

from otel_research import context
from otel_research.capture.experiment import OWN_SCOPE
from otel_research.capture.ids import ExperimentIdGenerator
from otel_research.capture.processor import ExperimentSpanProcessor, Flushable
from otel_research.capture.registry import open_spans, running, scope_of
from otel_research.context import Scope
from otel_research.spans import values

EVALUATION = "gen_ai.evaluation.result"
_PLAIN = (str, bool, int, float)

# Which of our processors hangs on which provider: a processor cannot be taken off again.
_attached: weakref.WeakKeyDictionary[LoggerProvider, ExperimentLogProcessor] = weakref.WeakKeyDictionary()

_logger = logging.getLogger("otel_research")


class ExperimentLogProcessor(LogRecordProcessor):
    """Captures evaluation results that are logged while an experiment runs; nothing else.

    `configure()` puts it on the global `LoggerProvider`, if there is one by then; on another one
    put it yourself: `provider.add_log_record_processor(ExperimentLogProcessor(recorder))`. The SDK
    does not guard processors, so nothing here raises: an error is swallowed, counted in the
    recorder's tally and logged once.
    """

    def __init__(self, recorder: Flushable | None) -> None:
        self.recorder = recorder
        self._has_logged = False
        self._tracers: dict[int, tuple[Resource, Tracer]] = {}

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Make the record a score row, where it is an evaluation result and belongs to an experiment."""
        if not running:
            return
        try:
            record = log_record.log_record
            if is_evaluation(record):
                scope = _scope_of(record)
                if scope is not None and scope.experiment_id in running:
                    self._capture(record, scope, log_record.resource or Resource.get_empty())
        except Exception as error:
            self._swallow(error)

    def _capture(self, record: LogRecord, scope: Scope, resource: Resource) -> None:
        attributes = {key: _attribute(value) for key, value in (record.attributes or {}).items()}
        moment = record.timestamp or record.observed_timestamp
        row = self._tracer(resource).start_span(
            EVALUATION,
            context=_below(record, scope),
            attributes={**attributes, "experiment.row": "score"},
            start_time=moment,
        )
        row.end(end_time=moment)

    def _tracer(self, resource: Resource) -> Tracer:
        """A tracer whose spans reach the experiment and nobody else: the host has the log record already."""
        known = self._tracers.get(id(resource))
        if known is None or known[0] is not resource:
            known = self._tracers[id(resource)] = resource, _private_tracer(resource, self.recorder)
        return known[1]

    def _swallow(self, error: Exception) -> None:
        if self.recorder is not None:
            self.recorder.tally.add("error:on_emit")
        if not self._has_logged:
            self._has_logged = True
            _logger.error(
                "otel_research: a logged evaluation result could not be captured; the program goes on, "
                "the error is counted.",
                exc_info=error,
            )

    def enabled(self, *, event_name: str | None = None, **about: Any) -> bool:
        """Whether such a record would be captured: the host's answer for all other records stays its own."""
        return bool(running) and event_name == EVALUATION

    def shutdown(self) -> None:
        """Nothing to release: what was captured is in the experiment's journal."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing waits here."""
        return True


def is_evaluation(record: LogRecord) -> bool:
    """Whether the record is an evaluation result, by its event name or, from older emitters, by attribute."""
    return record.event_name == EVALUATION or (record.attributes or {}).get("event.name") == EVALUATION


def _scope_of(record: LogRecord) -> Scope | None:
    """The labels of the span that the record points at, else those of the context it was emitted in."""
    entry = open_spans.get((record.trace_id or 0, record.span_id or 0))
    return scope_of(record.context) if entry is None else entry[1].from_source("parent")


def _below(record: LogRecord, scope: Scope) -> Any:
    """A context with the record's span as parent and nothing else but the scope."""
    inside = context.with_scope(scope)
    about = SpanContext(record.trace_id or 0, record.span_id or 0, is_remote=False, trace_flags=TraceFlags(1))
    return trace.set_span_in_context(NonRecordingSpan(about), inside)


def _attribute(value: Any) -> Any:
    """A log record may hold maps and mixed lists, which a span cannot: those become JSON text."""
    if isinstance(value, _PLAIN):
        return value
    if not isinstance(value, (Mapping, list, tuple)):
        return str(value)
    is_plain = not isinstance(value, Mapping) and all(isinstance(item, _PLAIN) for item in value)
    return value if is_plain and len({type(item) for item in value}) <= 1 else values.to_json(value)


def _private_tracer(resource: Resource, recorder: Flushable | None) -> Tracer:
    unlimited = SpanLimits(max_attributes=SpanLimits.UNSET, max_attribute_length=SpanLimits.UNSET)
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=resource,
        shutdown_on_exit=False,
        id_generator=ExperimentIdGenerator(),
        span_limits=unlimited,
    )
    provider.add_span_processor(ExperimentSpanProcessor(recorder))
    return provider.get_tracer(OWN_SCOPE)


def find_provider() -> LoggerProvider | None:
    """The global `LoggerProvider` if the program has set one of the SDK, proxies unwrapped."""
    found: Any = get_logger_provider()
    for _ in range(3):
        if isinstance(found, LoggerProvider):
            return found
        found = getattr(found, "provider", None) or getattr(found, "_provider", None)
    return None


def attach(recorder: Flushable) -> None:
    """Put our processor on the global provider, once; nothing to do where the program logs no events."""
    provider = find_provider()
    if provider is None:
        return
    ours = _attached.get(provider)
    if ours is None:
        ours = _attached[provider] = ExperimentLogProcessor(recorder)
        provider.add_log_record_processor(ours)
    ours.recorder = recorder


def detach(recorder: Flushable) -> None:
    """Let go of a recorder that closes; the processor stays and lets every record pass."""
    for ours in list(_attached.values()):
        if ours.recorder is recorder:
            ours.recorder = None
