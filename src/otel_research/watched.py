"""The part of an `Experiment` that watches it while it runs: alerts, subscribers, a live view."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from otel_research.errors import BudgetExceeded, ConfigurationError
from otel_research.journal.frame import END

if TYPE_CHECKING:
    from otel_research.alerts import Rule, Sink
    from otel_research.watching.watcher import Subscription, Watcher

_logger = logging.getLogger("otel_research")

# Protects the making of an experiment's one watcher.
_making = threading.Lock()


class Watchable:
    """Mixed into `Experiment`; costs nothing until somebody watches."""

    _watcher: Watcher | None = None
    _watcher_pid: int | None = None

    def alert(self, *rules: Rule, sinks: Sequence[Sink | Callable[[Any], Any] | str] = ()) -> None:
        """Evaluate rules while the experiment runs, on a thread of its own.

        Every alert is recorded in the experiment (`annotations()`, kind "alert") and goes to the sinks.

        Args:
            rules: from `otel_research.alerts`.
            sinks: `alerts.log()` (the default), `alerts.webhook(url)`, a function that takes the `Alert`,
                an address, or an object with `name` and `deliver(alert)`.

        Raises:
            ConfigurationError: something is no rule or no sink.
        """
        from otel_research.alerts import rules as of_rules
        from otel_research.alerts import sinks as of_sinks

        checked = of_rules.checked(rules)
        if not checked:
            raise ConfigurationError("alert() needs a rule, for example otel_research.alerts.Budget(5.00).")
        self._watch().add_rules(checked, of_sinks.checked(sinks))

    def subscribe(self, target: Callable[[dict[str, Any]], Any] | Any) -> Subscription:
        """Tell a function or a queue what happens from now on: see docs/live.md for the events.

        Args:
            target: called with each event on a thread of ours, or a queue with `put_nowait`. What it raises, and
                what a full queue has no room for, is counted in `missed`; the run goes on.

        Returns:
            A subscription: `close()` it, or use it as a context manager.
        """
        tell = getattr(target, "put_nowait", None) or (target if callable(target) else getattr(target, "put", None))
        if not callable(tell):
            raise ConfigurationError(f"subscribe({target!r}): pass a function that takes an event, or a queue.")
        return self._watch().subscribe(tell)

    def live(self, *, seconds: float | None = None) -> None:
        """Show the experiment in this terminal or notebook until it is over, `seconds` are, or Ctrl+C.

        To show it while this program goes on, use `otel-research watch` or `otel-research serve` beside it.
        """
        from otel_research.report.live import live

        live(self, seconds=seconds)

    def _watch(self) -> Watcher:
        from otel_research.watching.watcher import Watcher

        with _making:
            if self._watcher is None or self._watcher_pid != os.getpid():
                # A forked child has no threads of its parent's: it watches for itself.
                self._watcher, self._watcher_pid = Watcher(self), os.getpid()  # type: ignore[arg-type]
            return self._watcher

    def _check_budget(self) -> None:
        """Raise `BudgetExceeded` where a budget that stops the run is spent."""
        if self._watcher is None or not self._watcher.stops:
            return
        if self._watcher_pid == os.getpid():
            self._watcher.check_budget()
            return
        # In a forked child the parent watches; its alerts are in the experiment's record.
        for note in self.annotations():  # type: ignore[attr-defined]
            if note.get("kind") == "alert" and note.get("action") == "stop":
                raise BudgetExceeded(f"{note['text']}. The parent process recorded it; no more trials begin.")

    def _ended_here(self) -> int | None:
        """Spans that ended in this process; None where it does not record."""
        capture = getattr(self, "_capture", None)
        return None if capture is None else capture.room.appended(END)

    def _look_once_more(self) -> None:
        """Before the rows are sealed; what goes wrong here must not keep them from being sealed."""
        if self._watcher is not None and self._watcher_pid == os.getpid():
            try:
                self._watcher.catch_up()
            except Exception as error:
                _logger.warning("otel_research: the last look of the alert rules failed: %r", error)

    def _end_watch(self, state: str) -> None:
        if self._watcher is not None and self._watcher_pid == os.getpid():
            self._watcher.close(state)
