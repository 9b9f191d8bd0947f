"""Intervals of the numbers of `Metrics`.

Means: t, cluster-robust by item (else session, trial or trace) where units share one (CR2 with Satterthwaite's degrees of freedom;
under unequal weights CR1 with items - 1).
Quantiles: percentile bootstrap, over items where they repeat; refused below `n_required`.
Rates: Wilson (1927), with the effective n under clustering. Failures per request: exact
Poisson (Garwood 1936), one-sided at zero failures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otel_research.analysis import dependence
from otel_research.analysis.engine import QUANTILES
from otel_research.analysis.gather import Draft
from otel_research.analysis.measured import Measured
from otel_research.analysis.result import Interval
from otel_research.analysis.stats import events, laws, resampling, survival, weighted
from otel_research.analysis.stats.weighted import Weighted
from otel_research.errors import NotEnoughData

Floats = NDArray[np.float64]
HEAVY = 5.0
"""Kurtosis above which no large-sample interval of a variance covers as it says (lognormal data: 77 %)."""
MANY_CENSORED = 20_000
"""Censored units above which a weighted or clustered quantile's interval is linearised, not resampled."""
_CENSORED_WORK = 20_000_000
_ORDER = ("latency_ms", "item_id", "ttft_ms", "cost_nano_usd", "input_tokens", "output_tokens")


