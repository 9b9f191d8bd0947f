"""The options of the analyses, by the function that takes them: for type checkers, editors and the reference.

Each is what the function of the same name in `analysis` takes by name; a test holds the two together, and the defaults
stand there. Never imported at run time, so that a number needs no more than its own room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from otel_research.analysis.anova import Posthoc
from otel_research.analysis.declared import Margin
from otel_research.analysis.measured import MetricCalculator
from otel_research.analysis.power import Design
from otel_research.analysis.units import Unit
from otel_research.spans.where import Where


class OfMetrics(TypedDict, total=False):
    """Of `calculate_metrics` and `metrics_by`."""

    custom: Iterable[MetricCalculator]
    toggles: Mapping[str, Any] | None
    ci: bool
    alpha: float
    seed: int
    engine: Any


class OfCompare(TypedDict, total=False):
    """Of `compare`."""

    metrics: Sequence[str] | str | None
    estimand: str
    paired: bool | str
    alpha: float
    correction: str
    equivalence: Margin | Mapping[str, Margin] | None
    seed: int
    unit: Unit | None
    where: Where | None
    engine: Any


class OfInterim(TypedDict, total=False):
    """Of `interim`."""

    metric: str | None
    alpha: float
    spending: str
    paired: bool | str
    unit: Unit | None
    where: Where | None
    tuning: float
    correction: str


class OfAnova(TypedDict, total=False):
    """Of `anova`."""

    type: int
    transform: Literal["log", "sqrt", "rank"] | None
    block: str | None
    block_as: Literal["fixed", "random"]
    interactions: bool
    control: str | None
    posthoc: Posthoc
    unit: Unit | None
    alpha: float
    seed: int


class OfStudy(TypedDict, total=False):
    """Of `study`."""

    metrics: Sequence[str] | None
    baseline: str | None
    candidate: str | None
    unit: Unit | None
    alpha: float
    correction: str
    paired: bool | str
    seed: int


class OfPower(TypedDict, total=False):
    """Of `power`."""

    design: Design | None
    n: int | None
    power: float | None
    alpha: float | None
    sd: float | None
    p: float | None
    discordant: float | None
    conditions: int
    icc: float | None
    trials_per_item: int | None
    rho: float | None
    shared_items: bool | None
    alternative: str
    outcome: str
    concurrency: int


class OfTimeSeries(TypedDict, total=False):
    """Of `time_series`."""

    by: str | Sequence[str] | None
    threshold: float | None
    unit: Unit
    where: Where | None
    engine: Any
