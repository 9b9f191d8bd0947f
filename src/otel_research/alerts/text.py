"""Rules as text, for the command line: "budget > 5", "latency > 2000 over 60s", "error_rate > 0.1 over 100"."""

from __future__ import annotations

import re
from collections.abc import Callable

from otel_research.alerts.rules import Budget, CostThreshold, ErrorRate, LatencyThreshold, NoData, Rule, TokenThreshold
from otel_research.alerts.window import Length
from otel_research.errors import ConfigurationError

_RULE = re.compile(r"\s*(\w+)\s*>\s*([\d.eE+-]+)\s*(?:over\s+(\d+(?:\.\d+)?(?:ms|s|m|h)?))?\s*")


def _latency(limit: float, window: Length | None) -> Rule:
    return LatencyThreshold(limit, window)


def _error_rate(limit: float, window: Length | None) -> Rule:
    return ErrorRate(limit, 100 if window is None else window)


def _cost(limit: float, window: Length | None) -> Rule:
    return CostThreshold(limit, window)


def _tokens(limit: float, window: Length | None) -> Rule:
    return TokenThreshold(int(limit), window)


def _budget(limit: float, window: Length | None) -> Rule:
    return Budget(limit)


def _no_data(limit: float, window: Length | None) -> Rule:
    return NoData(limit)


WORDS: dict[str, Callable[[float, Length | None], Rule]] = {
    "latency": _latency,
    "error_rate": _error_rate,
    "cost": _cost,
    "tokens": _tokens,
    "budget": _budget,
    "no_data": _no_data,
}
"""ms, share of calls, USD of a call or window, tokens of a call or window, USD in all, seconds."""


def parsed(text: str) -> Rule:
    """The rule that a text means; raises `ConfigurationError` where it means none."""
    found = _RULE.fullmatch(text)
    if found is None or found[1] not in WORDS or (found[3] and found[1] in ("budget", "no_data")):
        raise ConfigurationError(
            f"{text!r} is no alert rule. Write NAME > LIMIT or NAME > LIMIT over WINDOW, with a NAME of "
            f'{", ".join(WORDS)}; for example "budget > 5", "latency > 2000 over 60s", "error_rate > 0.1 over 100".'
        )
    window: Length | None = int(found[3]) if (found[3] or "").isdigit() else found[3]
    try:
        limit = float(found[2])
    except ValueError:
        raise ConfigurationError(f"{found[2]!r} in {text!r} is not a number.") from None
    return WORDS[found[1]](limit, window)
