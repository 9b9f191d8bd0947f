"""The sections of `Metrics`: their fields, and how aggregated numbers become them.

Every field that is None gets its reason under its path. The aggregations themselves run in
`engine`; only samples with unequal weights or censored values are looked at one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from otel_research.analysis.engine import QUANTILES
from otel_research.analysis.result import Interval, finite

SPREAD = ("stdev", "variance")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A sample of times, in milliseconds; stdev and variance with n - 1, quantiles type 7."""

    count: int
    mean: float | None = None
    median: float | None = None
    min: float | None = None
    max: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    stdev: float | None = None
    variance: float | None = None
    geomean: float | None = None
    iqr: float | None = None
    mad: float | None = None
    """Median absolute deviation from the median, unscaled."""
    n_censored: int = 0
    """Timeouts: their true value lies above the observed one."""
    ci: dict[str, Interval] = {}
    reliable: dict[str, bool] = {}
    """Whether a quantile has the rows it needs (`n_required`)."""
    n_required: dict[str, int] = {}


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Money, in US dollars. Unpriced is not free: totals are of the priced calls, `unpriced` counts the rest."""

    total_usd: float | None = None
    total_nano_usd: int | None = None
    """The same in nano-dollars: exact, whatever the order of the rows (None under sampling weights)."""
    per_request_mean: float | None = None
    """Per unit of analysis; only units whose every call is priced."""
    per_request_median: float | None = None
    by_model: dict[str, float | None] = {}
    cost_per_success: float | None = None
    """Cost of all fully priced units over the successful ones among them."""
    priced: int = 0
    unpriced: int = 0
    unpriced_models: tuple[str, ...] = ()
    reported_usd: float | None = None
    """What the instrumentation reported, where it did."""
    wasted_usd: float | None = None
    """The whole cost of failed trials, and of failed calls outside of any."""
    ci: dict[str, Interval] = {}


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes. Interrupted units are counted, but their outcome is unknown: no rate includes them."""

    total_requests: int | float
    successes: int | float
    failures: int | float
    success_rate: float | None = None
    failure_rate: float | None = None
    error_types: dict[str, int | float] = {}
    mtbf: float | None = None
    """Requests per failure."""
    mtbf_seconds: float | None = None
    """Seconds of operation (the units' durations, summed) per failure."""
    interrupted: int = 0
    ci: dict[str, Interval] = {}


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of the calls; `unknown` calls reported none and are in no sum."""

    total_input: int | float | None = None
    total_output: int | float | None = None
    total: int | float | None = None
    avg_input: float | None = None
    """Per unit of analysis with known tokens."""
    avg_output: float | None = None
    by_model: dict[str, dict[str, int | float | None]] = {}
    cached: int | float | None = None
    """Part of the input that was read from a cache."""
    cache_write: int | float | None = None
    reasoning: int | float | None = None
    """Part of the output spent on reasoning."""
    input_per_second: float | None = None
    output_per_second: float | None = None
    """Per second of call time, over calls that have both."""
    unknown: int = 0
    ci: dict[str, Interval] = {}


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """Evaluation calls of one `aside` block: totals by weight, `interrupted` and `unpriced` rows."""

    total_requests: int | float
    failures: int | float
    interrupted: int
    latency_mean: float | None
    latency_p50: float | None
    total_usd: float | None
    unpriced: int
    total_input: int | float | None
    total_output: int | float | None


def n_required(p: float) -> int:
    """Rows below which an interval of the p quantile cannot hold its level: ceil(4 p / (1 - p))."""
    # 4 * 0.99 / 0.01 is 396.0000000000003 in floating point.
    return math.ceil(round(4 * p / (1 - p), 6))


def sample(raw: Mapping[str, Any], n_censored: int, path: str, none: str, reasons: dict[str, str]) -> dict[str, Any]:
    """The fields of `Sample` from aggregated numbers; `none` is why there may be no value at all."""
    count = int(raw["count"] or 0)
    fields: dict[str, Any] = {"count": count, "n_censored": n_censored}
    fields["n_required"] = {name: n_required(p) for name, p in QUANTILES.items()}
    fields["reliable"] = {name: count >= needed for name, needed in fields["n_required"].items()}
    numbers = ("mean", "min", "max", *QUANTILES, "stdev", "variance", "mad")
    fields |= {name: finite(raw.get(name)) for name in numbers}
    fields["median"] = fields["p50"]
    q1, q3 = finite(raw.get("q1")), finite(raw.get("q3"))
    fields["iqr"] = None if q1 is None or q3 is None else q3 - q1
    is_positive = count > 0 and int(raw["positive"] or 0) == count
    fields["geomean"] = math.exp(raw["log_mean"]) if is_positive else None
    for name in ("median", "iqr", "geomean", *numbers):
        if fields[name] is None:
            reasons[f"{path}.{name}"] = _why_no_number(name, count, n_censored, none)
    return fields


def cost(units: Mapping[str, Any], calls: Mapping[str, Any], none: str, reasons: dict[str, str]) -> dict[str, Any]:
    """The fields of `Cost`, without `by_model`."""
    priced, unpriced = int(calls["priced"] or 0), int(calls["unpriced"] or 0)
    why = none or (f"none of {unpriced:,} calls has a price" if unpriced else "there are no calls")
    fields: dict[str, Any] = {"priced": priced, "unpriced": unpriced}
    fields["total_usd"] = _usd(calls["cost"]) if priced else None
    fields["total_nano_usd"] = int(calls["nano"]) if priced and calls["is_whole"] else None
    fields["reported_usd"] = finite(calls["reported"]) if calls["n_reported"] else None
    fields["wasted_usd"] = _usd(calls["wasted"]) if priced else None
    fields["per_request_mean"] = _usd(units["mean"])
    fields["per_request_median"] = _usd(units["median"])
    paid = finite(units["paid_successes"]) or 0.0
    fields["cost_per_success"] = _usd(units["paid"] / paid) if priced and paid else None
    for name, value in fields.items():
        if value is None:
            reasons[f"cost.{name}"] = why
    if priced and fields["total_nano_usd"] is None:
        reasons["cost.total_nano_usd"] = "sampling weights make the total an estimate"
    if fields["reported_usd"] is None:
        reasons["cost.reported_usd"] = none or "no instrumentation reported a cost"
    if priced and not paid:
        reasons["cost.cost_per_success"] = "no priced unit succeeded"
    return fields


def reliability(raw: Mapping[str, Any], none: str, reasons: dict[str, str]) -> dict[str, Any]:
    """The fields of `Reliability`, without `error_types`."""
    failures, interrupted = whole(raw["failures"]), int(raw["interrupted"] or 0)
    successes = whole((raw["total"] or 0) - (raw["failures"] or 0) - (raw["weighted_interrupted"] or 0))
    known = failures + successes
    fields: dict[str, Any] = {
        "total_requests": whole(raw["total"]),
        "successes": successes,
        "failures": failures,
        "interrupted": interrupted,
        "success_rate": successes / known if known else None,
        "failure_rate": failures / known if known else None,
        "mtbf": known / failures if failures else None,
        "mtbf_seconds": raw["busy_ms"] / 1000 / failures if failures and raw["n_timed"] else None,
    }
    why = none or f"the outcome of all {interrupted:,} is unknown"
    for name in ("success_rate", "failure_rate"):
        if fields[name] is None:
            reasons[f"reliability.{name}"] = why
    for name in ("mtbf", "mtbf_seconds"):
        if fields[name] is None:
            no_failure = f"no failure in {known:,}: see the one-sided bound in ci"
            reasons[f"reliability.{name}"] = (no_failure if not failures else "no duration is known") if known else why
    return fields


def tokens(units: Mapping[str, Any], calls: Mapping[str, Any], none: str, reasons: dict[str, str]) -> dict[str, Any]:
    """The fields of `Tokens`, without `by_model`."""
    total_input = whole(calls["input"]) if calls["n_input"] else None
    total_output = whole(calls["output"]) if calls["n_output"] else None
    fields: dict[str, Any] = {
        "total_input": total_input,
        "total_output": total_output,
        "total": None if total_input is None and total_output is None else (total_input or 0) + (total_output or 0),
        "avg_input": finite(units["avg_input"]),
        "avg_output": finite(units["avg_output"]),
        "cached": whole(calls["cached"]) if calls["n_cached"] else None,
        "cache_write": whole(calls["written"]) if calls["n_written"] else None,
        "reasoning": whole(calls["reasoning"]) if calls["n_reasoning"] else None,
        "input_per_second": _rate(calls["timed_input"], calls["input_ms"]),
        "output_per_second": _rate(calls["timed_output"], calls["output_ms"]),
        "unknown": int(calls["unknown"] or 0),
    }
    why = none or "no call reported it"
    reasons.update({f"tokens.{name}": why for name, value in fields.items() if value is None})
    return fields


def aside(raw: Mapping[str, Any]) -> Aside:
    """One `aside` block's calls."""
    return Aside(
        total_requests=whole(raw["total"]),
        failures=whole(raw["failures"]),
        interrupted=int(raw["interrupted"] or 0),
        latency_mean=finite(raw["mean"]),
        latency_p50=finite(raw["p50"]),
        total_usd=_usd(raw["cost"]) if raw["priced"] else None,
        unpriced=int(raw["unpriced"] or 0),
        total_input=whole(raw["input"]) if raw["n_input"] else None,
        total_output=whole(raw["output"]) if raw["n_output"] else None,
    )


def whole(value: float | None) -> int | float:
    """A count or a total: an integer where it is one, an estimate under weights where it is not."""
    number = float(value or 0)
    return int(number) if number.is_integer() else number


def _usd(nano: float | None) -> float | None:
    number = finite(nano)
    return None if number is None else number / 1e9


def _rate(amount: float | None, ms: float | None) -> float | None:
    return finite(amount / ms * 1000) if amount is not None and ms else None


def _why_no_number(name: str, count: int, n_censored: int, none: str) -> str:
    if not count:
        return none
    if name in SPREAD:
        return "one value has no spread"
    if name == "geomean":
        return "a value is 0, which has no logarithm"
    if not n_censored:
        return "it is beyond the range of numbers"
    return f"{n_censored:,} of {count:,} values are timeouts, so the curve never falls that far"
