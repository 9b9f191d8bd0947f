"""`calculate_metrics` and `metrics_by`: the numbers of one subject, whole or by group.

subject -> units.tables   one pass over the rows; one row per unit of analysis
        -> engine         sums, counts, quantiles by group
        -> sections       the fields of a result, each None with its reason
        -> uncertainty    intervals (where asked for)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import polars as pl

from otel_research.analysis import gather, measured, notes, sections, uncertainty
from otel_research.analysis.engine import Key
from otel_research.analysis.engines.chosen import engine_of
from otel_research.analysis.measured import MetricCalculator
from otel_research.analysis.result import Interval, Result, Row
from otel_research.analysis.subject import Subject
from otel_research.analysis.units import Tables, Unit, tables
from otel_research.errors import ConfigurationError
from otel_research.spans.where import Where, told

METHOD = "calculate_metrics/1"
SECTIONS = ("latency", "ttft", "cost", "reliability", "tokens", "custom")
_ALIASES = {
    "success_rate": "reliability",
    "failure_rate": "reliability",
    "error_rate": "reliability",
    "errors": "reliability",
    "token_usage": "tokens",
    "custom_metrics": "custom",
}


class Metrics(Result, frozen=True, kw_only=True):
    """The numbers of one subject (or of one group of it) in one unit of analysis.

    A section that `metrics=` switched off is None; a number that cannot be computed is None
    and `reasons` says why. Times are milliseconds, money US dollars.
    """

    latency: sections.Sample | None
    ttft: sections.Sample | None
    cost: sections.Cost | None
    reliability: sections.Reliability | None
    tokens: sections.Tokens | None
    custom: dict[str, Any] | None
    aside: dict[str, sections.Aside]
    """Evaluation calls, by name of their `aside` block: kept out of everything above."""
    custom_ci: dict[str, Interval] = msgspec.field(default_factory=dict)
    """Interval of the mean of each custom metric."""

    def rows(self) -> list[Row]:
        """One row per number; a custom metric's interval stands beside its mean."""
        kept = []
        for row in super().rows():
            name = row["field"].removeprefix("custom.").removesuffix(".mean")
            if row["field"] == f"custom.{name}.mean" and name in self.custom_ci:
                row = {**row, "low": self.custom_ci[name].low, "high": self.custom_ci[name].high}
            if not row["field"].startswith("custom_ci."):
                kept.append(row)
        return kept

    def shown(self) -> list[Row]:
        """The rows for people: whether a tail has enough units shows in its interval; an empty section is one line."""
        rows = [row for row in self.rows() if ".reliable." not in row["field"] and ".n_required." not in row["field"]]
        kept: list[Row] = []
        for row in rows:
            section, _, rest = row["field"].partition(".")
            part = getattr(self, section, None)
            if isinstance(part, sections.Sample) and not part.count:
                if rest == "count":
                    kept.append({**row, "value": None, "reason": self.reasons.get(f"{section}.mean")})
            elif row["value"] != 0 or rest not in ("n_censored", "unpriced", "unknown", "interrupted"):
                kept.append(row)
        return kept


def calculate_metrics(
    subject: Subject,
    *,
    unit: Unit = "call",
    where: Where | None = None,
    custom: Iterable[MetricCalculator] = (),
    toggles: Mapping[str, Any] | None = None,
    ci: bool = True,
    alpha: float = 0.05,
    seed: int = 0,
    engine: Any = None,
) -> Metrics:
    """Every number of the subject: latency, cost, reliability, tokens and custom metrics.

    `unit` is "call", "trial", "session", "span" or a Polars expression that names the groups.
    Quantiles are type 7 (linear) of Hyndman & Fan (1996), or Kaplan-Meier where timeouts censor
    them; `mtbf` is requests per failure, `mtbf_seconds` seconds of operation per failure.
    `engine` is where sums and quantiles are computed: "polars" (default), "duckdb", "spark" or a
    SparkSession; counts, totals and quantiles are the same to the bit, means up to rounding.
    Raises `ConfigurationError` for an unknown unit, column or engine.
    """
    found = _by_key(subject, (), unit, where, tuple(custom), toggles, ci=ci, alpha=alpha, seed=seed, engine=engine)
    return found[()]


def metrics_by(
    subject: Subject,
    keys: str | Sequence[str],
    *,
    unit: Unit = "call",
    where: Where | None = None,
    custom: Iterable[MetricCalculator] = (),
    toggles: Mapping[str, Any] | None = None,
    ci: bool = True,
    alpha: float = 0.05,
    seed: int = 0,
    engine: Any = None,
) -> dict[Any, Metrics]:
    """The same by group, sorted by key: one key gives its values, several give tuples; a missing value is None."""
    names = (keys,) if isinstance(keys, str) else tuple(keys)
    if not names:
        raise ConfigurationError('metrics_by needs a column to group by, for example "condition".')
    found = _by_key(subject, names, unit, where, tuple(custom), toggles, ci=ci, alpha=alpha, seed=seed, engine=engine)
    ordered = sorted(found.items(), key=lambda pair: [(part is None, str(part)) for part in pair[0]])
    return {key[0] if isinstance(keys, str) else key: metrics for key, metrics in ordered}


