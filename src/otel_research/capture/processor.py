"""The span processor: journals the start and the end of every span of a running experiment."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_research.capture import overhead, registry
from otel_research.capture.ledger import Tally
from otel_research.capture.registry import open_spans, running, scope_of
from otel_research.capture.view import attributes_of

_logger = logging.getLogger("otel_research")


class Flushable(Protocol):
    """What the processor needs of a recorder."""

    tally: Tally

    def sync(self) -> None:
        """Make what was captured survive a power cut."""


class ExperimentSpanProcessor(SpanProcessor):
    """Captures complete experiments; adds nothing to spans outside any.

    The SDK does not guard processors, so nothing here raises: an error is swallowed, counted
    in the recorder's tally and logged once. Works behind any sampler; behind
    `ExperimentSampler` it also sees what the host's sampler drops.
    """

    def __init__(self, recorder: Flushable | None) -> None:
        self.recorder = recorder
        self._has_logged = False

    def on_start(self, span: Span, parent_context: Context | None = None, *, is_watched: bool = False) -> None:
        """Resolve the experiment, tag the span if no sampler of ours did, journal the start."""
        if not running:
            return
        try:
            if not (span._context[1] & overhead.MASK or is_watched):  # type: ignore[index]
                overhead.starts.watch(self.on_start, span, parent_context)
                return
            scope = scope_of(parent_context)
            if scope is not None:
                capture = running.get(scope.experiment_id)
                if capture is not None:
                    capture.start(span, scope)
        except Exception as error:
            self._swallow("on_start", error)

    def on_end(self, span: ReadableSpan, *, is_watched: bool = False) -> None:
        """Journal the span, or count it."""
        try:
            context: Any = span._context
            if not (context[1] & overhead.MASK or is_watched):
                overhead.ends.watch(self.on_end, span)
                return
            entry = open_spans.pop((context[0], context[1]), None)
            if entry is None:
                self._end_unknown(span)
            else:
                entry[0].end(span, entry[1], entry[2])
        except Exception as error:
            self._swallow("on_end", error)

    def _end_unknown(self, span: ReadableSpan) -> None:
        """A span outside any experiment, or one that was open when this process was forked."""
        context = span.context
        entry = None if context is None else registry.inherited.pop((context.trace_id, context.span_id), None)
        if entry is not None:
            entry[0].tally.add("inherited")
            entry[0].end(span, entry[1], entry[2])
        elif self.recorder is not None and "experiment.id" not in attributes_of(span):
            self.recorder.tally.add("outside")

    def _swallow(self, where: str, error: Exception) -> None:
        if self.recorder is not None:
            self.recorder.tally.add(f"error:{where}")
        if not self._has_logged:
            self._has_logged = True
            _logger.error("otel_research: %s failed; the program goes on, the error is counted.", where, exc_info=error)

    def shutdown(self) -> None:
        """Make what was captured durable. Spans after it are still taken: the SDK sends them."""
        self._flushed()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Make what was captured durable; False if that failed."""
        return self._flushed()

    def _flushed(self) -> bool:
        try:
            if self.recorder is not None:
                self.recorder.sync()
        except Exception as error:
            self._swallow("flush", error)
            return False
        return True