@dataclass
class Intervals:
    """One group's intervals by section, and why some were refused."""

    by_section: dict[str, dict[str, Interval]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    n_resamples: int | None = None


def intervals(units: pl.DataFrame, draft: Draft, measured: Measured, alpha: float, seed: int) -> Intervals:
    """Every interval of one group's sections.

    What is resampled is put in an order of its own first: the same rows give the same limits, however
    many processes, segments or files they were stored by.
    """
    units = units.sort([name for name in _ORDER if name in units.columns], nulls_last=True)
    values, found = _reader(units), Intervals()
    for section, column in (("latency", "latency_ms"), ("ttft", "ttft_ms")):
        part = draft.parts.get(section)
        if part is not None and part["count"]:
            _times(found, section, values(column), part, alpha, seed)
    if draft.parts.get("reliability"):
        found.by_section["reliability"] = _reliability(units, alpha)
    if draft.parts.get("cost"):
        _cost(found, units, values("cost_nano_usd", 1e-9), alpha, seed)
    if draft.parts.get("tokens"):
        for name, column in (("avg_input", "input_tokens"), ("avg_output", "output_tokens")):
            _put(found, "tokens", name, partial(weighted.mean_interval, values(column), 1 - alpha))
    for name, sample in measured.samples.items():
        x = np.asarray(sample, dtype=np.float64)
        _put(found, "custom", name, partial(weighted.mean_interval, weighted.plain(x), 1 - alpha))
    return found


def _reader(units: pl.DataFrame) -> Callable[..., Weighted]:
    """`values` of these units: where a column is known of all of them, it shares one set of cluster codes."""
    whole: list[NDArray[np.intp] | None] = []

    def read(column: str, scale: float = 1.0) -> Weighted:
        if units[column].null_count():
            return values(units, column, scale)
        if not whole:
            whole.append(cluster_codes(units))
        return values(units, column, scale, whole)

    return read


def values(
    units: pl.DataFrame, column: str, scale: float = 1.0, codes: list[NDArray[np.intp] | None] | None = None
) -> Weighted:
    """The known values of a column with their weights and clusters; `codes` holds those of all rows, if known."""
    known = units.filter(pl.col(column).is_not_null())
    censored = known["is_censored"].to_numpy() if column == "latency_ms" else np.zeros(known.height, dtype=bool)
    x = known[column].cast(pl.Float64).to_numpy() * scale
    cluster = codes[0] if codes else cluster_codes(known)
    return Weighted(x, known["weight"].fill_null(1.0).to_numpy(), cluster, censored)


def cluster_codes(units: pl.DataFrame) -> NDArray[np.intp] | None:
    """Codes of what units depend through, or None where each stands alone."""
    codes, _ = dependence.clusters([units])
    return codes if codes is not None and int(codes.max()) + 1 < units.height else None


def quantile(sample: Weighted, p: float, alpha: float, seed: int) -> tuple[Interval, int | None]:
    """Interval of a quantile and the number of resamples.

    Percentile bootstrap, no narrower than the binomial limits at the effective n: near the edge of
    a sample the bootstrap alone covers too seldom (p99 at n = 400: 90 % instead of 95 %).
    """
    if sample.is_censored.any():
        return _of_censored(sample, p, alpha, seed)
    order = np.argsort(sample.x, kind="stable")
    groups = None if sample.cluster is None else int(sample.cluster.max()) + 1
    shares = resampling.binomial_limits(p, weighted.quantile_n(sample, p), alpha, groups)
    if not sample.is_even:
        low, high = weighted.quantiles(sample.x[order], sample.weight[order], list(shares))
        return Interval(low=low, high=high, level=1 - alpha, method="binomial limits at the effective n"), None
    (drawn,), resamples, method = resampling.quantile_draws(sample.x, [p], seed, sample.cluster)
    ends, floor = resampling.interval(drawn, alpha), resampling.at_shares(sample.x[order], *shares)
    method = f"{method}, no narrower than binomial limits"
    interval = Interval(low=min(ends[0], floor[0]), high=max(ends[1], floor[1]), level=1 - alpha, method=method)
    return interval, resamples


def _times(found: Intervals, section: str, sample: Weighted, part: dict[str, Any], alpha: float, seed: int) -> None:
    _put(found, section, "mean", lambda: weighted.mean_interval(sample, 1 - alpha))
    if part["geomean"] is not None:
        _put(found, section, "geomean", lambda: weighted.mean_interval(sample, 1 - alpha, log=True))
    for name in ("variance", "stdev"):
        _put(found, section, name, partial(_spread, sample, part[name], alpha, is_root=name == "stdev"))
    for index, (name, p) in enumerate(QUANTILES.items()):
        if part[name] is None:
            continue
        if not part["reliable"][name]:
            needed = part["n_required"][name]
            found.reasons[f"{section}.ci.{name}"] = f"n = {part['count']:,}; an interval needs {needed:,}"
            continue
        effective, needed = weighted.quantile_n(sample, p), part["n_required"][name]
        if effective < needed:
            part["reliable"][name] = False
            text = f"{part['count']:,} units say as much as {effective:,.0f} independent ones; an interval needs {needed:,}"
            found.reasons[f"{section}.ci.{name}"] = text
            continue
        interval, resamples = quantile(sample, p, alpha, seed + index)
        found.n_resamples = resamples or found.n_resamples
        found.by_section.setdefault(section, {})[name] = interval
        if name == "p50":
            found.by_section[section]["median"] = interval


def _spread(sample: Weighted, value: float | None, alpha: float, *, is_root: bool) -> Interval:
    """Large-sample interval of a variance from the fourth moment, on its logarithm."""
    if value is None or not value > 0:
        raise ValueError("there is no spread")
    # Scaled to unit variance first: fourth powers of raw values leave the range of numbers.
    apart = ((sample.x - sample.x.mean()) / sample.x.std()) ** 2 if sample.x.std() > 0 else np.zeros(1)
    kurtosis = float((apart**2).mean())
    if kurtosis > HEAVY or sample.x.size < 30:
        why = "fewer than 30 values" if sample.x.size < 30 else f"heavy tail (kurtosis {kurtosis:.0f})"
        raise ValueError(f"{why}: an interval of the spread would not hold its level; see iqr and mad")
    half = laws.normal_quantile(1 - alpha / 2) * math.sqrt(max(kurtosis - 1, 0.0) / sample.x.size)
    half /= 2 if is_root else 1
    return Interval(
        low=value * math.exp(-half), high=value * math.exp(half), level=1 - alpha, method="delta, fourth moment"
    )


def _reliability(units: pl.DataFrame, alpha: float) -> dict[str, Interval]:
    known = units.filter(~pl.col("is_interrupted")).with_columns(pl.col("is_failed").cast(pl.Int64))
    if not known.height:
        return {}
    failed = values(known, "is_failed")
    down = weighted.rate_interval(failed, 1 - alpha)
    low, high = 1 - (down.high or 0.0), 1 - (down.low or 0.0)
    ci = {"failure_rate": down, "success_rate": Interval(low=low, high=high, level=1 - alpha, method=down.method)}
    # Exact limits are about counts that were seen; under weights or clusters the effective ones.
    shrink = weighted.rate_n(failed) / failed.x.size
    seen = float(failed.x.sum())
    ci["mtbf"] = events.between_failures(failed.x.size * shrink, seen * shrink, 1 - alpha)
    busy = float(known["latency_ms"].sum() or 0) / 1000
    if busy > 0:
        ci["mtbf_seconds"] = events.between_failures(busy * shrink, seen * shrink, 1 - alpha)
    return ci


def _cost(found: Intervals, units: pl.DataFrame, paid: Weighted, alpha: float, seed: int) -> None:
    _put(found, "cost", "per_request_mean", lambda: weighted.mean_interval(paid, 1 - alpha))
    if paid.x.size >= 4:
        interval, resamples = quantile(paid, 0.5, alpha, seed + 10)
        found.n_resamples = resamples or found.n_resamples
        found.by_section.setdefault("cost", {})["per_request_median"] = interval
    _put(found, "cost", "cost_per_success", lambda: _per_success(units, paid, alpha))


def _per_success(units: pl.DataFrame, paid: Weighted, alpha: float) -> Interval:
    """Delta-method interval of a ratio of sums (Deng, Knoblich & Lu 2018), by item where items repeat."""
    known = units.filter(pl.col("cost_nano_usd").is_not_null())
    good = known.select(~pl.col("is_failed") & ~pl.col("is_interrupted")).to_series().to_numpy().astype(np.float64)
    if not good.any():
        raise NotEnoughData("no priced unit succeeded")
    return weighted.ratio_interval(paid, good, 1 - alpha)[1]


def _of_censored(sample: Weighted, p: float, alpha: float, seed: int) -> tuple[Interval, int | None]:
    """Interval of a Kaplan-Meier quantile: its own where units are alike, else by resampling weighted units or items.

    A resample whose curve never falls that far counts as the largest value. Beyond `MANY_CENSORED` units the
    curve's linearised error replaces the resamples: the two agree there, and a resample takes seconds.
    """
    if sample.is_even and sample.cluster is None:
        own = survival.kaplan_meier_quantile(sample.x, ~sample.is_censored, p, 1 - alpha).interval
        assert own is not None
        return own, None
    n = sample.x.size
    if n > MANY_CENSORED:
        linear = survival.linearised_quantile(
            sample.x, ~sample.is_censored, p, 1 - alpha, sample.weight, sample.cluster
        )
        if linear is not None:
            return linear, None
    items = np.arange(n) if sample.cluster is None else sample.cluster
    groups, rng = int(items.max()) + 1, np.random.default_rng(seed)
    drawn = np.empty(int(np.clip(_CENSORED_WORK // n, 100, 1000)))
    for i in range(drawn.size):
        picks = rng.multinomial(groups, np.full(groups, 1.0 / groups))[items] * sample.weight
        kept = picks > 0
        (value,) = survival.kaplan_meier_quantiles(sample.x[kept], ~sample.is_censored[kept], [p], picks[kept])
        drawn[i] = float(sample.x.max()) if value is None else value
    low, high = resampling.interval(drawn, alpha)
    method = "percentile bootstrap of Kaplan-Meier quantiles"
    return Interval(low=low, high=high, level=1 - alpha, method=method), int(drawn.size)


def _put(found: Intervals, section: str, name: str, make: Callable[[], Interval]) -> None:
    """The interval, or its reason where there is none."""
    try:
        made = make()
    except (NotEnoughData, ValueError, OverflowError) as exc:
        found.reasons[f"{section}.ci.{name}"] = str(exc)
        return
    if all(end is None or math.isfinite(end) for end in (made.low, made.high)):
        found.by_section.setdefault(section, {})[name] = made
    else:
        found.reasons[f"{section}.ci.{name}"] = "its ends are beyond the range of numbers"