def _by_key(
    subject: Subject,
    keys: tuple[str, ...],
    unit: Unit,
    where: Where | None,
    calculators: tuple[MetricCalculator, ...],
    toggles: Mapping[str, Any] | None,
    *,
    ci: bool,
    alpha: float,
    seed: int,
    engine: Any,
) -> dict[Key, Metrics]:
    if not 0 < alpha < 1:
        raise ConfigurationError(f"alpha={alpha} is not between 0 and 1. Use 0.05 for 95 % intervals.")
    on, wanted = switches(toggles if toggles is not None else (subject.record.metrics if subject.record else {}))
    table = replace(tables(subject, unit, keys, where), engine=engine_of(engine))
    drafts = gather.drafts(table, on)
    groups = list(drafts) if on["custom"] else []
    customs = measured.measure(table, subject, keys, where, calculators, groups, wanted)
    found = {}
    for key, draft in drafts.items():
        own = customs.get(key, measured.Measured())
        rows = gather.rows_of(table.units, table.keys, key)
        limits = uncertainty.intervals(rows, draft, own, alpha, seed) if ci else uncertainty.Intervals()
        chosen = _label(subject, where, dict(zip(keys, key, strict=True)))
        found[key] = _assemble(
            subject, chosen, table, draft, own, limits, on, alpha if ci else None, seed if ci else None
        )
    return found


def _label(subject: Subject, where: Where | None, group: Mapping[str, Any]) -> str:
    """What the numbers are about: whose rows, which of them, and of those which group."""
    chosen = [told(part) for part in (where, group or None) if part is not None]
    return f"{subject.label} [{'; '.join(chosen)}]" if chosen else subject.label


def _assemble(
    subject: Subject,
    label: str,
    table: Tables,
    draft: gather.Draft,
    own: measured.Measured,
    limits: uncertainty.Intervals,
    on: dict[str, bool],
    alpha: float | None,
    seed: int | None,
) -> Metrics:
    kinds = {
        "latency": sections.Sample,
        "ttft": sections.Sample,
        "cost": sections.Cost,
        "reliability": sections.Reliability,
        "tokens": sections.Tokens,
    }
    parts = {
        name: kind(**draft.parts[name], ci=limits.by_section.get(name, {})) if on[name] else None
        for name, kind in kinds.items()
    }
    reasons = draft.reasons | own.reasons | limits.reasons
    reasons |= {name: "switched off by metrics=" for name in SECTIONS if not on[name]}
    if table.reason:
        reasons |= dict.fromkeys(("n", *(name for name in kinds if on[name])), table.reason)
    return Metrics(
        estimand=f"latency, cost, reliability and tokens per {table.unit} of {label}",
        unit=table.unit,
        n=draft.n,
        n_units=draft.n_units,
        method=f"{METHOD} ({table.engine.name if table.engine else f'polars {pl.__version__}'})",
        alpha=alpha,
        seed=seed,
        n_resamples=limits.n_resamples,
        assumptions=_assumptions(draft, is_estimated=alpha is not None),
        warnings=tuple(notes.of(subject, table, draft)),
        data_hash=draft.data_hash,
        reasons=reasons,
        custom=own.values if on["custom"] else None,
        custom_ci=limits.by_section.get("custom", {}),
        aside=draft.aside,
        **parts,
    )


def switches(toggles: Mapping[str, Any]) -> tuple[dict[str, bool], tuple[str, ...] | None]:
    """Which sections are on, and the custom metrics that were asked for (None: all there are).

    Everything is on unless it says False; a list under "custom" names the ones to report.
    """
    on = dict.fromkeys(SECTIONS, True)
    wanted: tuple[str, ...] | None = None
    for name, value in toggles.items():
        section = _ALIASES.get(name, name)
        if section not in on:
            raise ConfigurationError(
                f"metrics= names {name!r}, which is not a metric. Use {', '.join(map(repr, SECTIONS))} or 'success_rate'; "
                'own ones go under "custom": ["accuracy"].'
            )
        if section == "custom" and isinstance(value, (list, tuple, set, frozenset)):
            wanted = tuple(sorted(map(str, value)) if isinstance(value, (set, frozenset)) else map(str, value))
        else:
            on[section] = bool(value)
    return on, wanted


def _assumptions(draft: gather.Draft, *, is_estimated: bool) -> tuple[str, ...]:
    if not is_estimated:
        return ()
    if draft.n_units < draft.n:
        return ("items are independent of each other; repetitions of one item are not",)
    return ("units are independent of each other",)
