"""The span processor: journals the start and the end of every span of a running experiment."""

from __future__ import annotations

import logging
from time import monotonic_ns
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_research import context as research_context
from otel_research.capture import overhead, registry
from otel_research.capture.ledger import Tally
from otel_research.capture.overhead import MASK
from otel_research.capture.registry import current, open_spans, resolve, running, scope_of
from otel_research.capture.view import attributes_of
from otel_research.context import NEW_TRIAL, SCOPE_KEY
from otel_research.journal.log import MANY
from otel_research.spans.record import encode_msgpack, ids_of

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

    # The two hooks write out in one piece what is usual (a span that is kept as it is, on an SDK
    # whose fields `view` has checked), because calls are what a hook costs: `docs/cost.md`.
    # What is not usual goes to `ExperimentCapture.start` and `.end`, which do the same for any
    # span; `tests/capture/test_hot_path.py` holds both to the same bytes.

    def on_start(self, span: Span, parent_context: Context | None = None, *, is_watched: bool = False) -> None:
        """Resolve the experiment, tag the span if no sampler of ours did, journal the start."""
        if not running:
            return
        entry = None
        try:
            context: Any = span._context
            if not (context[1] & MASK or is_watched):
                overhead.starts.watch(self.on_start, span, parent_context)
                return
            here: Any = current() if parent_context is None else parent_context
            scope = here.get(SCOPE_KEY)
            if scope is None:
                scope = scope_of(here) if here else research_context._process_scope
                if scope is None:
                    return
            capture = running.get(scope.experiment_id)
            if capture is None:
                return
            if not capture.is_plain or scope.trial_id == NEW_TRIAL:
                capture.start(span, scope)
                return
            key = (context[0], context[1])
            bounded: Any = span._attributes
            attributes = bounded._dict
            tags, labels = scope.tags_and_labels
            if (
                key in open_spans
                or "experiment.id" in attributes
                or "session.id" in attributes
                or type(span._start_time) is not int
                or bounded.max_value_len is not None
                or (bounded.maxlen is not None and len(attributes) + len(tags) > bounded.maxlen)
            ):
                capture.start(span, scope)
                return
            numbers = capture.numbers.get(id(span._instrumentation_scope))
            if numbers is None:
                numbers = capture.define(span)
            parent = span._parent
            origin = encode_msgpack(
                (
                    context[0].to_bytes(16),
                    context[1].to_bytes(8),
                    None if parent is None else parent[1].to_bytes(8),
                    labels,
                    numbers[0],
                    numbers[1],
                    span._kind._value_,
                    span._start_time,
                    monotonic_ns(),
                    context[3] & 1,
                )
            )
            # A stop first takes the experiment out of `running` and then waits for what is open: what is
            # in the table before that is waited for, what is not was too late to start.
            entry = open_spans[key] = (capture, scope, origin)
            if running.get(scope.experiment_id) is not capture:
                del open_spans[key]
                return
            if capture.journals_starts:
                log = capture.log
                written = log.shaped(attributes) if len(attributes) > MANY else attributes
                payload = origin + encode_msgpack((span._name, written))
                try:
                    log.append_start(payload)
                except OSError as error:
                    capture.start_without_room(payload, error)
            else:
                capture.unjournaled += 1
            span._otel_research_scope = scope  # type: ignore[attr-defined]  # registry.SCOPE_MARK
            # The SDK's own way to set attributes cleans each value again: most of what tagging would cost.
            attributes.update(tags)
        except Exception:
            if entry is not None:
                open_spans.pop(key, None)
            self._start_with_care(span, parent_context)

    def on_end(self, span: ReadableSpan, *, is_watched: bool = False) -> None:
        """Journal the span, or count it."""
        entry = None
        fields: Any = span  # as it stores them: `view` has checked that it does
        try:
            context = fields._context
            if not (context[1] & MASK or is_watched):
                overhead.ends.watch(self.on_end, span)
                return
            # It leaves the table when its end is written: a stop waits for that.
            entry = open_spans.get(key := (context[0], context[1]))
            if entry is None:
                self._end_unknown(span)
                return
            capture, _, origin = entry
            events, links, bounded = fields._events, fields._links, fields._attributes
            if (
                not capture.is_plain
                or events._dq
                or links._dq
                or events.dropped
                or links.dropped
                or bounded.dropped
                or type(fields._end_time) is not int
            ):
                self._end_with_care(span, entry)
                return
            attributes, status, log = bounded._dict, fields._status, capture.log
            payload = origin + encode_msgpack(
                (
                    fields._name,
                    log.shaped(attributes) if len(attributes) > MANY else attributes,
                    fields._end_time,
                    monotonic_ns(),
                    status._status_code._value_,
                    status._description,
                    1.0,
                )
            )
            try:
                log.append_end(payload)
            except OSError as error:
                capture.end_without_room(payload, error)
            open_spans.pop(key, None)
        except Exception as error:
            if entry is None:
                self._swallow("on_end", error)
            else:
                self._end_with_care(span, entry)

    def _start_with_care(self, span: Span, parent_context: Context | None) -> None:
        """The short way could not take it: once more, looking at every field."""
        capture = None
        try:
            scope = resolve(parent_context)
            capture = None if scope is None else running.get(scope.experiment_id)
            if capture is not None and scope is not None:
                capture.start(span, scope)
        except Exception as error:
            self._swallow("on_start", error)
            if capture is not None and (key := _key_of(span)) is not None and key not in open_spans:
                registry.unstarted[key] = capture

    def _end_with_care(self, span: ReadableSpan, entry: registry.Entry) -> None:
        """What the short way does not take: looking at every field."""
        capture, _, origin = entry
        try:
            capture.end(span, origin)
        except Exception as error:
            self._swallow("on_end", error)
            capture.lose(origin, "error")
        finally:
            open_spans.pop(ids_of(origin), None)

    def _end_unknown(self, span: ReadableSpan) -> None:
        """A span outside any experiment, or one that was open when this process was forked."""
        key = _key_of(span)
        entry = None if key is None else registry.inherited.pop(key, None)
        unstarted = None if key is None else registry.unstarted.pop(key, None)
        if entry is not None:
            entry[0].tally.add("inherited")
            entry[0].end(span, entry[2])
        elif unstarted is not None:
            unstarted.lose_unstarted("error")
        elif self.recorder is not None and attributes_of(span).get("experiment.id") not in registry.begun:
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


def _key_of(span: ReadableSpan) -> tuple[int, int] | None:
    context = span.context
    return None if context is None else (context.trace_id, context.span_id)
