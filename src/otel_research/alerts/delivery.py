"""That an alert gets to its sink: its own thread, patience, and a note of what did not work."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_research.alerts.alert import Alert
from otel_research.alerts.sinks import Refused, Sink

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts; they double."""

_logger = logging.getLogger("otel_research")


class Delivery:
    """One sink and its queue. Alerts wait in order; one that cannot be delivered is told of, never forgotten."""

    def __init__(self, sink: Sink, note: Callable[[dict[str, Any]], None], first_pause: float = FIRST_PAUSE) -> None:
        self._sink = sink
        self._note = note
        self._first_pause = first_pause
        self._waiting: queue.SimpleQueue[Alert | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._deadline = float("inf")

    def put(self, alert: Alert) -> None:
        """Deliver an alert when its turn comes; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="otel-research-alerts", daemon=True)
            self._thread.start()
        self._waiting.put(alert)

    def close(self, timeout: float) -> None:
        """Deliver what waits within `timeout` seconds; what is left is noted as undelivered."""
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(timeout + 10.0)

    def _work(self) -> None:
        # The program's own instrumentation of HTTP must not record our requests.
        otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while (alert := self._waiting.get()) is not None:
            try:
                self._deliver(alert)
            except Exception as error:
                _logger.error("otel_research: an alert for %s could not be noted: %r", self._sink.name, error)

    def _deliver(self, alert: Alert) -> None:
        pause, attempts = self._first_pause, 0
        while True:
            attempts += 1
            try:
                self._sink.deliver(alert)
            except Refused as error:
                self._tell(alert, "refused", attempts, error)
                return
            except Exception as error:
                if time.monotonic() + pause > self._deadline:
                    self._tell(alert, "undelivered", attempts, error)
                    return
                if attempts == 1:
                    self._tell(alert, "failing", attempts, error)
                self._rest(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if attempts > 1:
                    self._tell(alert, "delivered", attempts, None)
                return

    def _rest(self, pause: float) -> None:
        """Wait; a close wakes us for the attempts that are left."""
        if self._closing.is_set():
            time.sleep(min(pause, max(0.0, self._deadline - time.monotonic())))
        else:
            self._closing.wait(pause)

    def _tell(self, alert: Alert, state: str, attempts: int, error: Exception | None) -> None:
        if error is not None:
            _logger.warning("otel_research: the alert sink %s: %s (%s)", self._sink.name, state, error)
        text = f"alert {alert.rule} to {self._sink.name}: {state} after {attempts} attempts"
        self._note(
            {
                "kind": "alert_delivery",
                "alert_id": alert.id,
                "sink": self._sink.name,
                "state": state,
                "attempts": attempts,
                "error": None if error is None else str(error)[:500],
                "text": text,
            }
        )
