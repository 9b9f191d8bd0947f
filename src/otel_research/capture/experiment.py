"""One experiment's spans in this process: journal, rules, counters."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

from otel_research.capture import registry
from otel_research.capture.content import Content, Policy
from otel_research.capture.ledger import Ledger, Tally
from otel_research.capture.registry import open_spans
from otel_research.capture.room import Overload, Room
from otel_research.capture.rules import KEEP, Rules
from otel_research.capture.view import PublicView, attributes_of, is_fast
from otel_research.context import NEW_TRIAL, Scope
from otel_research.journal.frame import END, LEFT_OUT, START
from otel_research.journal.log import Log
from otel_research.spans.record import encode_end, encode_left_out, encode_origin, encode_start

FEW = 8
"""Up to so many attributes their keys are written out; for more a number stands for all keys."""
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
        self._is_plain = self.rules.is_empty and self._content.is_full and is_fast()
        self.is_stopped = False
        self._known: dict[int, tuple[Any, int, int]] = {}
        """id of an instrumentation scope -> (resource, number of the scope, number of the resource)."""
        self._warned: set[str] = set()

    # -- the hot path: what is usual is written out in one piece, because calls are what costs ---

    def start(self, span: Any, scope: Scope) -> None:
        """A span of ours has started: tag it, journal the start, remember it until it ends."""
        context = span._context
        key = (context[0], context[1])
        if key in open_spans:
            # A provider may carry two processors of ours, one put there by hand: the first takes the span.
            return
        if scope.trial_id == NEW_TRIAL:
            scope = _of_this_trial(span, scope)
        attributes = _tag(span, scope) if self._is_plain else _tag_publicly(span, scope)
        known = self._known.get(id(span._instrumentation_scope))
        if known is None or known[0] is not span._resource:
            known = self._define(span)
        try:
            origin = encode_origin(span, scope.labels, known[1], known[2], monotonic_ns())
        except Exception:
            origin = encode_origin(PublicView(span), scope.labels, known[1], known[2], monotonic_ns())
        open_spans[key] = (self, scope, origin)
        if self._starts:
            if self._is_plain:
                shaped = self.log.shaped(attributes) if len(attributes) > FEW else None
                payload = encode_start(origin, span, attributes, shaped)
            else:
                payload = self._start_by_rule(span, origin, attributes)
            if payload:
                try:
                    self.log.append(START, payload)
                except (OSError, ValueError) as error:
                    self._start_without_room(payload, error)

    def end(self, span: Any, scope: Scope, origin: bytes) -> None:
        """A span of ours has ended: exactly one frame, or one count."""
        if self._is_plain:
            attributes = span._attributes._dict
            shaped = self.log.shaped(attributes) if len(attributes) > FEW else None
            try:
                payload = encode_end(origin, span, monotonic_ns(), 1.0, attributes, shaped)
            except Exception:
                payload = encode_end(origin, PublicView(span), monotonic_ns(), 1.0, attributes, shaped)
        else:
            payload = self._end_by_rule(span, origin)
        if payload:
            try:
                self.log.append(END, payload)
            except (OSError, ValueError) as error:
                self._end_without_room(payload, error)
            if self._sync_each:
                self._sync()

    def _define(self, span: Any) -> tuple[Any, int, int]:
        """The numbers of the span's scope and resource, defined in the log on first sight."""
        scope, resource = span._instrumentation_scope, span._resource
        name, version = getattr(scope, "name", "") or "", getattr(scope, "version", None) or None
        known = (
            resource,
            self.log.number_of(scope, "scope", name, version, dict(getattr(scope, "attributes", None) or {})),
            self.log.number_of(resource, "resource", "", None, dict(resource.attributes)),
        )
        self._known[id(scope)] = known
        return known

    # -- with rules, a policy or an unknown SDK ------------------------------------------

    def _start_by_rule(self, span: Any, origin: bytes, attributes: Mapping[str, Any]) -> bytes:
        """The start record as it may be written; empty for a trace that the rate leaves out."""
        if not self.rules.keeps_trace(span._context[0]):
            self.tally.add("started_silently")
            return b""
        return encode_start(origin, PublicView(span), self._content.applied(attributes) or {}, None, self.rules.weight)

    def _end_by_rule(self, span: Any, origin: bytes) -> bytes:
        """The end record as it may be written; empty for a span that is not kept."""
        if self.is_stopped:
            self._take_late(span, origin)
            return b""
        decision = KEEP if self.rules.is_empty else self.rules.decide(span, is_own=_is_own(span))
        if decision.left_out is not None:
            self._leave_out(origin, decision.left_out)
            return b""
        attributes = self._content.applied(attributes_of(span)) or {}
        return encode_end(origin, PublicView(span, self._content.redact), monotonic_ns(), decision.weight, attributes)

    def _start_without_room(self, payload: bytes, error: OSError | ValueError) -> None:
        if self.room.without(START, payload, error) is not None:
            self.tally.add("started_silently")

    def _end_without_room(self, payload: bytes, error: OSError | ValueError) -> None:
        reason = self.room.without(END, payload, error)
        if reason is not None:
            self.tally.add(f"lost:{reason}")

    def _leave_out(self, origin: bytes, reason: str) -> None:
        """The rules left it out: a small frame says so, so that the count survives a crash."""
        self.tally.add(reason)
        payload = encode_left_out(reason, origin)
        try:
            self.log.append(LEFT_OUT, payload)
        except (OSError, ValueError) as error:
            self.room.without(LEFT_OUT, payload, error)

    def _take_late(self, span: Any, origin: bytes) -> None:
        """After the stop: kept aside, never part of the experiment."""
        self.tally.add("late")
        self.note_once("late", f"a span ended after experiment {self.experiment_id} was stopped; it is quarantined.")
        if self._quarantine is None:
            quarantine = self._open_quarantine()
            quarantine.adopt(self.log)
            self._quarantine = quarantine
        attributes = self._content.applied(attributes_of(span)) or {}
        seen = PublicView(span, self._content.redact)
        self._quarantine.append(END, encode_end(origin, seen, monotonic_ns(), None, attributes))

    # -- counting -----------------------------------------------------------------------

    def note_error(self, where: str, error: Exception) -> None:
        """A user's rule raised: count it, say so once."""
        self.tally.add(f"error:{where}")
        self.note_once(
            where, f"{where} raised {type(error).__name__}: {error}. The span was kept; counted in the ledger."
        )

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

    def stop(self) -> None:
        """What ends from now on is late."""
        self.is_stopped = True
        self._is_plain = False

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


def _of_this_trial(span: Any, scope: Scope) -> Scope:
    """The span is a trial: its own id is the trial's."""
    trial_id = f"{span._context[1]:016x}"
    span.set_attribute("experiment.trial.id", trial_id)
    return scope.having(trial_id=trial_id)


def _tag(span: Any, scope: Scope) -> Mapping[str, Any]:
    """Put the experiment's attributes on the span, at no cost where they fit; the span's attributes then.

    `set_attributes` cleans every value again, which is most of what tagging would cost. Ours are
    clean, and `view` has checked that the SDK keeps attributes in this dict.
    """
    bounded = span._attributes
    given: dict[str, Any] = bounded._dict
    if "experiment.id" in given:
        return given
    tags = scope.attributes
    most = bounded.maxlen
    if bounded.max_value_len is None and (most is None or len(given) + len(tags) <= most) and "session.id" not in given:
        given.update(tags)
    else:
        span.set_attributes(scope.missing_from(given))
    return given


def _tag_publicly(span: Any, scope: Scope) -> Mapping[str, Any]:
    given = attributes_of(span)
    if "experiment.id" not in given:
        span.set_attributes(scope.missing_from(given))
    return attributes_of(span)
