"""Custom metrics: measured values by name, scores, and calculators of the user's own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from otel_research.analysis.engine import Key
from otel_research.analysis.scored import scored
from otel_research.analysis.subject import Subject, included
from otel_research.analysis.units import Tables
from otel_research.spans.where import Where, predicate


@runtime_checkable
class MetricCalculator(Protocol):
    """A metric of the user's own: a name, and numbers from the spans."""

    name: str

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        """The metric's numbers, JSON-like. One that raises leaves None and its reason; the others still answer."""


@dataclass
class Measured:
    """One group's custom metrics."""

    values: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def measure(
    table: Tables, subject: Subject, keys: tuple[str, ...], where: Where | None,
    calculators: tuple[MetricCalculator, ...], groups: list[Key], wanted: tuple[str, ...] | None,
) -> dict[Key, Measured]:  # fmt: skip
    """Every group's custom metrics; `wanted` names the ones that were asked for (None: all)."""
    found: dict[Key, Measured] = {key: Measured() for key in groups}
    samples = _samples(table, subject)
    for key, measured in found.items():
        names = samples.get(key, {})
        for name in sorted(names) if wanted is None else wanted:
            measured.samples[name] = names.get(name, [])
            measured.values[name] = _numbers(name, measured)
    for calculator in calculators:
        for key, measured in found.items():
            _calculate(calculator, _rows(subject, keys, key, where), measured)
    return found


def _samples(table: Tables, subject: Subject) -> dict[Key, dict[str, list[float]]]:
    found: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows = scored(table, subject).select(*table.keys, "name", "value").rows()
    for *key, name, value in rows:
        found[tuple(key)][name].append(value)
    return {key: {name: sorted(values) for name, values in names.items()} for key, names in found.items()}


def _numbers(name: str, measured: Measured) -> dict[str, Any] | None:
    sample = np.asarray(measured.samples[name], dtype=np.float64)
    if not sample.size:
        measured.reasons[f"custom.{name}"] = "it was never measured"
        return None
    if sample.size < 2:
        measured.reasons[f"custom.{name}.stdev"] = "one value has no spread"
    return {
        "mean": math.fsum(sample) / sample.size,
        "median": float(np.median(sample)),
        "min": float(sample.min()),
        "max": float(sample.max()),
        "count": int(sample.size),
        "stdev": float(sample.std(ddof=1)) if sample.size > 1 else None,
    }


def _calculate(calculator: MetricCalculator, rows: pl.LazyFrame, measured: Measured) -> None:
    name = str(getattr(calculator, "name", type(calculator).__name__))
    try:
        measured.values[name] = _plain(calculator.calculate(rows))
    except Exception as exc:  # a user's code: whatever it raises, the others still answer
        measured.values[name] = None
        measured.reasons[f"custom.{name}"] = f"the calculator raised {type(exc).__name__}: {exc}"
        return
    _explain(f"custom.{name}", measured.values[name], measured.reasons)


def _explain(path: str, value: Any, reasons: dict[str, str]) -> None:
    if value is None:
        reasons[path] = "the calculator gave no number"
    elif isinstance(value, dict):
        for name, part in value.items():
            _explain(f"{path}.{name}", part, reasons)


def _rows(subject: Subject, keys: tuple[str, ...], key: Key, where: Where | None) -> pl.LazyFrame:
    rows = included(subject)
    if where is not None:
        rows = rows.filter(predicate(where, subject.spans))
    return rows.filter([pl.col(k).eq_missing(pl.lit(v)) for k, v in zip(keys, key, strict=True)]) if keys else rows


def _plain(value: Any) -> Any:
    """What a calculator returned as JSON data: NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise TypeError(f"it returned a {type(value).__name__}, which is not JSON")
