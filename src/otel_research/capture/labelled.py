"""Experiments in the words of the backend that spans are forwarded to: opt-in, one exporter at a time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_research.errors import ConfigurationError

Words = Callable[[Mapping[str, Any]], dict[str, Any]]


class LabelledExporter(SpanExporter):
    """Adds a backend's own names for experiment, item and tags to the spans of experiments, then exports them.

    What it adds goes to this exporter only; a name that the span has already stays as it is. Spans
    outside any experiment pass unchanged. Sessions need nothing: `session.id` is what all of them read.

    Args:
        exporter: where the spans go; it is flushed and shut down with this one.
        backend: "langfuse", "mlflow" or "openinference" (Phoenix, Arize).

    Raises:
        ConfigurationError: there are no words for that backend.
    """

    def __init__(self, exporter: SpanExporter, backend: str) -> None:
        if backend not in BACKENDS:
            raise ConfigurationError(f"backend={backend!r} is not known: use one of {', '.join(BACKENDS)}.")
        self.exporter = exporter
        self._words = BACKENDS[backend]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """The exporter's answer for the spans with their labels."""
        return self.exporter.export([self._labelled(span) for span in spans])

    def _labelled(self, span: ReadableSpan) -> ReadableSpan:
        given = span.attributes or {}
        if "experiment.id" not in given:
            return span
        # A copy: the span itself belongs to every other exporter too.
        labelled = copy.copy(span)
        attributes = BoundedAttributes(None, {**self._words(given), **given})
        attributes.dropped = span.dropped_attributes
        labelled._attributes = attributes
        return labelled

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass on."""
        return self.exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Pass on."""
        self.exporter.shutdown()


def _langfuse(given: Mapping[str, Any]) -> dict[str, Any]:
    """As in `LangfuseOtelSpanAttributes` of langfuse's Python package."""
    named = {
        "langfuse.experiment.id": given.get("experiment.id"),
        "langfuse.experiment.name": given.get("experiment.name"),
        "langfuse.experiment.item.id": given.get("experiment.item.id"),
        "langfuse.trace.tags": given.get("experiment.tags"),
        "langfuse.trace.metadata.condition": given.get("experiment.condition"),
    }
    return {key: value for key, value in named.items() if value is not None}


def _openinference(given: Mapping[str, Any]) -> dict[str, Any]:
    """As in `SpanAttributes` of openinference-semantic-conventions: tags, and the rest in one JSON text."""
    ours = {key: value for key, value in given.items() if key.startswith("experiment.") and key != "experiment.tags"}
    named: dict[str, Any] = {"metadata": json.dumps(ours, default=str, allow_nan=False)}
    return named | ({"tag.tags": given["experiment.tags"]} if given.get("experiment.tags") else {})


def _mlflow(given: Mapping[str, Any]) -> dict[str, Any]:
    """As in `SpanAttributeKey.TRACE_TAG_PREFIX` of mlflow's Python package: its server makes tags of the trace of them."""
    named = {
        "experiment_id": given.get("experiment.id"),
        "experiment_name": given.get("experiment.name"),
        "condition": given.get("experiment.condition"),
        "item": given.get("experiment.item.id"),
        "tags": ",".join(given.get("experiment.tags") or ()) or None,
    }
    return {f"mlflow.traceTag.research.{key}": str(value) for key, value in named.items() if value is not None}


BACKENDS: dict[str, Words] = {"langfuse": _langfuse, "mlflow": _mlflow, "openinference": _openinference}
"""Backend -> the attributes that it wants beside ours."""
