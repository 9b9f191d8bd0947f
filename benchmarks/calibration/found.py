"""How often an effect is found at the n that `power()` recommends."""

from __future__ import annotations

import math

import numpy as np

from calibration.data import clustered, items, spans
from calibration.judged import ALPHA, POWER, REPORTED, Cell, Rng
from otel_research.analysis.compare import compare
from otel_research.analysis.power import power
from otel_research.analysis.stats import clusters, proportions, two_samples


def found_ratio(rng: Rng) -> bool:
    n = power(-0.1, sd=0.5).n_per_condition
    return two_samples.log_welch(0.9 * rng.lognormal(6.5, 0.5, n), rng.lognormal(6.5, 0.5, n)).p_value < ALPHA


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
    return two_samples.paired_t(*means).p_value < ALPHA


def found_means(rng: Rng) -> bool:
    n = power(0.5, design="means").n_per_condition
    return two_samples.welch(rng.normal(0.5, 1, n), rng.normal(0, 1, n)).p_value < ALPHA


def found_rates(rng: Rng) -> bool:
    n = power(-0.05, design="proportions", p=0.95).n_per_condition
    return proportions.chi_square([rng.binomial(n, 0.9), rng.binomial(n, 0.95)], [n, n]).p_value < ALPHA


def found_rates_by_fisher(rng: Rng) -> bool:
    n = power(-0.05, design="proportions", p=0.95).n_per_condition
    return proportions.fisher(rng.binomial(n, 0.9), n, rng.binomial(n, 0.95), n).p_value < ALPHA


def exact_n(effect: float, design: str, **options: float) -> int:
    """The n that `power()` names for the exact test of `compare`."""
    plan = power(effect, design=design, p=0.95, **options)  # type: ignore[arg-type]
    told = next(warning for warning in plan.warnings if warning.code == "exact_test")
    assert told.value is not None
    return int(told.value)


def found_by_fisher(rng: Rng) -> bool:
    n = exact_n(-0.05, "proportions")
    return proportions.fisher(rng.binomial(n, 0.9), n, rng.binomial(n, 0.95), n).p_value < ALPHA


def found_by_mcnemar(rng: Rng) -> bool:
    n = exact_n(-0.05, "paired_proportions", discordant=0.15)
    b, c = rng.multinomial(n, [0.1, 0.05, 0.85])[:2]
    return proportions.mcnemar(int(b), int(c)).exact < ALPHA


def compared(rng: Rng) -> bool:
    n = power(-0.1, sd=0.5).n_per_condition
    return compare(rng.lognormal(6.5, 0.5, n), 0.9 * rng.lognormal(6.5, 0.5, n)).verdict == "better"


def compared_items(rng: Rng) -> bool:
    """2 trials per shared item in random order, as spans."""
    plan = power(-0.1, sd=math.hypot(0.5, 0.3), icc=0.25 / 0.34, trials_per_item=2, rho=0.9)
    n = plan.items_per_condition
    item, arm = np.repeat(np.arange(n), 4), np.tile([0, 1], 2 * n)
    common = rng.normal(0, math.sqrt(0.9) * 0.5, n)
    effects = common + rng.normal(0, math.sqrt(0.1) * 0.5, (2, n))
    latency = np.exp(6.5 + effects[arm, item] + rng.normal(0, 0.3, item.size)) * np.where(arm, 0.9, 1.0)
    order = rng.permutation(item.size)
    found = compare(*spans(rng, latency[order], arm[order], item[order]), metrics="latency")
    return found.verdict == "better"


CELLS: tuple[Cell, ...] = (
    Cell("power", "log-normal, -10 %", "log-Welch at power()'s n", found_ratio, POWER, 4000),
    Cell("power", "5 trials per item, -20 %", "clustered log-Welch at power()'s n", found_clustered, POWER, 4000),
    Cell("power", "5 trials of shared items, -5 %", "paired t on logarithms at power()'s n", found_paired, POWER, 4000),
    Cell("power", "normal, d .5", "Welch at power()'s n", found_means, POWER, 4000),
    Cell("power", "success .95 to .90", "chi-square at power()'s n", found_rates, POWER, 4000),
    Cell("power", "success .95 to .90", "Fisher at the same n (conservative)", found_rates_by_fisher, REPORTED, 4000),
    Cell("power", "success .95 to .90", "Fisher at the n that power() names for it", found_by_fisher, POWER, 4000),
    Cell("power", "pairs, success .95 to .90", "McNemar exact at the n that power() names for it", found_by_mcnemar, POWER, 4000),
    Cell("power", "log-normal, -10 %", "compare(): better, at power()'s n", compared, POWER, 1000),
    Cell("power", "spans: 2 trials of shared items, -10 %", "compare(): better, at power()'s n", compared_items, POWER, 300),
)  # fmt: skip
