"""How one outcome is to be compared, and what is found on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from otel_research.analysis.comparison import Design, Direction
from otel_research.analysis.engine import QUANTILES
from otel_research.analysis.result import Interval
from otel_research.errors import NotEnoughData

ESTIMANDS = ("geomean", "mean", *QUANTILES, "median")


@dataclass(frozen=True)
class Plan:
    """How one outcome is to be compared."""

    outcome: str
    estimand: str
    unit: str
    direction: Direction
    design: Design
    alpha: float
    seed: int
    margin: float | str | None = None
    tuning: float | None = None
    """Declared n of both arms, where it is not reached yet: p is withheld, intervals hold at every look."""
    family: int = 1
    """Outcomes and candidates that are judged together: there is no p to correct before the declared n, so intervals are."""

    @property
    def level(self) -> float:
        """Confidence level."""
        return 1 - self.alpha

    def having(self, estimand: str) -> Plan:
        """The same plan for another estimand."""
        return replace(self, estimand=estimand)

    @property
    def is_ranked(self) -> bool:
        """Whether ranks say something: money and tokens matter by their totals."""
        return self.outcome not in ("cost", "tokens")

    @property
    def better(self) -> int:
        """+1 where a larger value is better."""
        return 1 if self.direction == "higher" else -1


@dataclass
class Found:
    """Reasons and resamples, gathered while an effect is put together."""

    reasons: dict[str, str] = field(default_factory=dict)
    n_resamples: int | None = None

    def get(self, path: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, or None with its reason."""
        try:
            return make()
        except NotEnoughData as exc:
            self.reasons[path] = str(exc)
            return None


def turned(interval: Interval | None, sign: int) -> Interval | None:
    """The interval of the improvement from that of the change."""
    return interval if interval is None or sign > 0 else interval.turned()


def scaled(interval: Interval, by: float) -> Interval:
    """The interval in another unit; `by` is positive."""
    low, high = interval.low, interval.high
    return Interval(
        low=None if low is None else low * by, high=None if high is None else high * by, level=interval.level,
        method=interval.method,
    )  # fmt: skip
