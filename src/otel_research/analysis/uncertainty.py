"""Intervals of the numbers of `Metrics`.

Means: t, cluster-robust by item where items repeat (CR2 with Satterthwaite's degrees of freedom;
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

from otel_research.analysis import bootstrap, weighted
from otel_research.analysis.engine import QUANTILES
from otel_research.analysis.gather import Draft
from otel_research.analysis.measured import Measured
from otel_research.analysis.result import Interval
from otel_research.analysis.stats import clusters

Floats = NDArray[np.float64]
HEAVY = 5.0
"""Kurtosis above which no large-sample interval of a variance covers as it says (lognormal data: 77 %)."""
_CENSORED_WORK = 20_000_000
_ORDER = ("latency_ms", "item_id", "ttft_ms", "cost_nano_usd", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class Values:
    """The known values of one column: sorted by nothing, with weight and cluster."""

    x: Floats
    weight: Floats
    cluster: NDArray[np.intp] | None
    """0-based codes of items that repeat; None where every unit stands alone."""
    is_censored: NDArray[np.bool_]

    @property
    def is_even(self) -> bool:
        """Whether every value counts the same."""
        return not self.x.size or bool(np.ptp(self.weight) == 0)


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
    found = Intervals()
    for section, column in (("latency", "latency_ms"), ("ttft", "ttft_ms")):
        part = draft.parts.get(section)
        if part is not None and part["count"]:
            _times(found, section, values(units, column), part, alpha, seed)
    if draft.parts.get("reliability"):
        found.by_section["reliability"] = _reliability(found, units, draft.parts["reliability"], alpha)
    if draft.parts.get("cost"):
        _cost(found, units, alpha, seed)
    if draft.parts.get("tokens"):
        for name, column in (("avg_input", "input_tokens"), ("avg_output", "output_tokens")):
            _put(found, "tokens", name, partial(mean, values(units, column), alpha))
    for name, sample in measured.samples.items():
        x = np.asarray(sample, dtype=np.float64)
        _put(
            found, "custom", name, partial(mean, Values(x, np.ones(x.size), None, np.zeros(x.size, dtype=bool)), alpha)
        )
    return found


def values(units: pl.DataFrame, column: str, scale: float = 1.0) -> Values:
    """The known values of a column with their weights and clusters."""
    known = units.filter(pl.col(column).is_not_null())
    censored = known["is_censored"].to_numpy() if column == "latency_ms" else np.zeros(known.height, dtype=bool)
    x = known[column].cast(pl.Float64).to_numpy() * scale
    return Values(x, known["weight"].fill_null(1.0).to_numpy(), item_codes(known["item_id"]), censored)


def item_codes(items: pl.Series) -> NDArray[np.intp] | None:
    """Codes of the items, or None where items are unknown or none repeats."""
    if items.null_count() or not items.len():
        return None
    codes = items.rank("dense").to_numpy().astype(np.intp) - 1
    return codes if int(codes.max()) + 1 < items.len() else None


def mean(sample: Values, alpha: float, *, log: bool = False) -> Interval:
    """t interval of a mean; `log` gives the geometric mean's. Raises `ValueError` with the reason."""
    from scipy import stats

    x = np.log(sample.x) if log else sample.x
    error, df = mean_error(Values(x, sample.weight, sample.cluster, sample.is_censored))
    centre = float(np.average(x, weights=sample.weight))
    half = float(stats.t.ppf(1 - alpha / 2, df)) * error
    low, high = centre - half, centre + half
    method = ("t, cluster-robust by item" if sample.cluster is not None else "t") + (", on logarithms" if log else "")
    if log:
        low, high = math.exp(low), math.exp(high)
    return Interval(low=low, high=high, level=1 - alpha, method=method)


def mean_error(sample: Values) -> tuple[float, float]:
    """Standard error of a (weighted) mean and its degrees of freedom."""
    share = sample.weight / sample.weight.sum() if sample.x.size else sample.weight
    if sample.x.size < 2:
        raise ValueError("one value has no interval" if sample.x.size else "there is no value")
    apart = share * (sample.x - float((share * sample.x).sum()))
    if sample.cluster is not None:
        sums = np.bincount(sample.cluster, weights=apart)
        if sums.size < 2:
            raise ValueError("all units are of one item, so nothing is known beyond it")
        if sample.is_even:
            own = clusters.clustered_mean(sample.x, sample.cluster)
            return own.se_cr2, own.df_cr2
        return math.sqrt(sums.size / (sums.size - 1) * float((sums**2).sum())), float(sums.size - 1)
    n = sample.x.size
    return math.sqrt(n / (n - 1) * float((apart**2).sum())), float(n - 1)


