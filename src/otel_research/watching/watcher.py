"""Watches one experiment: reads what is new, evaluates the rules, tells the subscribers.

In the program it runs on a thread of its own, never on a span's way. `catch_up` may be called from
any thread: a trial of an experiment with a stopping budget does, so that no trial begins on old news.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_research.alerts.alert import Alert
from otel_research.alerts.delivery import Delivery
from otel_research.alerts.rules import Budget, Rule
from otel_research.alerts.sinks import Sink, log
from otel_research.alerts.watch import Watch
from otel_research.errors import BudgetExceeded
from otel_research.store.library import Library
from otel_research.watching.events import Name, event, lines
from otel_research.watching.follow import follow

POLL_SECONDS = 0.5
FULL_SECONDS = 5.0
SHARE = 0.1
"""Of one core at most for the full metrics of a long run: what takes 2 s comes every 20 s."""
DEARER = 10
"""A call is taken to cost at most so many times what the dearest one so far has cost."""
CLOSE_SECONDS = 5.0
"""How long the end of a run waits for sinks that do not answer."""

_logger = logging.getLogger("otel_research")

Event = dict[str, Any]
Tell = Callable[[Event], Any]


class Watched(Protocol):
    """What a watcher needs of an experiment."""

    library: Library

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name."""

    def metrics(self, *, ci: bool) -> Any:
        """`calculate_metrics`."""

    def _annotate(self, note: dict[str, Any]) -> None: ...

    def _ended_here(self) -> int | None:
        """Spans that ended in this process; None where it does not record."""


