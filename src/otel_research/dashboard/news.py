"""What happened in an experiment since one asked last: spans, rolling numbers, alerts, a change of state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_research import alerts
from otel_research.alerts.sinks import checked
from otel_research.dashboard.spans import in_browser
from otel_research.handle import Experiment
from otel_research.watching.events import alert
from otel_research.watching.watcher import Watcher

SPANS = 60
"""Of those that came at once the last ones are sent; the list on the page holds no more."""


class News:
    """Follows one experiment that runs elsewhere; with rules, the server evaluates them here."""

    def __init__(self, experiment: Experiment, rules: Sequence[str] = (), webhooks: Sequence[str] = ()) -> None:
        self._experiment = experiment
        self._events: list[tuple[str, Any]] = []
        self._watcher = Watcher(experiment, in_background=False)
        # First: what was there before is in the totals, and no news.
        self._watcher.subscribe(lambda event: self._events.append((event["event"], event["data"])))
        chosen = [rule for rule in map(alerts.parsed, rules) if not self._has_fired(rule)]
        if chosen:
            self._watcher.add_rules(chosen, checked(webhooks))
        self._noted = len(experiment.annotations())
        self._state: str | None = None

    def told(self, state: str) -> tuple[list[tuple[str, Any]], str]:
        """(the events since the last time, in order; the state)."""
        is_first, before = self._state is None, self._state
        self._watcher.catch_up()
        events, self._events = self._events, []
        spans = [("span", in_browser(data)) for name, data in events if name == "span"]
        found: list[tuple[str, Any]] = spans[-SPANS:]
        if spans or is_first:
            found.append(("metrics_update", {**self._watcher.now(), "new_spans": len(spans)}))
        found += [("alert", note) for note in self._new_alerts()]
        self._state = state
        if before not in (None, state):
            self._watcher.close(state)
            found.append(("state", {"state": state}))
        return found, state

    def _has_fired(self, rule: alerts.Rule) -> bool:
        """Whether a budget was told of before, by a server that was started earlier: it is told once."""
        said = [(note.get("rule"), note.get("limit")) for note in self._experiment.annotations()]
        return isinstance(rule, alerts.Budget) and (rule.title, rule.limit) in said

    def _new_alerts(self) -> list[dict[str, Any]]:
        """From the experiment's record, where the program's own rules write theirs as well."""
        notes = self._experiment.annotations()
        fresh, self._noted = notes[self._noted :], len(notes)
        return [alert(note) for note in fresh if note.get("kind") == "alert"]