def quantile(sample: Values, p: float, alpha: float, seed: int) -> tuple[Interval, int | None]:
    """Interval of a quantile and the number of resamples.

    Percentile bootstrap, no narrower than the binomial limits at the effective n: near the edge of
    a sample the bootstrap alone covers too seldom (p99 at n = 400: 90 % instead of 95 %).
    """
    if sample.is_censored.any():
        drawn = _censored_draws(sample, p, seed)
        low, high = bootstrap.interval(drawn, alpha)
        method = "percentile bootstrap of Kaplan-Meier quantiles"
        return Interval(low=low, high=high, level=1 - alpha, method=method), int(drawn.size)
    order = np.argsort(sample.x, kind="stable")
    groups = None if sample.cluster is None else int(np.unique(sample.cluster).size)
    shares = bootstrap.binomial_limits(p, quantile_n(sample, p), alpha, groups)
    if not sample.is_even:
        low, high = weighted.quantiles(sample.x[order], sample.weight[order], list(shares))
        return Interval(low=low, high=high, level=1 - alpha, method="binomial limits at the effective n"), None
    (drawn,), resamples, method = bootstrap.quantile_draws(sample.x, [p], seed, sample.cluster)
    ends, floor = bootstrap.interval(drawn, alpha), bootstrap.at_shares(sample.x[order], *shares)
    method = f"{method}, no narrower than binomial limits"
    interval = Interval(low=min(ends[0], floor[0]), high=max(ends[1], floor[1]), level=1 - alpha, method=method)
    return interval, resamples


def quantile_n(sample: Values, p: float) -> float:
    """Independent units of equal weight that would place the quantile as well."""
    n = weighted.effective_n(sample.weight)
    if sample.cluster is None:
        return n
    return min(n, bootstrap.effective_n(sample.cluster[np.argsort(sample.x, kind="stable")], p))


