"""How often an effect is found at the n that `power()` recommends."""

from __future__ import annotations

import math

import numpy as np

from calibration.data import clustered, items
from calibration.judged import ALPHA, POWER, REPORTED, Cell, Rng
from otel_research.analysis.power import power
from otel_research.analysis.stats import clusters, proportions, tests


def found_ratio(rng: Rng) -> bool:
    n = power(-0.1, sd=0.5).n_per_condition
    return tests.log_welch(0.9 * rng.lognormal(6.5, 0.5, n), rng.lognormal(6.5, 0.5, n)).p_value < ALPHA


def found_clustered(rng: Rng) -> bool:
    plan = power(-0.2, sd=math.hypot(0.5, 0.3), icc=0.25 / 0.34, trials_per_item=5)
    labels = items(rng, plan.items_per_condition, uneven=False)
    x, y = np.log(0.8 * clustered(rng, labels)), np.log(clustered(rng, labels))
    return clusters.clustered_welch(x, labels, y, labels).p_value < ALPHA


def found_paired(rng: Rng) -> bool:
    plan = power(-0.05, sd=math.hypot(0.5, 0.3), icc=0.25 / 0.34, trials_per_item=5, rho=0.9)
    n = plan.items_per_condition
    common = rng.normal(0, math.sqrt(0.9) * 0.5, n)
    labels = items(rng, n, uneven=False)
    means = []
    for factor in (0.95, 1.0):
        effect = common + rng.normal(0, math.sqrt(0.1) * 0.5, n)
        means.append(np.bincount(labels, np.log(factor * clustered(rng, labels, effect))) / 5)
    return tests.paired_t(*means).p_value < ALPHA


def found_means(rng: Rng) -> bool:
    n = power(0.5, design="means").n_per_condition
    return tests.welch(rng.normal(0.5, 1, n), rng.normal(0, 1, n)).p_value < ALPHA


def found_rates(rng: Rng) -> bool:
    n = power(-0.05, design="proportions", p=0.95).n_per_condition
    return proportions.chi_square([rng.binomial(n, 0.9), rng.binomial(n, 0.95)], [n, n]).p_value < ALPHA


def found_rates_by_fisher(rng: Rng) -> bool:
    n = power(-0.05, design="proportions", p=0.95).n_per_condition
    return proportions.fisher(rng.binomial(n, 0.9), n, rng.binomial(n, 0.95), n).p_value < ALPHA


CELLS: tuple[Cell, ...] = (
    Cell("power", "log-normal, -10 %", "log-Welch at power()'s n", found_ratio, POWER, 6000),
    Cell("power", "5 trials per item, -20 %", "clustered log-Welch at power()'s n", found_clustered, POWER, 6000),
    Cell("power", "5 trials of shared items, -5 %", "paired t on logarithms at power()'s n", found_paired, POWER, 6000),
    Cell("power", "normal, d .5", "Welch at power()'s n", found_means, POWER, 6000),
    Cell("power", "success .95 to .90", "chi-square at power()'s n", found_rates, POWER, 6000),
    Cell("power", "success .95 to .90", "Fisher at power()'s n (conservative)", found_rates_by_fisher, REPORTED, 6000),
)  # fmt: skip
