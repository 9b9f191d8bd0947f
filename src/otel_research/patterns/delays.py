"""When to send a second request: three ways to choose the delay. No waiting happens here."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Protocol

from otel_research.errors import ConfigurationError


class Delay(Protocol):
    """Chooses how long to wait for an answer before asking again."""

    name: str
    """The strategy's name, as it stands in `hedging.strategy`."""

    def seconds(self) -> float:
        """The delay for the next request."""

    def observe(self, elapsed: float, fired: bool) -> None:
        """Learn from a request: its first attempt took `elapsed` seconds, or more if it was cancelled."""


class Fixed:
    """Always the same delay."""

    name = "fixed"

    def __init__(self, seconds: float) -> None:
        self._seconds = _positive("delay", seconds)

    def seconds(self) -> float:
        """The delay."""
        return self._seconds

    def observe(self, elapsed: float, fired: bool) -> None:
        """Nothing to learn."""


class Percentile:
    """The `percentile` (type 7) of the last `window` first attempts; `initial` until `minimum` are known.

    A cancelled attempt enters with the time it had taken by then. It had outlasted the
    delay, so it lies above the percentile in either case and does not move it.
    """

    name = "percentile"

    def __init__(self, percentile: float = 95.0, *, initial: float = 1.0, window: int = 500, minimum: int = 20) -> None:
        if not 0 < percentile < 100:
            raise ConfigurationError(f"percentile is {percentile!r}; it lies between 0 and 100, for example 95.")
        if not 1 <= minimum <= window:
            raise ConfigurationError(f"minimum is {minimum} and window {window}; use 1 <= minimum <= window.")
        self._share = percentile / 100
        self._initial = _positive("initial delay", initial)
        self._minimum = minimum
        # Protects the window: requests may come from event loops in several threads.
        self._lock = threading.Lock()
        self._window: deque[float] = deque(maxlen=window)

    def seconds(self) -> float:
        """The percentile of what was seen, or the initial delay."""
        with self._lock:
            seen = sorted(self._window)
        return _quantile(seen, self._share) if len(seen) >= self._minimum else self._initial

    def observe(self, elapsed: float, fired: bool) -> None:
        """Remember one first attempt."""
        with self._lock:
            self._window.append(elapsed)


class Adaptive:
    """The delay at which a share `budget` of the requests is hedged, followed as it drifts.

    Robbins and Monro (1951) on the logarithm of the delay: every hedge lengthens it, every
    request without one shortens it a little, and the two balance where P(hedge) = budget.
    """

    name = "adaptive"

    def __init__(self, budget: float = 0.05, *, initial: float = 1.0, gain: float = 0.2) -> None:
        if not 0 < budget < 1:
            raise ConfigurationError(f"budget is {budget!r}; it is the share of requests to hedge, for example 0.05.")
        self._budget = budget
        self._gain = _positive("gain", gain)
        # Protects the delay: requests may come from event loops in several threads.
        self._lock = threading.Lock()
        self._log_seconds = math.log(_positive("initial delay", initial))

    def seconds(self) -> float:
        """The delay in force."""
        return math.exp(self._log_seconds)

    def observe(self, elapsed: float, fired: bool) -> None:
        """Move the delay towards the budget."""
        with self._lock:
            self._log_seconds += self._gain * ((1.0 if fired else 0.0) - self._budget)


def _positive(what: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ConfigurationError(f"the {what} is {value!r}; it has to be a positive, finite number (of seconds).")
    return float(value)


def _quantile(ordered: list[float], share: float) -> float:
    """Type 7: linear between the order statistics around (n - 1) * share."""
    position = (len(ordered) - 1) * share
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
