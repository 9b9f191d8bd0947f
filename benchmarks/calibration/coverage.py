"""How often an interval holds the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from calibration.data import clustered, clustered_quantile, heavy, heavy_quantile, inside, items
from calibration.judged import ALPHA, COVERAGE, COVERAGE_LOW, REPORTED, Cell, Rng
from otel_research.analysis import uncertainty
from otel_research.analysis.arms import Sample
from otel_research.analysis.result import Interval
from otel_research.analysis.sections import n_required
from otel_research.analysis.stats import (
    clusters,
    effects,
    events,
    intervals,
    proportions,
    ratios,
    resampling,
    survival,
    two_samples,
    weighted,
)
from otel_research.analysis.tails import joint_draws


def covers_mean(rng: Rng) -> bool:
    return inside(two_samples.welch(heavy(rng, 200), heavy(rng, 200)).interval, 0.0)


def covers_ratio(rng: Rng) -> bool:
    return inside(two_samples.log_welch(0.9 * heavy(rng, 200), heavy(rng, 60)).interval, 0.9)


def covers_change(rng: Rng) -> bool:
    return inside(ratios.relative_change(0.9 * heavy(rng, 300), heavy(rng, 300)).interval, -0.1)


def covers_quantile(p: float, n: int) -> Callable[[Rng], bool]:
    truth = heavy_quantile(p)
    return lambda rng: inside(
        intervals.bootstrap_quantile(heavy(rng, n), p, seed=int(rng.integers(2**31))).interval, truth
    )


def metrics_quantile(values: np.ndarray, cluster: np.ndarray | None, p: float, rng: Rng) -> Interval | None:
    """The interval that `calculate_metrics` gives; None where it refuses one."""
    even = weighted.Weighted(values, np.ones(values.size), cluster, np.zeros(values.size, dtype=bool))
    if weighted.quantile_n(even, p) < n_required(p):
        return None
    return uncertainty.quantile(even, p, ALPHA, int(rng.integers(2**31)))[0]


def covers_limits(p: float, n: int) -> Callable[[Rng], bool]:
    truth = heavy_quantile(p)
    return lambda rng: inside(metrics_quantile(heavy(rng, n), None, p, rng), truth)


def covers_quantile_difference(p: float, n: int) -> Callable[[Rng], bool]:
    truth = -0.1 * heavy_quantile(p)

    def hit(rng: Rng) -> bool:
        a, b = 0.9 * heavy(rng, n), heavy(rng, n)
        return inside(intervals.bootstrap_quantile_difference(a, b, p, seed=int(rng.integers(2**31))).interval, truth)

    return hit


def covers_clustered_mean(rng: Rng) -> bool:
    labels = items(rng, 30)
    return inside(clusters.clustered_test(np.log(clustered(rng, labels)), labels).interval, 6.5)


def covers_clustered_limits(p: float, n_items: int) -> Callable[[Rng], bool | None]:
    truth = clustered_quantile(p)

    def hit(rng: Rng) -> bool:
        labels = items(rng, n_items)
        found = metrics_quantile(clustered(rng, labels), labels, p, rng)
        return None if found is None else inside(found, truth)

    return hit


def covers_clustered_difference(p: float, n_items: int) -> Callable[[Rng], bool]:
    truth = -0.1 * clustered_quantile(p)

    def hit(rng: Rng) -> bool:
        effect, one, two = rng.normal(0, 0.5, n_items), items(rng, n_items), items(rng, n_items)
        a, b = 0.9 * clustered(rng, one, effect), clustered(rng, two, effect)
        x, y = (
            Sample(values, labels, np.zeros(labels.size, dtype=np.int64), np.ones(labels.size), labels < 0)
            for values, labels in ((b, two), (a, one))
        )
        base, candidate = joint_draws(x, y, p, int(rng.integers(2**31)), is_clustered=True)
        low, high = resampling.interval(candidate - base, ALPHA)
        return low <= truth <= high

    return hit


def covers_cost_per_success(rng: Rng) -> bool:
    """Cost per success of two arms whose true ratio is 0.8 (cost) / 0.9 (success)."""
    n = 200
    a, b = 0.8 * rng.lognormal(0, 0.5, n), rng.lognormal(0, 0.5, n)
    won_a, won_b = (rng.random(n) < 0.81).astype(float), (rng.random(n) < 0.9).astype(float)
    return inside(ratios.ratio_change(a, won_a, b, won_b).interval, 0.8 / 0.9 - 1)


def covers_wilson(n: int) -> Callable[[Rng], bool]:
    """Success rates drawn evenly from .5 to 1: the mean coverage over p."""

    def hit(rng: Rng) -> bool:
        p = rng.uniform(0.5, 1.0)
        return inside(proportions.wilson(rng.binomial(n, p), n), p)

    return hit


def covers_newcombe(p: float, q: float, n: int) -> Callable[[Rng], bool]:
    return lambda rng: inside(proportions.newcombe(rng.binomial(n, p), n, rng.binomial(n, q), n).interval, p - q)


def covers_newcombe_paired(rng: Rng) -> bool:
    return inside(proportions.newcombe_paired(*rng.multinomial(100, [0.8, 0.1, 0.04, 0.06]).tolist()).interval, 0.06)


def covers_poisson(rng: Rng) -> bool:
    return inside(events.poisson_rate(rng.poisson(4), 2.0).interval, 2.0)


def covers_mtbf(rng: Rng) -> bool:
    return inside(events.mtbf(100.0, rng.poisson(2)).interval, 50.0)


def covers_d(rng: Rng) -> bool:
    return inside(effects.cohens_d(rng.normal(0.5, 1, 30), rng.normal(0, 1, 40)).interval, 0.5)


def covers_delta(rng: Rng) -> bool:
    from scipy.stats import norm

    truth = 2 * norm.cdf(0.5 / math.sqrt(2)) - 1
    return inside(effects.cliffs_delta(rng.normal(0.5, 1, 50), rng.normal(0, 1, 50)).interval, truth)


def covers_kaplan_meier(rng: Rng) -> bool:
    times = heavy(rng, 300)
    found = survival.kaplan_meier_quantile(np.minimum(times, 3000), times < 3000, 0.9)
    return inside(found.interval, heavy_quantile(0.9))


CELLS: tuple[Cell, ...] = (
    Cell("coverage", "heavy tail, 200 / 200", "difference of means, Welch", covers_mean, COVERAGE_LOW),
    Cell("coverage", "heavy tail, 200 / 60", "ratio of geometric means", covers_ratio, COVERAGE),
    Cell("coverage", "heavy tail, 300 / 300", "relative change of means, delta method", covers_change, COVERAGE_LOW),
    *(
        Cell("coverage", f"heavy tail, n {n}", f"{name} of calculate_metrics", covers_limits(p, n), COVERAGE_LOW)
        for name, p, n in (("p50", 0.5, 100), ("p95", 0.95, 76), ("p95", 0.95, 300), ("p99", 0.99, 396))
    ),
    Cell("coverage", "heavy tail, n 76", "p95, percentile bootstrap alone (why not)", covers_quantile(0.95, 76), REPORTED),
    *(
        Cell("coverage", f"heavy tail, {n} / {n}", f"{name} difference, percentile bootstrap",
             covers_quantile_difference(p, n), COVERAGE_LOW)
        for name, p, n in (("p50", 0.5, 100), ("p95", 0.95, 200), ("p99", 0.99, 396))
    ),
    Cell("coverage", "1 to 8 trials per item, 30 items", "mean of logarithms, CR2", covers_clustered_mean, COVERAGE),
    *(
        Cell("coverage", f"1 to 8 trials per item, {n} items", f"{name} of calculate_metrics",
             covers_clustered_limits(p, n), COVERAGE_LOW, 800)
        for name, p, n in (("p50", 0.5, 20), ("p90", 0.9, 40), ("p95", 0.95, 100))
    ),
    *(
        Cell("coverage", f"1 to 8 trials of {n} shared items", f"{name} difference, cluster bootstrap",
             covers_clustered_difference(p, n), COVERAGE_LOW, 400)
        for name, p, n in (("p50", 0.5, 30), ("p95", 0.95, 76))
    ),
    Cell("coverage", "200 / 200", "cost per success, change, delta method", covers_cost_per_success, COVERAGE),
    Cell("coverage", "p from .5 to 1, n 50", "Wilson, mean over p", covers_wilson(50), COVERAGE, 4000),
    Cell("coverage", "p from .5 to 1, n 200", "Wilson, mean over p", covers_wilson(200), COVERAGE, 4000),
    Cell("coverage", ".90 - .95, n 100", "Newcombe", covers_newcombe(0.9, 0.95, 100), COVERAGE_LOW),
    Cell("coverage", ".98 - .99, n 50", "Newcombe", covers_newcombe(0.98, 0.99, 50), COVERAGE_LOW),
    Cell("coverage", "100 pairs", "Newcombe, paired", covers_newcombe_paired, COVERAGE_LOW),
    Cell("coverage", "4 expected events", "Poisson rate, exact", covers_poisson, COVERAGE_LOW, 4000),
    Cell("coverage", "2 expected failures", "time between failures, exact", covers_mtbf, COVERAGE_LOW, 4000),
    Cell("coverage", "normal, 30 / 40", "Cohen's d, noncentral t", covers_d, COVERAGE),
    Cell("coverage", "normal, 50 / 50", "Cliff's delta", covers_delta, COVERAGE),
    Cell("coverage", "timeouts at 3 s, n 300", "p90, Kaplan-Meier", covers_kaplan_meier, COVERAGE_LOW),
)  # fmt: skip
