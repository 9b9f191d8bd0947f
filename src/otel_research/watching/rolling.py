"""The last calls and the totals so far: what `metrics_update` says."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import Any

from otel_research.alerts.seen import Call, Totals
from otel_research.alerts.window import Key

LAST = 100
"""Calls that the rolling numbers are about."""
_RATE_SECONDS = 10.0


class Rolling:
    """Keeps the last calls; the numbers are computed when they are asked for."""

    def __init__(self, last: int = LAST) -> None:
        self.last = last
        self._calls: OrderedDict[Key, Call] = OrderedDict()
        self._spans: deque[tuple[float, int]] = deque()

    def add(self, calls: list[Call], removed: list[Key], spans: int) -> None:
        """Take in calls that ended, take back those that turned out not to count."""
        for key in removed:
            self._calls.pop(key, None)
        for call in calls:
            self._calls[call.key] = call
        while len(self._calls) > self.last:
            self._calls.popitem(last=False)
        self._spans.append((time.monotonic(), spans))

    def told(self, totals: Totals) -> dict[str, Any]:
        """The numbers as JSON data; None where there is nothing to tell of."""
        calls = list(self._calls.values())
        latencies = [call.latency_ms for call in calls if call.latency_ms is not None]
        costs = [call.cost_usd for call in calls if call.cost_usd is not None]
        return {
            "window": self.last,
            "recent_count": len(calls),
            "average_latency_ms": sum(latencies) / len(latencies) if latencies else None,
            "error_rate": sum(call.is_failed for call in calls) / len(calls) if calls else None,
            "recent_cost_usd": sum(costs) if costs else None,
            "recent_unpriced": len(calls) - len(costs),
            "total_spans": totals.spans,
            "total_calls": totals.calls,
            "total_failures": totals.failures,
            "total_tokens": totals.tokens if totals.counted else None,
            "total_cost_usd": totals.cost_usd,
            "unpriced": totals.unpriced,
            "spans_per_second": self._rate(),
        }

    def _rate(self) -> float | None:
        """Spans per second over the last seconds; None before anything came."""
        now = time.monotonic()
        while self._spans and now - self._spans[0][0] > _RATE_SECONDS:
            self._spans.popleft()
        if not self._spans:
            return 0.0
        return sum(spans for _, spans in self._spans) / _RATE_SECONDS
