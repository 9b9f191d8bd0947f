"""The rules. Each says what it measures of a call, and what of that is too much.

A rule is a frozen declaration; `started()` gives the state that a `Watch` keeps for one experiment.
Without a window a rule looks at every call alone; with one, at what its calls amount to, and then
it fires when the limit is crossed and is over only when the value is back below `clear`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from otel_research.alerts.alert import Severity
from otel_research.alerts.seen import Call
from otel_research.alerts.window import Length, parsed
from otel_research.errors import ConfigurationError

Statistic = Literal["mean", "p50", "p95", "p99", "max"]
STATISTICS = ("mean", "p50", "p95", "p99", "max")


class _Measured:
    """What a rule says of itself; not of the data class, so that a rule may make a field of it."""

    unit: ClassVar[str] = ""
    window: Length | None = None


@dataclass(frozen=True, kw_only=True)
class Rule(_Measured):
    """What all rules have."""

    name: str | None = None
    """Shown with its alerts; default: the kind of rule."""
    every: float = 60.0
    """Seconds, by the spans' clock, between two alerts of the rule; what is held back is counted."""
    clear: float | None = None
    """With a window: the value below which it is over; default 90 % of the limit."""
    min_count: int = 10
    """With a window: calls that have to be in it before it is judged."""
    severity: Severity = "warning"

    def __post_init__(self) -> None:
        if not _is_number(self.every) or self.every < 0:
            raise ConfigurationError(f"{self.kind}(every={self.every!r}): seconds between two alerts, 0 or more.")
        if self.severity not in ("info", "warning", "error", "critical"):
            raise ConfigurationError(
                f"{self.kind}(severity={self.severity!r}) is not info, warning, error or critical."
            )
        if self.window is not None:
            parsed(self.window)
        if isinstance(self.min_count, bool) or not isinstance(self.min_count, int) or self.min_count < 1:
            raise ConfigurationError(f"{self.kind}(min_count={self.min_count!r}): a number of calls from 1.")
        limit = self.limit
        if limit is not None and (not _is_number(limit) or limit <= 0):
            raise ConfigurationError(f"{self.kind}({limit!r}): the limit is a number above 0.")
        if self.clear is not None and limit is not None and not (_is_number(self.clear) and 0 <= self.clear <= limit):
            raise ConfigurationError(f"{self.kind}(clear={self.clear!r}): a number from 0 to the limit, {limit:g}.")

    @property
    def kind(self) -> str:
        """The class's name."""
        return type(self).__name__

    @property
    def title(self) -> str:
        """Its name, or its kind."""
        return self.name or self.kind

    @property
    def limit(self) -> float | None:
        """What is too much, in `unit`."""
        return None

    @property
    def cleared_below(self) -> float:
        """With a window: the value below which it is over."""
        return self.clear if self.clear is not None else 0.9 * (self.limit or 0.0)

    def measure(self, call: Call) -> float | None:
        """What it looks at of one call; None where the call does not say."""
        return None

    def of_window(self, values: list[float], total: float) -> float:
        """What the calls of its window amount to."""
        return total

    def saying(self, value: float) -> str:
        """What was measured, in words."""
        return f"{value:,.4g} {self.unit}"


@dataclass(frozen=True)
class LatencyThreshold(Rule):
    """A call took longer than `ms` milliseconds; with a window: the `statistic` of its calls did."""

    ms: float
    window: Length | None = None
    statistic: Statistic = "p95"
    unit: ClassVar[str] = "ms"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.statistic not in STATISTICS:
            raise ConfigurationError(
                f"LatencyThreshold(statistic={self.statistic!r}): use one of {', '.join(STATISTICS)}."
            )

    @property
    def limit(self) -> float:
        """Milliseconds."""
        return self.ms

    def measure(self, call: Call) -> float | None:
        """Its latency."""
        return call.latency_ms

    def of_window(self, values: list[float], total: float) -> float:
        """The statistic."""
        from otel_research.alerts.window import quantile

        if self.statistic == "mean":
            return total / len(values)
        return quantile(values, {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}[self.statistic])

    def saying(self, value: float) -> str:
        """For example "p95 of latency 2,340 ms"."""
        return f"{f'{self.statistic} of ' if self.window is not None else ''}latency {value:,.4g} ms"


@dataclass(frozen=True)
class ErrorRate(Rule):
    """More than the share `rate` (0 to 1) of a window's calls failed."""

    rate: float
    window: Length = 100
    unit: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate >= 1:
            raise ConfigurationError(f"ErrorRate({self.rate!r}): a share between 0 and 1, for example 0.1 for 10 %.")

    @property
    def limit(self) -> float:
        """A share."""
        return self.rate

    def measure(self, call: Call) -> float:
        """1 where it failed."""
        return float(call.is_failed)

    def of_window(self, values: list[float], total: float) -> float:
        """The share that failed."""
        return total / len(values)

    def saying(self, value: float) -> str:
        """In percent."""
        return f"error rate {100 * value:.3g} %"


@dataclass(frozen=True)
class CostThreshold(Rule):
    """A call cost more than `usd`; with a window: its calls together did. Unpriced calls are not in it."""

    usd: float
    window: Length | None = None
    unit: ClassVar[str] = "USD"

    @property
    def limit(self) -> float:
        """US dollars."""
        return self.usd

    def measure(self, call: Call) -> float | None:
        """Its cost."""
        return call.cost_usd

    def saying(self, value: float) -> str:
        """In dollars."""
        return f"cost {value:.4g} USD"


@dataclass(frozen=True)
class TokenThreshold(Rule):
    """A call used more than `n` tokens, in and out; with a window: its calls together did."""

    n: int
    window: Length | None = None
    unit: ClassVar[str] = "tokens"

    @property
    def limit(self) -> float:
        """Tokens."""
        return self.n

    def measure(self, call: Call) -> float | None:
        """Its tokens."""
        return call.tokens


@dataclass(frozen=True)
class Budget(Rule):
    """All calls so far cost `usd` or more. It fires once; with action="stop" the next trial raises `BudgetExceeded`.

    Calls without a price are not in the sum, and the alert says how many there are.
    """

    usd: float
    action: Literal["stop"] | None = None
    unit: ClassVar[str] = "USD"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.action not in (None, "stop"):
            raise ConfigurationError(f'Budget(action={self.action!r}): None only tells, "stop" ends the run.')

    @property
    def limit(self) -> float:
        """US dollars."""
        return self.usd


@dataclass(frozen=True)
class NoData(Rule):
    """No span ended for `seconds` while the experiment runs."""

    seconds: float
    unit: ClassVar[str] = "s"

    @property
    def limit(self) -> float:
        """Seconds."""
        return self.seconds


@dataclass(frozen=True)
class Custom(Rule):
    """`fn(span)` is true of a span; `span` has every column of `exp.spans()`, and its attributes as a dict.

    A function that raises is logged once and counts as no.
    """

    fn: Callable[[Any], bool]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.fn):
            raise ConfigurationError(f"Custom({self.fn!r}) is not callable: pass a function span -> bool.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def checked(rules: Any) -> tuple[Rule, ...]:
    """The rules, if they are ones."""
    given = (rules,) if isinstance(rules, Rule) else tuple(rules)
    for rule in given:
        if not isinstance(rule, Rule):
            raise ConfigurationError(
                f"{rule!r} is not an alert rule. Use otel_research.alerts, for example alerts.Budget(5.00)."
            )
    return given
