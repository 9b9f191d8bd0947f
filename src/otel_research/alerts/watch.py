"""Rules over calls as they come: one state per rule, hysteresis, rate limit.

Time is the spans' own (`end_ns`), so that recorded spans give the alerts that they gave live.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from otel_research.alerts.alert import Alert
from otel_research.alerts.rules import Budget, Custom, NoData, Rule
from otel_research.alerts.seen import Call, Span, Totals
from otel_research.alerts.window import Key, Window

_logger = logging.getLogger("otel_research")


@dataclass
class _State:
    """What is remembered of one rule."""

    rule: Rule
    window: Window | None
    is_over: bool = False
    """The limit is crossed and not yet kept again."""
    announced: str | None = None
    """Id of the alert that said so; None where the rate limit held it back."""
    last_ns: int | None = None
    """When its last alert was, by the spans' clock."""
    suppressed: int = 0
    has_failed: bool = False


@dataclass
class Watch:
    """Evaluates rules for one experiment. Not safe for several threads at once."""

    rules: Iterable[Rule]
    experiment_id: str = ""
    experiment_name: str = ""
    new_id: Callable[[], str] = lambda: secrets.token_hex(8)
    _states: list[_State] = field(init=False)

    def __post_init__(self) -> None:
        self._states = [_State(rule, None if rule.window is None else Window(rule.window)) for rule in self.rules]

    @property
    def needs_spans(self) -> bool:
        """Whether a rule looks at spans that are no calls."""
        return any(isinstance(state.rule, Custom) for state in self._states)

    # -- what comes in ------------------------------------------------------------------

    def calls(self, calls: Iterable[Call]) -> list[Alert]:
        """Calls that ended, in the order of their ends."""
        return [alert for call in calls for state in self._states for alert in self._of_call(state, call)]

    def taken_back(self, keys: Iterable[Key]) -> None:
        """Calls that turned out to be another's twin or wrapper."""
        for key in keys:
            for state in self._states:
                if state.window is not None:
                    state.window.drop(key)

    def spans(self, rows: Iterable[dict[str, Any]]) -> list[Alert]:
        """Spans of any kind, for custom rules."""
        customs = [state for state in self._states if isinstance(state.rule, Custom)]
        if not customs:
            return []
        return [alert for row in rows for state in customs for alert in self._of_span(state, Span(row))]

    def totals(self, totals: Totals, now_ns: int) -> list[Alert]:
        """Sums so far, for budgets."""
        found: list[Alert] = []
        for state in self._states:
            spent = totals.cost_usd
            if isinstance(state.rule, Budget) and not state.is_over and spent is not None and spent >= state.rule.usd:
                state.is_over = True
                unpriced = f" + {totals.unpriced:,} unpriced calls" if totals.unpriced else ""
                text = f"the budget is spent: {spent:.4g} USD{unpriced} of {state.rule.usd:.4g} USD after {totals.calls:,} calls"
                if state.rule.action == "stop":
                    text += "; the next trial stops the run"
                found += self._fired(state, spent, text, now_ns)
        return found

    def tick(self, now_ns: int, last_ns: int) -> list[Alert]:
        """Time goes by: windows empty, silence grows. `last_ns`: when a span ended last, or the run began."""
        found: list[Alert] = []
        for state in self._states:
            if isinstance(state.rule, NoData):
                found += self._of_silence(state, now_ns, last_ns)
            elif state.window is not None and state.window.seconds is not None and state.window.trim(now_ns):
                found += self._of_level(state, now_ns, None)
        return found

    # -- judging ------------------------------------------------------------------------

    def _of_call(self, state: _State, call: Call) -> Iterator[Alert]:
        rule = state.rule
        value = rule.measure(call)
        if value is None:
            return
        if state.window is not None:
            state.window.add(call.key, call.end_ns, value)
            yield from self._of_level(state, call.end_ns, call)
        elif rule.limit is not None and value > rule.limit:
            text = f"{rule.saying(value)} of {call.name!r} is over {rule.limit:,.4g} {rule.unit}"
            yield from self._fired(state, value, text, call.end_ns, call)

    def _of_span(self, state: _State, span: Span) -> Iterator[Alert]:
        rule = state.rule
        assert isinstance(rule, Custom)
        try:
            is_hit = bool(rule.fn(span))
        except Exception as error:
            if not state.has_failed:
                _logger.warning("otel_research: the alert rule %s raised, which counts as no: %r", rule.title, error)
            state.has_failed = True
            return
        if is_hit:
            where = Call(
                span.trace_id, span.span_id, span.name, span.end_ns or span.start_ns, None, False, None, None, None,
                None, span.condition, None, None,
            )  # fmt: skip
            yield from self._fired(state, None, f"true of the span {span.name!r}", where.end_ns, where)

    def _of_level(self, state: _State, now_ns: int, call: Call | None) -> Iterator[Alert]:
        """A value that stays: fires when it crosses the limit, ends when it is back below `clear`."""
        rule, window = state.rule, state.window
        assert window is not None
        assert rule.limit is not None
        if len(window) < (rule.min_count if not state.is_over else 1):
            if state.is_over and not len(window):
                yield from self._resolved(state, None, f"no calls in {window}", now_ns)
            return
        value = rule.of_window(window.values(), window.total)
        if not state.is_over and value > rule.limit:
            state.is_over = True
            text = f"{rule.saying(value)} over {window} ({len(window):,} calls) is above {_limit(rule)}"
            yield from self._fired(state, value, text, now_ns, call)
        elif state.is_over and value <= rule.cleared_below:
            yield from self._resolved(
                state, value, f"{rule.saying(value)} over {window} is below {_limit(rule)} again", now_ns
            )

    def _of_silence(self, state: _State, now_ns: int, last_ns: int) -> Iterator[Alert]:
        silence = (now_ns - last_ns) / 1e9
        limit = state.rule.limit or 0.0
        if not state.is_over and silence > limit:
            state.is_over = True
            yield from self._fired(
                state, silence, f"no span has ended for {silence:,.4g} s (limit {limit:g} s)", now_ns
            )
        elif state.is_over and silence <= limit:
            yield from self._resolved(state, silence, "spans come in again", now_ns)

    # -- telling ------------------------------------------------------------------------

    def _fired(
        self, state: _State, value: float | None, text: str, now_ns: int, call: Call | None = None
    ) -> list[Alert]:
        if state.last_ns is not None and now_ns - state.last_ns < state.rule.every * 1e9:
            state.suppressed += 1
            state.announced = None
            return []
        if state.suppressed:
            text += f" (and {state.suppressed:,} more since the last alert of this rule)"
        alert = self._alert(state, "firing", value, text, now_ns, self.new_id(), call)
        state.last_ns, state.suppressed, state.announced = now_ns, 0, alert.id
        return [alert]

    def _resolved(self, state: _State, value: float | None, text: str, now_ns: int) -> list[Alert]:
        state.is_over = False
        said, state.announced = state.announced, None
        # What was not announced is not taken back either.
        return [] if said is None else [self._alert(state, "resolved", value, text, now_ns, said, None)]

    def _alert(
        self, state: _State, what: Any, value: float | None, text: str, now_ns: int, id: str, call: Call | None
    ) -> Alert:
        rule = state.rule
        return Alert(
            id=id, rule=rule.title, type=rule.kind, state=what, severity=rule.severity, text=f"{rule.title}: {text}",
            value=value, limit=rule.limit, unit=rule.unit, time_ns=now_ns, experiment_id=self.experiment_id,
            experiment_name=self.experiment_name, action=getattr(rule, "action", None), suppressed=state.suppressed,
            trace_id=None if call is None else call.trace_id, span_id=None if call is None else call.span_id,
            condition=None if call is None else call.condition,
        )  # fmt: skip


def _limit(rule: Rule) -> str:
    assert rule.limit is not None
    return f"{100 * rule.limit:.3g} %" if rule.unit == "1" else f"{rule.limit:,.4g} {rule.unit}"
