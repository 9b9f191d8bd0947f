"""Calls and alerts made by hand for the rules' tests."""

from __future__ import annotations

import itertools
from typing import Any

from otel_research.alerts import Alert, Call

SECOND = 1_000_000_000
T0 = 1_800_000_000 * SECOND
_numbers = itertools.count(1)


def call(at: float = 0.0, ms: float | None = 100.0, **fields: Any) -> Call:
    """A call that ended `at` seconds after the start."""
    number = next(_numbers)
    cost = fields.pop("cost_usd", 0.001)
    given: dict[str, Any] = {
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "name": "chat gpt-4o",
        "end_ns": T0 + int(at * SECOND),
        "latency_ms": ms,
        "is_failed": False,
        "cost_usd": cost,
        "cost_nano_usd": None if cost is None else round(cost * 1e9),
        "input_tokens": 100,
        "output_tokens": 20,
        "condition": None,
        "model": "gpt-4o",
        "error_type": None,
    }
    return Call(**{**given, **fields})


def alert(**fields: Any) -> Alert:
    """An alert with everything in it."""
    given: dict[str, Any] = {
        "id": "0123456789abcdef",
        "rule": "ErrorRate",
        "type": "ErrorRate",
        "state": "firing",
        "severity": "warning",
        "text": "ErrorRate: error rate 20 % over the last 60 s is above 10 %",
        "value": 0.2,
        "limit": 0.1,
        "unit": "1",
        "time_ns": T0,
        "experiment_id": "e" * 32,
        "experiment_name": "night run",
    }
    return Alert(**{**given, **fields})
