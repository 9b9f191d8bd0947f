"""One experiment's spans in this process: journal, rules, counters."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

from otel_research.capture import overhead, registry
from otel_research.capture.content import Content, Policy
from otel_research.capture.ledger import Ledger, Tally
from otel_research.capture.registry import open_spans
from otel_research.capture.room import Overload, Room, reason_of
from otel_research.capture.rules import KEEP, Rules
from otel_research.capture.view import PublicView, attributes_of, is_fast
from otel_research.context import NEW_TRIAL, Scope
from otel_research.errors import told
from otel_research.journal.frame import END, LEFT_OUT, START
from otel_research.journal.log import Log, LogClosed
from otel_research.spans.record import (
    as_text,
    decode_left_out,
    encode_end,
    encode_left_out,
    encode_origin,
    encode_start,
    ids_of,
)

OWN_SCOPE = "otel_research"
"""The instrumentation scope of the experiment's own rows: trials, records, scores."""
TELLING_SECONDS = 0.1

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
        spill: Callable[[], Log] | None = None,
    ) -> None:
        self.experiment_id = experiment_id
        self.name = ""
        self.log = log
        self.tally = Tally()
        self.room = Room(log, overload, spill=spill)
        self.rules = Rules(
            event_filter=event_filter,
            sampling_rate=sampling_rate,
            sampling_strategy=sampling_strategy,
            on_error=self.note_error,
        )
        self._content = Content(content, self.note_error)
        self._open_quarantine = open_quarantine
        self._quarantine: Log | None = None
        self.journals_starts = starts
        self.unjournaled = 0
        """Spans that started while starts were not journaled."""
        self._sync_each = sync_each
        # The usual case takes every span as it is, without a rule or a policy in the way.
        self.is_plain = self.rules.is_empty and self._content.is_full and is_fast() and not sync_each
        self.is_stopped = False
        self.numbers: dict[int, tuple[int, int]] = {}
        """id of an instrumentation scope -> (its number, the number of its provider's resource)."""
        self._silent: set[tuple[int, int]] = set()
        """Spans whose start there was no room for."""
        self._warned: set[str] = set()
        self.durable_ends = 0
        """Of the ends in frames: how many survive a power cut for certain."""
        self._next_telling = 0.0
        self.on_loss: Callable[[], None] = lambda: None
        """Called when a span was lost that no frame tells of."""

    # -- the way of a span that is not usual; `processor` has the usual one --------------

    def start(self, span: Any, scope: Scope) -> None:
        """A span of ours has started: journal the start, remember it until it ends, tag it."""
        context = span.get_span_context()
        key = (context.trace_id, context.span_id)
        if key in open_spans:
            # A provider may carry two processors of ours, one put there by hand: the first takes the span.
            return
        if scope.trial_id == NEW_TRIAL:
            scope = scope.having(trial_id=f"{context.span_id:016x}")
        numbers = self.numbers.get(id(span._instrumentation_scope)) or self.define(span)
        given = dict(attributes_of(span))
        view = PublicView(span, self._content.redactor)
        origin = encode_origin(view, scope.labels, *numbers, monotonic_ns())
        open_spans[key] = (self, scope, origin)
        if registry.running.get(self.experiment_id) is not self:
            # A stop has begun meanwhile and does not wait for this one.
            del open_spans[key]
            return
        if self.journals_starts:
            self._journal_start(origin, view, given)
        else:
            self.unjournaled += 1
        setattr(span, registry.SCOPE_MARK, scope)
        if "experiment.id" not in given:
            span.set_attributes(scope.missing_from(given))
        elif scope.trial_id is not None:
            # A sampler has tagged it before its id, which is the trial's, was known.
            span.set_attribute("experiment.trial.id", scope.trial_id)

    def _journal_start(self, origin: bytes, view: PublicView, given: Mapping[str, Any]) -> None:
        if not self.rules.keeps_trace(view._context.trace_id):
            self.tally.add("started_silently")
            return
        attributes = self._content.applied(given) or {}
        written = self.log.shaped_if_many(attributes)
        payload = encode_start(origin, view, attributes, written, self.rules.weight)
        try:
            self.log.append_start(payload)
        except OSError as error:
            self.start_without_room(payload, error)

    def end(self, span: Any, origin: bytes) -> None:
        """A span of ours has ended: exactly one frame, or one count."""
        try:
            if not self.is_stopped:
                self._end_in_time(span, origin)
                return
        except LogClosed:
            pass  # the stop has overtaken it
        self._take_late(span, origin)

    def _end_in_time(self, span: Any, origin: bytes) -> None:
        decision = KEEP if self.rules.is_empty else self.rules.decide(span, is_own=_is_own(span))
        if decision.left_out is not None:
            self._leave_out(origin, decision.left_out)
            return
        attributes = self._content.applied(attributes_of(span)) or {}
        view = PublicView(span, self._content.redactor)
        written = self.log.shaped_if_many(attributes)
        payload = encode_end(origin, view, monotonic_ns(), decision.weight, attributes, written)
        try:
            self.log.append_end(payload)
        except OSError as error:
            self.end_without_room(payload, error)
        if self._sync_each:
            self.sync()

    def define(self, span: Any) -> tuple[int, int]:
        """The numbers of the span's scope and resource, defined in the log on first sight."""
        scope, resource = span._instrumentation_scope, span._resource
        name, version = named(scope)
        numbers = (
            self.log.number_of(scope, "scope", name, version, self._written(getattr(scope, "attributes", None))),
            self.log.number_of(resource, "resource", "", None, self._written(resource.attributes)),
        )
        self.numbers[id(scope)] = numbers
        return numbers

    def _written(self, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        return dict(self._content.applied(attributes) or {})

    def start_without_room(self, payload: bytes, error: OSError) -> None:
        """The start could not be written: the policy decides; the span itself goes on."""
        if self.room.without(START, payload, error) is not None:
            self.tally.add("started_silently")
            self._silent.add(ids_of(payload))

    def _is_unseen(self, key: tuple[int, int]) -> bool:
        """Whether no frame tells of the span's start."""
        return not self.journals_starts or key in self._silent or not self.rules.keeps_trace(key[0])

    def _note_unframed(self, origin: bytes) -> None:
        """An end that no frame of the journal tells of; nor of its start, perhaps."""
        key = ids_of(origin)
        if self._is_unseen(key):
            self.tally.add("unseen_ends")
        self._silent.discard(key)

    def end_without_room(self, payload: bytes, error: OSError) -> None:
        """The end could not be written: the policy decides whether it is stored after all, or lost."""
        reason = self.room.without(END, payload, error)
        if reason is not None:
            self.lose(payload, reason)

    def lose(self, origin: bytes, reason: str) -> None:
        """Count a span that is not stored although it should be; where there is room, a small frame says so."""
        self.tally.add(f"lost:{reason}")
        try:
            self.log.append(LEFT_OUT, encode_left_out(f"lost:{reason}", origin))
        except (OSError, LogClosed):
            self._note_unframed(origin)
            self.tally.add(f"unwritten:lost:{reason}")
            self._tell_soon()

    def lose_unstarted(self, reason: str) -> None:
        """A span has ended that is in no frame at all."""
        for name in ("started_silently", f"lost:{reason}", f"unwritten:lost:{reason}", "unseen_ends"):
            self.tally.add(name)
        self._tell_soon()

    def settle_refused(self) -> None:
        """Frames that came in the middle of another and found no room after it: lost, as they would have been then."""
        while self.log.refused:
            kind, payload, error = self.log.refused.popleft()
            if kind == START:
                self.tally.add("started_silently")
                self._silent.add(ids_of(payload))
            elif kind == END:
                self.lose(payload, reason_of(error))
            elif kind == LEFT_OUT:
                self.tally.add(f"unwritten:{decode_left_out(payload)[0]}")

    def _tell_soon(self) -> None:
        """What only this process knows is kept at once, at most ten times a second: it may leave without a word."""
        if time.monotonic() > self._next_telling:
            self._next_telling = time.monotonic() + TELLING_SECONDS
            self.on_loss()

    def leave_removed(self) -> None:
        """Somebody may have deleted the file that spans go to: they are lost, count them and go on elsewhere."""
        ends = self.log.leave_removed()
        if not ends:
            return
        # What has started there and not ended is in no frame either.
        self._silent.update(self._open_keys())
        for name in ("lost:removed", "unwritten:lost:removed", "unseen_ends"):
            self.tally.add(name, ends)
        self.note_once(
            "removed",
            f"the journal of experiment {self.experiment_id} was removed while it ran: {ends} spans are lost and counted. "
            "Stop an experiment before you delete its folder.",
        )

    def _leave_out(self, origin: bytes, reason: str) -> None:
        """The rules left it out: a small frame says so, so that the count survives a crash."""
        payload = encode_left_out(reason, origin)
        try:
            self.log.append(LEFT_OUT, payload)
        except OSError as error:
            if self.room.without(LEFT_OUT, payload, error) is not None:
                self._note_unframed(origin)
                self.tally.add(f"unwritten:{reason}")
        self.tally.add(reason)

    def _take_late(self, span: Any, origin: bytes) -> None:
        """After the stop: late and never lost, whether or not it can be kept aside; no part of the experiment."""
        self.tally.add("late")
        self._note_unframed(origin)
        self.note_once("late", f"a span ended after experiment {self.experiment_id} was stopped; it is quarantined.")
        try:
            self._put_aside(span, origin)
        except Exception as error:
            self.note_error("quarantine", error)

    def _put_aside(self, span: Any, origin: bytes) -> None:
        if self._quarantine is None:
            quarantine = self._open_quarantine()
            quarantine.adopt(self.log)
            self._quarantine = quarantine
        attributes = self._content.applied(attributes_of(span)) or {}
        seen = PublicView(span, self._content.redactor)
        self._quarantine.append(END, encode_end(origin, seen, monotonic_ns(), None, attributes, attributes))

    # -- counting -----------------------------------------------------------------------

    def note_error(self, where: str, error: Exception) -> None:
        """A user's rule raised, or a sync failed: count it, say so once."""
        self.tally.add(f"error:{where}")
        self.note_once(
            where, f"{where} raised {type(error).__name__}: {told(error)}. No span was lost by it; it is counted."
        )

    def note_once(self, key: str, text: str) -> None:
        """Log a warning the first time."""
        if key not in self._warned:
            self._warned.add(key)
            _logger.warning("otel_research: %s", text)

    @property
    def open_count(self) -> int:
        """Spans of this experiment that this process has started and not ended."""
        return len(self._open_keys())

    @property
    def framed_ends(self) -> int:
        """Ends in frames; of those beyond `durable_ends` a power cut may take some."""
        return self.room.appended(END) - self.tally["lost:removed"]

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come: it is stopped, and no span of it is open."""
        return self.is_stopped and not self._open_keys()

    def _open_keys(self) -> set[tuple[int, int]]:
        return {key for key, entry in list(open_spans.items()) if entry[0] is self}

    def ledger(self) -> Ledger:
        """What became of this process's spans of the experiment."""
        self.settle_refused()
        tally = self.tally
        lost = tally.under("lost")
        late = tally["late"]
        filtered, sampled_out, stored = tally["filtered"], tally["sampled_out"], self.framed_ends
        unfinished = self.open_count
        return Ledger(
            started=self.room.appended(START) + tally["started_silently"] + tally["inherited"] + self.unjournaled,
            ended=stored + filtered + sampled_out + late + sum(lost.values()),
            open=0 if self.is_stopped else unfinished,
            interrupted=unfinished if self.is_stopped else 0,
            stored=stored,
            filtered=filtered,
            sampled_out=sampled_out,
            late=late,
            lost=lost,
            errors=tally.under("error"),
        )

    def told(self) -> dict[str, Any]:
        """The ledger with what frames do not tell: kept beside them, for `accounts`."""
        tally = self.tally
        return {
            **self.ledger().to_dict(),
            "writer": self.log.writer.name,
            "is_final": self.is_stopped,
            "framed_ends": self.framed_ends,
            "unseen_starts": sum(map(self._is_unseen, self._open_keys())),
            "unseen_ends": tally["unseen_ends"],
            "unwritten": tally.under("unwritten"),
            "announced_at_home": self.room.announced_at_home,
            "overhead": overhead.measured(),
        }

    # -- the end ------------------------------------------------------------------------

    def wait_for_open(self, timeout: float) -> None:
        """Wait until no span is open or the time is over.

        Not for the spans that the caller stands in: they cannot end before this returns.
        """
        held = {key for key, entry in registry.around_here() if entry[0] is self}
        if held:
            self.note_once(
                "held",
                f"the stop of experiment {self.experiment_id} was called inside {len(held)} of its own open spans, which "
                "cannot end in time: they will be quarantined as late. Stop it after the block that holds them.",
            )
        deadline = time.monotonic() + timeout
        while self._open_keys() - held and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        """What ends from now on is late: an end that is under way either gets in before this, or is."""
        self.is_stopped = True
        self.is_plain = False
        self.room.close()

    def sync(self) -> None:
        """Make what was captured survive a power cut; a failure is counted and told."""
        self.leave_removed()
        ends, errors = self.framed_ends, self.tally["error:fsync"]
        for log in (self.log, self.room.spilled):
            try:
                if log is not None and log.is_dirty:
                    log.sync()
            except OSError as error:
                self.note_error("fsync", error)
        if self.tally["error:fsync"] == errors:
            self.durable_ends = ends

    def after_fork(self) -> None:
        """In the child: own segment, own counts."""
        self.log.after_fork()
        self.room.after_fork()
        self.tally.restart()
        self.unjournaled = self.durable_ends = 0
        if self._quarantine is not None:
            self._quarantine.after_fork()
        self._silent.clear()
        # The SDK gives a forked child another resource (its process id is another).
        self.numbers.clear()


def named(scope: Any) -> tuple[str, str | None]:
    """(name, version) of an instrumentation scope as text: the API lets any object pass."""
    name, version = getattr(scope, "name", None), getattr(scope, "version", None)
    return as_text(name or ""), as_text(version) if version else None


def _is_own(span: Any) -> bool:
    return getattr(span.instrumentation_scope, "name", None) == OWN_SCOPE
