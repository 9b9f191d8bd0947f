"""`validate`: how far the data can be trusted, with every fault named, counted and never removed.

The score is 100 times the product of `components`, each the share of rows (or of checks) that is
in order. Outliers and timeouts are shown beside the headline, with and without them; they are
facts about the system, not faults of the data, and cost no points.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import polars as pl

from otel_research.analysis import faults, fingerprint
from otel_research.analysis.faults import Fault
from otel_research.analysis.practice import advice
from otel_research.analysis.result import Result, Row
from otel_research.analysis.subject import Subject, unusable

METHOD = "validate/1"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: what, how often, and some spans that show it."""

    code: str
    severity: Literal["info", "warning", "error"]
    text: str
    count: int
    share: float | None = None
    examples: tuple[str, ...] = ()
    """Span or trial ids, at most five."""


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """Latency of the calls (or trials), in milliseconds."""

    n: int
    mean: float | None = None
    median: float | None = None
    p95: float | None = None


class Quality(Result, frozen=True, kw_only=True):
    """The state of one subject's data."""

    total_events: int
    missing_timestamps: int
    missing_measurements: int
    """Calls that neither failed nor were cut off, and lack a duration or tokens."""
    outliers: int
    """Units whose latency lies far off on the logarithmic scale (modified z above 3.5)."""
    data_quality_score: float
    """0 to 100: the product of the components."""
    components: dict[str, float]
    findings: tuple[Finding, ...]
    headline: Headline
    headline_without_outliers: Headline
    effective_n: float | None = None
    """Independent units that would say as much, by the lag-1 autocorrelation."""

    def shown(self) -> list[Row]:
        """The numbers, then one line per finding."""
        lines = [row for row in self.rows() if row["field"] != "findings"]
        for found in self.findings:
            text = f"{found.severity}: {found.text}"
            lines.append({"field": f"finding {found.code}", "value": None, "text": text, "low": None, "high": None,
                          "reason": None})  # fmt: skip
        return lines


def validate(subject: Subject, *, attributes: pl.LazyFrame | None = None) -> Quality:
    """Everything that is wrong or odd about the subject's rows.

    Rows are judged as stored; nothing is removed. No findings means that none of the checks found
    anything, not that there is nothing. `attributes` are the same rows with all their attributes,
    where the subject's are held without.
    """
    rows = faults.prepare(subject, attributes)
    found = [*(fault for check in faults.CHECKS for fault in check(rows)), *_advice(rows), *_notes(rows)]
    total = rows.spans.height
    components = _components(found, total)
    everything, without = faults.headlines(rows)
    reasons = {} if total else {"headline": "there are no rows"}
    for path, part in (("headline", everything), ("headline_without_outliers", without)):
        reasons |= {f"{path}.{name}": "no unit has a duration" for name, value in part.items() if value is None}
    if rows.effective_n is None:
        reasons["effective_n"] = "too few units with a duration and a time, or all alike"
    marked = fingerprint.with_marks(rows.spans, ("start_ns", "duration_ms", "input_tokens", "output_tokens"))
    return Quality(
        estimand=f"faults in the data of {subject.label}",
        unit="span",
        n=total,
        n_units=total,
        method=f"{METHOD} (polars {pl.__version__})",
        data_hash=fingerprint.digest(total, int(marked[fingerprint.LOW].sum()), int(marked[fingerprint.HIGH].sum())),
        reasons=reasons,
        total_events=total,
        missing_timestamps=_count(found, "missing_timestamps"),
        missing_measurements=_count(found, "missing_measurements"),
        outliers=rows.n_outliers,
        data_quality_score=100 * math.prod(components.values()),
        components=components,
        findings=tuple(_finding(fault, total) for fault in sorted(found, key=_rank)),
        headline=Headline(**everything),
        headline_without_outliers=Headline(**without),
        effective_n=rows.effective_n,
    )


def _advice(rows: faults.Rows) -> list[Fault]:
    """What the record leaves unsaid: of the run and not of the data, so it costs no points."""
    if rows.subject.record is None:
        return []
    conditions = rows.spans["condition"].drop_nulls().n_unique()
    told = advice(msgspec.to_builtins(rows.subject.record), conditions)
    return [Fault(code, "info", text, 1) for code, text in told]


def _notes(rows: faults.Rows) -> list[Fault]:
    """Exclusions that exclude nothing: of what was noted and not of the data, so they cost no points."""
    return [Fault("unusable_exclusion", "warning", text, 1) for text in unusable(rows.subject)]


def _components(found: list[Fault], total: int) -> dict[str, float]:
    """Per component the share in order; a fault of the design as a whole costs a tenth each."""
    components = dict.fromkeys(faults.COMPONENTS, 1.0)
    for fault in found:
        if fault.component == "design":
            components["design"] *= 0.9
        elif fault.component is not None:
            whole = fault.of or total
            components[fault.component] -= min(fault.count / whole, 1.0) if whole else 0.0
    return {name: max(0.0, share) for name, share in components.items()}


def _finding(fault: Fault, total: int) -> Finding:
    whole = fault.of or total
    share = fault.count / whole if whole else None
    return Finding(
        code=fault.code,
        severity=fault.severity,
        text=fault.text,
        count=fault.count,
        share=share,
        examples=tuple(str(one) for one in fault.examples[:5]),
    )


def _count(found: list[Fault], code: str) -> int:
    return sum(fault.count for fault in found if fault.code == code)


def _rank(fault: Fault) -> tuple[Any, ...]:
    return ("error", "warning", "info").index(fault.severity), -fault.count, fault.code
