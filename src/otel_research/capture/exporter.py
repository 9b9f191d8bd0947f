"""The same capture behind the SDK's `SpanExporter`, for pipelines that only take exporters."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_research.capture.ledger import Ledger, Tally
from otel_research.capture.view import PublicView
from otel_research.errors import UnknownExperiment
from otel_research.experiments import ExperimentRecord, check_id
from otel_research.journal.writer import this_writer
from otel_research.spans.record import Labels, decode_span, encode_end, encode_msgpack, encode_origin
from otel_research.store.base import Store
from otel_research.store.library import Library

if TYPE_CHECKING:
    from otel_research.spans.batch import Definitions
    from otel_research.spans.record import SpanRecord

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
    """

    def __init__(self, store: str | Store, experiment: Identified | str | None = None) -> None:
        self._library = Library(store)
        self._default = None if experiment is None else check_id(getattr(experiment, "id", experiment))
        self._tally = Tally()
        self._known: set[str] = set()
        # Protects the set of known experiments: exporters may be called from several threads.
        self._lock = threading.Lock()
        self._writer = this_writer()
        self._is_shut = False

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
        return named if isinstance(named, str) else self._default

    def _store(self, spans: list[tuple[ReadableSpan, str]]) -> None:
        from otel_research import semconv
        from otel_research.spans.batch import Definitions, to_frame

        for span, experiment_id in spans:
            self._ensure_record(experiment_id, span)
        definitions = Definitions()
        frame = to_frame([_record(span, experiment_id, definitions) for span, experiment_id in spans])
        table = semconv.normalise(frame.lazy()).collect().to_arrow(compat_level=None)
        for batch in table.combine_chunks().to_batches():
            self._library.store.append(batch)
        for experiment_id in {experiment_id for _, experiment_id in spans}:
            received = sum(owner == experiment_id for _, owner in spans)
            self._tally.add(f"received:{experiment_id}", received)
            self._library.journal.put_ledger(
                experiment_id, self._writer.name, {"received": self._tally[f"received:{experiment_id}"]}
            )

    def _ensure_record(self, experiment_id: str, span: ReadableSpan) -> None:
        with self._lock:
            if experiment_id in self._known:
                return
            self._known.add(experiment_id)
            try:
                self._library.catalogue.get_experiment(experiment_id)
            except UnknownExperiment:
                name = str((span.attributes or {}).get("experiment.name") or "exported")
                self._library.catalogue.put_experiment(
                    ExperimentRecord(
                        id=experiment_id,
                        name=name,
                        started_ns=span.start_time or time.time_ns(),
                        environment={"writer": msgspec.to_builtins(self._writer)},
                    )
                )

    def ledger(self) -> Ledger:
        """What became of the spans that were handed over."""
        received = sum(self._tally.under("received").values())
        lost = self._tally.under("lost")
        return Ledger(
            received=received + sum(lost.values()), stored=received, outside=self._tally["outside"], lost=lost
        )

    def shutdown(self) -> None:
        """Take no more spans."""
        self._is_shut = True

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Everything that `export` returned SUCCESS for is stored."""
        return True


def _record(span: ReadableSpan, experiment_id: str, definitions: Definitions) -> tuple[SpanRecord, Definitions]:
    """The record of an exported span; scope and resource become definitions on first sight."""
    from otel_research.spans.record import Definition

    scope, resource = span.instrumentation_scope, span.resource
    if scope is not None:
        definitions.learn(Definition(id(scope), "scope", scope.name, scope.version, dict(scope.attributes or {})))
    definitions.learn(Definition(id(resource), "resource", "", None, dict(resource.attributes)))
    attributes = dict(span.attributes or {})
    view = PublicView(span)
    origin = encode_origin(view, _labels(experiment_id, attributes), id(scope), id(resource), None)
    payload = encode_end(origin, view, None, 1.0, attributes)
    return decode_span(payload), definitions


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