def wilson(share: float, n: float, alpha: float) -> Interval:
    """Wilson's (1927) score interval, for an n that may be an effective one."""
    from scipy import stats

    z = float(stats.norm.ppf(1 - alpha / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, middle - half)
    high = 1.0 if share == 1 else min(1.0, middle + half)
    return Interval(low=low, high=high, level=1 - alpha, method="Wilson")


def per_failure(exposure: float, failures: float, alpha: float) -> Interval:
    """Exposure per failure: exact Poisson limits; without a failure the one-sided bound T / -ln(alpha)."""
    from scipy import stats

    if failures == 0:
        bound = exposure / -math.log(alpha)
        return Interval(low=bound, high=None, level=1 - alpha, method="one-sided, T / -ln(alpha)")
    low = exposure / float(stats.chi2.ppf(1 - alpha / 2, 2 * failures + 2) / 2)
    high = exposure / float(stats.chi2.ppf(alpha / 2, 2 * failures) / 2)
    return Interval(low=low, high=high, level=1 - alpha, method="exact Poisson (Garwood 1936)")


def effective_n(flags: Values) -> float:
    """How many independent units would say as much about a rate: by weights and clusters (Kish 1965)."""
    n = float(flags.weight.sum() ** 2 / (flags.weight**2).sum())
    if flags.cluster is None:
        return n
    share, groups = float(np.average(flags.x, weights=flags.weight)), int(np.unique(flags.cluster).size)
    if groups < 2 or not 0 < share < 1:
        # All alike, or one item: the data cannot say how much items differ, so units are taken as they are.
        return n
    error, _ = mean_error(flags)
    return min(n, share * (1 - share) / error**2) if error > 0 else n


def _times(found: Intervals, section: str, sample: Values, part: dict[str, Any], alpha: float, seed: int) -> None:
    _put(found, section, "mean", lambda: mean(sample, alpha))
    if part["geomean"] is not None:
        _put(found, section, "geomean", lambda: mean(sample, alpha, log=True))
    for name in ("variance", "stdev"):
        _put(found, section, name, partial(_spread, sample, part[name], alpha, is_root=name == "stdev"))
    for index, (name, p) in enumerate(QUANTILES.items()):
        if part[name] is None:
            continue
        if not part["reliable"][name]:
            needed = part["n_required"][name]
            found.reasons[f"{section}.ci.{name}"] = f"n = {part['count']:,}; an interval needs {needed:,}"
            continue
        effective, needed = quantile_n(sample, p), part["n_required"][name]
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


def _spread(sample: Values, value: float | None, alpha: float, *, is_root: bool) -> Interval:
    """Large-sample interval of a variance from the fourth moment, on its logarithm."""
    from scipy import stats

    if value is None or not value > 0:
        raise ValueError("there is no spread")
    # Scaled to unit variance first: fourth powers of raw values leave the range of numbers.
    apart = ((sample.x - sample.x.mean()) / sample.x.std()) ** 2 if sample.x.std() > 0 else np.zeros(1)
    kurtosis = float((apart**2).mean())
    if kurtosis > HEAVY or sample.x.size < 30:
        why = "fewer than 30 values" if sample.x.size < 30 else f"heavy tail (kurtosis {kurtosis:.0f})"
        raise ValueError(f"{why}: an interval of the spread would not hold its level; see iqr and mad")
    half = float(stats.norm.ppf(1 - alpha / 2)) * math.sqrt(max(kurtosis - 1, 0.0) / sample.x.size)
    half /= 2 if is_root else 1
    return Interval(
        low=value * math.exp(-half), high=value * math.exp(half), level=1 - alpha, method="delta, fourth moment"
    )


def _reliability(found: Intervals, units: pl.DataFrame, part: dict[str, Any], alpha: float) -> dict[str, Interval]:
    known = units.filter(~pl.col("is_interrupted")).with_columns(pl.col("is_failed").cast(pl.Int64))
    if not known.height:
        return {}
    failed = values(known, "is_failed")
    rate = part["failure_rate"]
    n = effective_n(failed)
    down = wilson(rate, n, alpha)
    low, high = 1 - (down.high or 0.0), 1 - (down.low or 0.0)
    ci = {"failure_rate": down, "success_rate": Interval(low=low, high=high, level=1 - alpha, method=down.method)}
    # Exact limits are about counts that were seen; under weights or clusters the effective ones.
    shrink = n / failed.x.size
    seen = float(failed.x.sum())
    ci["mtbf"] = per_failure(failed.x.size * shrink, seen * shrink, alpha)
    busy = float(known["latency_ms"].sum() or 0) / 1000
    if busy > 0:
        ci["mtbf_seconds"] = per_failure(busy * shrink, seen * shrink, alpha)
    return ci


def _cost(found: Intervals, units: pl.DataFrame, alpha: float, seed: int) -> None:
    paid = values(units, "cost_nano_usd", 1e-9)
    _put(found, "cost", "per_request_mean", lambda: mean(paid, alpha))
    if paid.x.size >= 4:
        interval, resamples = quantile(paid, 0.5, alpha, seed + 10)
        found.n_resamples = resamples or found.n_resamples
        found.by_section.setdefault("cost", {})["per_request_median"] = interval
    _put(found, "cost", "cost_per_success", lambda: _per_success(units, paid, alpha))


def _per_success(units: pl.DataFrame, paid: Values, alpha: float) -> Interval:
    """Delta-method interval of a ratio of sums (Deng, Knoblich & Lu 2018), by item where items repeat."""
    from scipy import stats

    known = units.filter(pl.col("cost_nano_usd").is_not_null())
    good = known.select(~pl.col("is_failed") & ~pl.col("is_interrupted")).to_series().to_numpy().astype(np.float64)
    won = float((good * paid.weight).sum())
    if not won:
        raise ValueError("no priced unit succeeded")
    ratio = float((paid.x * paid.weight).sum()) / won
    # The ratio's error is that of the mean of x - ratio * y, in units of mean y.
    error, df = mean_error(Values(paid.x - ratio * good, paid.weight, paid.cluster, paid.is_censored))
    half = float(stats.t.ppf(1 - alpha / 2, df)) * error / (won / float(paid.weight.sum()))
    return Interval(low=ratio - half, high=ratio + half, level=1 - alpha, method="t, delta method")


def _censored_draws(sample: Values, p: float, seed: int) -> Floats:
    """Kaplan-Meier quantiles of resamples; one whose curve never falls that far counts as the largest value."""
    rng, n = np.random.default_rng(seed), sample.x.size
    resamples = int(np.clip(_CENSORED_WORK // n, 100, 1000))
    drawn = np.empty(resamples)
    for i in range(resamples):
        picks = rng.multinomial(n, np.full(n, 1.0 / n)) * sample.weight
        kept = picks > 0
        value = weighted.kaplan_meier(sample.x[kept], sample.is_censored[kept], picks[kept], {"q": p})["q"]
        drawn[i] = float(sample.x.max()) if value is None else value
    return drawn


def _put(found: Intervals, section: str, name: str, make: Callable[[], Interval]) -> None:
    """The interval, or its reason where there is none."""
    try:
        made = make()
    except (ValueError, OverflowError) as exc:
        found.reasons[f"{section}.ci.{name}"] = str(exc)
        return
    if all(end is None or math.isfinite(end) for end in (made.low, made.high)):
        found.by_section.setdefault(section, {})[name] = made
    else:
        found.reasons[f"{section}.ci.{name}"] = "its ends are beyond the range of numbers"