class Subscription:
    """What `exp.subscribe` gives: `close()` ends it; also a context manager."""

    def __init__(self, watcher: Watcher, tell: Tell) -> None:
        self._watcher = watcher
        self.tell = tell
        self.missed = 0
        """Events that a full queue had no room for."""
        self._has_failed = False

    def send(self, told: Event) -> None:
        """Hand over one event; whatever the other side does, the run goes on."""
        try:
            self.tell({**told, "missed": self.missed} if self.missed else told)
        except Exception as error:
            self.missed += 1
            if not self._has_failed:
                self._has_failed = True
                _logger.warning("otel_research: a subscriber did not take an event, which is counted: %r", error)

    def close(self) -> None:
        """No more events."""
        self._watcher.leave(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Watcher:
    """One experiment's rules and subscribers. Safe to use from any thread."""

    def __init__(self, experiment: Watched, *, poll: float = POLL_SECONDS, in_background: bool = True) -> None:
        from otel_research.watching.calls import Calls
        from otel_research.watching.rolling import Rolling

        self._experiment = experiment
        self._follower = follow(experiment.library, experiment.id)
        self._calls, self._rolling = Calls(), Rolling()
        self._watches: list[tuple[Watch, tuple[Delivery, ...]]] = []
        self._subscriptions: tuple[Subscription, ...] = ()
        self._poll, self._in_background = poll, in_background
        # Protects follower, calls and watches: one reader at a time, whichever thread it is.
        self._reading = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_over = False
        self._begun_ns = time.time_ns()
        self._looked_at = 0
        """Spans that had ended in this process when it was looked last."""
        self._stopped_by: str | None = None
        self.stops = False
        """Whether a rule may stop the run: then trials look before they begin."""

    # -- who is told --------------------------------------------------------------------

    def add_rules(self, rules: Sequence[Rule], sinks: Sequence[Sink]) -> None:
        """Evaluate more rules, on what comes from now on; budgets on everything since the start."""
        watch = Watch(rules, self._experiment.id, self._experiment.name)
        deliveries = tuple(Delivery(sink, self._experiment._annotate) for sink in (sinks or (log(),)))
        with self._reading:
            self._watches.append((watch, deliveries))
            self.stops = self.stops or any(map(_stops, rules))
        self._ensure_thread()

    def subscribe(self, tell: Tell) -> Subscription:
        """Tell of everything that comes from now on."""
        made = Subscription(self, tell)
        with self._reading:
            if not self._subscriptions and not self._watches:
                # What was there before is in the totals and not told again.
                self._take_in(self._follower.new())
            self._subscriptions = (*self._subscriptions, made)
        self._ensure_thread()
        return made

    def leave(self, subscription: Subscription) -> None:
        """Tell this one no more."""
        with self._reading:
            self._subscriptions = tuple(one for one in self._subscriptions if one is not subscription)

    def now(self) -> dict[str, Any]:
        """What a `metrics_update` would say now."""
        with self._reading:
            return self._rolling.told(self._calls.totals)

    def _tell(self, name: Name, data: dict[str, Any]) -> None:
        if self._subscriptions:
            told = event(name, self._experiment.id, data)
            for subscription in self._subscriptions:
                subscription.send(told)

    # -- looking ------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Read what is new and tell of it."""
        with self._reading:
            ended = self._experiment._ended_here() or 0
            rows = self._follower.new()
            if not rows.is_empty():
                self._take_in(rows)
            self._judge_time()
            self._looked_at = ended

    def _take_in(self, rows: Any) -> None:
        if rows.is_empty():
            return
        change = self._calls.add(rows)
        self._rolling.add(change.added, change.removed, rows.height)
        now_ns = self._calls.last_ns or time.time_ns()
        for watch, deliveries in self._watches:
            watch.taken_back(change.removed)
            alerts = watch.calls(change.added)
            if watch.needs_spans:
                alerts += watch.spans(change.rows.iter_rows(named=True))
            self._send(alerts + watch.totals(self._calls.totals, now_ns), deliveries)
        if self._subscriptions:
            for line in lines(change.rows):
                self._tell("span", line)
            self._tell("metrics_update", self._rolling.told(self._calls.totals))

    def _judge_time(self) -> None:
        now_ns = time.time_ns()
        last_ns = max(self._calls.last_ns, self._begun_ns)
        for watch, deliveries in self._watches:
            alerts = watch.tick(now_ns, last_ns)
            # Rules that came later than the spans have not seen the totals yet.
            self._send(alerts + watch.totals(self._calls.totals, now_ns), deliveries)

    def _send(self, alerts: list[Alert], deliveries: tuple[Delivery, ...]) -> None:
        for alert in alerts:
            if alert.action == "stop" and alert.state == "firing":
                self._stopped_by = alert.text
            # First into the experiment's own record: that one does not depend on anybody.
            # An annotation's own time is when it was made; when it happened stands beside it.
            note = {"kind": "alert", **alert.to_dict(), "at_ns": alert.time_ns}
            try:
                self._experiment._annotate(note)
            except Exception as error:
                _logger.error("otel_research: an alert could not be recorded in the experiment: %r", error)
            for delivery in deliveries:
                delivery.put(alert)
            self._tell("alert", alert.to_dict())

    # -- stopping -----------------------------------------------------------------------

    def check_budget(self) -> None:
        """Raise `BudgetExceeded` where a stopping budget is spent; looks at what has ended until now."""
        if self.stops and self._stopped_by is None and self._may_be_spent():
            self.catch_up()
        if self._stopped_by is not None:
            raise BudgetExceeded(
                f"{self._stopped_by}. Experiment {self._experiment.name!r} ({self._experiment.id}) takes no more trials; "
                "what has run is kept. Raise the budget to go on: resume=True."
            )

    def _may_be_spent(self) -> bool:
        """Whether what has ended since the last look could reach a budget, at `DEARER` times the dearest call so far.

        A look takes some milliseconds, so far from the budget the background thread's look is enough.
        """
        ended = self._experiment._ended_here()
        fresh = None if ended is None else ended - self._looked_at
        if fresh == 0:
            return False
        totals = self._calls.totals
        if fresh is None or not totals.dearest_nano_usd:
            return True
        nearest = min(float(rule.limit or 0.0) for watch, _ in self._watches for rule in watch.rules if _stops(rule))
        return totals.cost_nano_usd + fresh * DEARER * totals.dearest_nano_usd >= nearest * 1e9

    # -- the thread ---------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self._in_background and not self._is_over and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="otel-research-watch", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        full_at, told_spans, pause = time.monotonic(), 0, FULL_SECONDS
        while not self._wake.wait(self._poll):
            try:
                self.catch_up()
                if time.monotonic() - full_at >= pause and self._subscriptions:
                    spans = self._calls.totals.spans
                    if spans != told_spans:
                        begun = time.monotonic()
                        self._tell_everything()
                        told_spans, pause = spans, max(FULL_SECONDS, (time.monotonic() - begun) / SHARE)
                    full_at = time.monotonic()
            except Exception as error:
                _logger.warning("otel_research: watching goes on after an error: %r", error)

    def _tell_everything(self) -> None:
        self._tell("full_metrics", self._experiment.metrics(ci=False).to_dict())

    def close(self, state: str) -> None:
        """The experiment is over: look once more, tell the state, give the sinks a moment."""
        if self._is_over:
            return
        self._is_over = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_SECONDS)
        with contextlib.suppress(Exception):
            if self._subscriptions:
                self._tell_everything()
        self._tell("state", {"state": state})
        for _, deliveries in self._watches:
            for delivery in deliveries:
                delivery.close(CLOSE_SECONDS)


def _stops(rule: Rule) -> bool:
    return isinstance(rule, Budget) and rule.action == "stop"
