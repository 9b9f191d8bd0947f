"""One experiment's spans in this process: journal, rules, counters."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from otel_research.capture import registry, view
from otel_research.capture.content import Content, Policy
from otel_research.capture.ledger import Ledger, Tally
from otel_research.capture.room import Overload, Room
from otel_research.capture.rules import KEEP, Rules
from otel_research.capture.view import attributes_of
from otel_research.context import Scope
from otel_research.journal.frame import END, LEFT_OUT, START
from otel_research.journal.log import Log
from otel_research.spans.record import encode_end, encode_left_out, encode_start

OWN_SCOPE = "otel_research"
"""The instrumentation scope of the experiment's own rows: trials, records, scores."""

_logger = logging.getLogger("otel_research")


class ExperimentCapture:
    """Takes the starts and ends of one experiment's spans; never raises into the user's code."""

    def __init__(
        self,
        experiment_id: str,
        log: Log,
        *,
        open_quarantine: Callable[[], Log],
        event_filter: Callable[[Any], bool] | None = None,
        sampling_rate: float | None = None,
        sampling_strategy: Callable[[Any], float | bool] | None = None,
        content: Policy = "full",
        overload: Overload = "block",
        starts: bool = True,
        sync_each: bool = False,
    ) -> None:
        self.experiment_id = experiment_id
        self.log = log
        self.tally = Tally()
        self.room = Room(log, overload)
        self.rules = Rules(
            event_filter=event_filter,
            sampling_rate=sampling_rate,
            sampling_strategy=sampling_strategy,
            on_error=self.note_error,
        )
        self._content = Content(content, self.note_error)
        self._open_quarantine = open_quarantine
        self._quarantine: Log | None = None
        self._starts = starts
        self._sync_each = sync_each
        # The usual case takes every span as it is, without a rule or a policy in the way.
        self._is_plain = self.rules.is_empty and self._content.is_full and view.is_fast()
        self.is_stopped = False
        self._interrupted = 0
        self._warned: set[str] = set()

    # -- the hot path -------------------------------------------------------------------

    def start(self, span: Any, scope: Scope, mono_ns: int, attributes: Any) -> None:
        """A span of ours has started."""
        if not self._starts or not (self._is_plain or self.rules.keeps_trace(span._context[0])):
            self.tally.add("started_silently")
            return
        if not self._content.is_full:
            attributes = self._content.applied(attributes)
        numbers = self.log.numbers
        scope_number = numbers.get(id(span._instrumentation_scope))
        resource_number = numbers.get(id(span._resource))
        if scope_number is None or resource_number is None:
            scope_number, resource_number = _numbers(self.log, span)
        payload = encode_start(span, scope.labels, scope_number, resource_number, mono_ns, attributes)
        try:
            self.log.append(START, payload)
        except (OSError, ValueError) as error:
            if self.room.without(START, payload, error) is not None:
                self.tally.add("started_silently")

    def end(self, span: Any, scope: Scope, mono_start_ns: int) -> None:
        """A span of ours has ended: exactly one frame, or one count."""
        if self.is_stopped:
            self._take_late(span, scope, mono_start_ns)
            return
        weight: float | None = 1.0
        attributes: Any = attributes_of(span)
        seen = span
        if not self._is_plain:
            decision = KEEP if self.rules.is_empty else self.rules.decide(span, is_own=_is_own(span))
            if decision.left_out is not None:
                self._leave_out(span, decision.left_out)
                return
            weight = decision.weight
            seen, attributes = self._shown(span, attributes)
        self._store(END, self._encoded(span, seen, scope, mono_start_ns, weight, attributes))

    def _encoded(
        self, span: Any, seen: Any, scope: Scope, mono_start_ns: int, weight: float | None, attributes: Any
    ) -> bytes:
        numbers = self.log.numbers
        scope_number = numbers.get(id(span._instrumentation_scope))
        resource_number = numbers.get(id(span._resource))
        if scope_number is None or resource_number is None:
            scope_number, resource_number = _numbers(self.log, span)
        return encode_end(
            seen, scope.labels, scope_number, resource_number, mono_start_ns, monotonic_ns(), weight, attributes
        )

    def _store(self, kind: int, payload: bytes) -> None:
        try:
            self.log.append(kind, payload)
        except (OSError, ValueError) as error:
            reason = self.room.without(kind, payload, error)
            if reason is not None:
                self.tally.add(f"lost:{reason}")
                return
        if self._sync_each:
            self._sync()

    # -- with rules or a policy ---------------------------------------------------------

    def _leave_out(self, span: Any, reason: str) -> None:
        """The rules left it out: a small frame says so, so that the count survives a crash."""
        self.tally.add(reason)
        context = span.context
        payload = encode_left_out(reason, context.trace_id, context.span_id)
        try:
            self.log.append(LEFT_OUT, payload)
        except (OSError, ValueError) as error:
            self.room.without(LEFT_OUT, payload, error)

    def _shown(self, span: Any, attributes: Any) -> tuple[Any, Any]:
        """The span and its attributes as they may be written."""
        if not self._content.is_full:
            return view.PublicView(span, self._content.applied), self._content.applied(attributes)
        return (span if view.is_fast() else view.PublicView(span)), attributes

    def _take_late(self, span: Any, scope: Scope, mono_start_ns: int) -> None:
        """After the stop: kept aside, never part of the experiment."""
        self.tally.add("late")
        self.note_once("late", f"a span ended after experiment {self.experiment_id} was stopped; it is quarantined.")
        if self._quarantine is None:
            self._quarantine = self._open_quarantine()
        seen, attributes = self._shown(span, attributes_of(span))
        numbers = _numbers(self._quarantine, span)
        self._quarantine.append(
            END, encode_end(seen, scope.labels, *numbers, mono_start_ns, monotonic_ns(), None, attributes)
        )

    # -- counting -----------------------------------------------------------------------

    def note_error(self, where: str, error: Exception) -> None:
        """A user's rule raised: count it, say so once."""
        self.tally.add(f"error:{where}")
        self.note_once(where, f"{where} raised {type(error).__name__}: {error}. The span was kept; counted in the ledger.")

    def note_once(self, key: str, text: str) -> None:
        """Log a warning the first time."""
        if key not in self._warned:
            self._warned.add(key)
            _logger.warning("otel_research: %s", text)

    @property
    def open_count(self) -> int:
        """Spans of this experiment that this process has started and not ended."""
        return sum(entry[0] is self for entry in list(registry.open_spans.values()))

    @property
    def unseen_starts(self) -> int:
        """Open spans whose start has no frame: only this process knows of them."""
        return sum(
            entry[0] is self and not (self._starts and self.rules.keeps_trace(trace_id))
            for (trace_id, _), entry in list(registry.open_spans.items())
        )

    def ledger(self) -> Ledger:
        """What became of this process's spans of the experiment."""
        tally = self.tally
        lost = tally.under("lost")
        late = tally["late"]
        filtered, sampled_out, stored = tally["filtered"], tally["sampled_out"], self.log.appended[END]
        ended = stored + filtered + sampled_out + late + sum(lost.values())
        return Ledger(
            started=self.log.appended[START] + tally["started_silently"] + tally["inherited"],
            ended=ended,
            open=0 if self.is_stopped else self.open_count,
            interrupted=self.open_count if self.is_stopped else 0,
            stored=stored,
            filtered=filtered,
            sampled_out=sampled_out,
            late=late,
            lost=lost,
            errors=tally.under("error"),
        )

    # -- the end ------------------------------------------------------------------------

    def wait_for_open(self, timeout: float) -> int:
        """Wait until no span is open or the time is over; how many are still open."""
        deadline = time.monotonic() + timeout
        while (count := self.open_count) and time.monotonic() < deadline:
            time.sleep(0.01)
        return count

    def _sync(self) -> None:
        try:
            self.log.sync()
        except (OSError, ValueError) as error:
            self.note_error("fsync", error)

    def after_fork(self) -> None:
        """In the child: own segment, own counts."""
        self.log.after_fork()
        self.tally.restart()


def _is_own(span: Any) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == OWN_SCOPE


def _numbers(log: Log, span: Any) -> tuple[int, int]:
    """The numbers of the span's scope and resource, defined in the log on first sight."""
    found, resource = span._instrumentation_scope, span._resource
    name, version = getattr(found, "name", "") or "", getattr(found, "version", None) or None
    scope_attributes = dict(getattr(found, "attributes", None) or {})
    return (
        log.number_of(found, "scope", name, version, scope_attributes),
        log.number_of(resource, "resource", "", None, dict(resource.attributes)),
    )
