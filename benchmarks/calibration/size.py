"""How often something is called different where nothing is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from calibration.data import autoregressive, clustered, decides, heavy, items, rows, spans
from calibration.judged import ALPHA, CONSERVATIVE, REPORTED, SIZE, Cell, Rng
from otel_research.analysis.compare import compare
from otel_research.analysis.stats import clusters, proportions, two_samples
from otel_research.analysis.subject import Subject
from otel_research.errors import NotEnoughData


def rejects(test: Callable[..., two_samples.Outcome], n: int, m: int) -> Callable[[Rng], bool]:
    return lambda rng: test(heavy(rng, n), heavy(rng, m)).p_value < ALPHA


def autocorrelated(rho: float) -> Callable[[Rng], bool]:
    def hit(rng: Rng) -> bool:
        values, arm = autoregressive(rng, 400, rho), rng.permutation(400) < 200
        return two_samples.log_welch(values[arm], values[~arm]).p_value < ALPHA

    return hit


def one_after_the_other(rng: Rng) -> bool:
    values = autoregressive(rng, 400, 0.5)
    return two_samples.log_welch(values[:200], values[200:]).p_value < ALPHA


def clustered_null(rng: Rng) -> bool:
    a, b = items(rng, 40), items(rng, 25)
    x, y = np.log(clustered(rng, a)), np.log(clustered(rng, b))
    return clusters.clustered_welch(x, a, y, b).p_value < ALPHA


def trials_as_independent(rng: Rng) -> bool:
    a, b = items(rng, 40), items(rng, 25)
    return two_samples.log_welch(clustered(rng, a), clustered(rng, b)).p_value < ALPHA


def paired_null(rng: Rng) -> bool:
    effect, labels = rng.normal(0, 0.5, 40), items(rng, 40)
    x, y = (np.log(clustered(rng, labels, effect)) for _ in "ab")
    size = np.bincount(labels)
    return two_samples.paired_t(np.bincount(labels, x) / size, np.bincount(labels, y) / size).p_value < ALPHA


def paired_rank_null(rng: Rng) -> bool:
    effect, labels = rng.normal(0, 0.5, 40), items(rng, 40)
    x, y = (clustered(rng, labels, effect) for _ in "ab")
    size = np.bincount(labels)
    return two_samples.wilcoxon(np.bincount(labels, x) / size, np.bincount(labels, y) / size).p_value < ALPHA


def rates_null(p: float, n: int) -> Callable[[Rng], bool]:
    return lambda rng: proportions.fisher(rng.binomial(n, p), n, rng.binomial(n, p), n).p_value < ALPHA


def mcnemar_null(rng: Rng) -> bool:
    b, c = rng.multinomial(100, [0.1, 0.1, 0.8])[:2]
    try:
        return proportions.mcnemar(int(b), int(c)).exact < ALPHA
    except NotEnoughData:
        return False


def compare_numbers(n: int, m: int) -> Callable[[Rng], bool]:
    return lambda rng: decides(compare(heavy(rng, n), heavy(rng, m)).verdict)


def compare_items(rng: Rng) -> bool:
    """30 items, 2 trials of each in either arm, in random order."""
    item, arm = np.repeat(np.arange(30), 4), np.tile([False, False, True, True], 30)
    order = rng.permutation(120)
    latency = clustered(rng, item)
    return decides(compare(*spans(rng, latency[order], arm[order], item[order]), metrics="latency").verdict)


def compare_unbalanced(rng: Rng) -> bool:
    """Two experiments of 30 and 150 trials with a heavy tail; cost and success are compared beside latency."""
    one, two = (rows(rng, heavy(rng, n), ["same"] * n, None) for n in (30, 150))
    other = two.with_columns(experiment_id=pl.lit("bb"))
    return decides(compare(Subject(one), Subject(other)).effects["latency"].verdict)


def compare_in_time(rng: Rng) -> bool:
    """Arms in random order under AR(1)."""
    return decides(
        compare(*spans(rng, autoregressive(rng, 240, 0.5), rng.permutation(240) < 120, None), metrics="latency").verdict
    )


CELLS: tuple[Cell, ...] = (
    Cell("size", "heavy tail, 200 / 200", "log-Welch", rejects(two_samples.log_welch, 200, 200), SIZE),
    Cell("size", "heavy tail, 30 / 150", "log-Welch", rejects(two_samples.log_welch, 30, 150), SIZE),
    Cell("size", "heavy tail, 200 / 200", "Welch", rejects(two_samples.welch, 200, 200), CONSERVATIVE),
    Cell("size", "heavy tail, 30 / 150", "Welch on raw means (cost; not latency's verdict)", rejects(two_samples.welch, 30, 150),
         REPORTED),
    Cell("size", "heavy tail, 200 / 200", "Brunner-Munzel", rejects(two_samples.brunner_munzel, 200, 200), SIZE),
    Cell("size", "heavy tail, 30 / 150", "Brunner-Munzel", rejects(two_samples.brunner_munzel, 30, 150), SIZE),
    Cell("size", "heavy tail, 30 / 150", "Mann-Whitney", rejects(two_samples.mann_whitney, 30, 150), SIZE),
    Cell("size", "1 to 8 trials per item, 40 / 25 items", "clustered log-Welch (CR2)", clustered_null, SIZE),
    Cell("size", "1 to 8 trials per item, 40 / 25 items", "log-Welch on trials (the mistake)", trials_as_independent,
         REPORTED),
    Cell("size", "40 shared items", "paired t on logarithms", paired_null, SIZE),
    Cell("size", "40 shared items", "Wilcoxon", paired_rank_null, SIZE),
    Cell("size", "AR(1) rho .5, arms interleaved", "log-Welch", autocorrelated(0.5), CONSERVATIVE),
    Cell("size", "AR(1) rho .8, arms interleaved", "log-Welch", autocorrelated(0.8), CONSERVATIVE),
    Cell("size", "AR(1) rho .5, one arm after the other", "log-Welch (the mistake)", one_after_the_other, REPORTED),
    Cell("size", "heavy tail, 200 / 200 numbers", "compare(): better or worse", compare_numbers(200, 200), SIZE, 1000),
    Cell("size", "heavy tail, 30 / 150 numbers", "compare(): better or worse", compare_numbers(30, 150), SIZE, 1000),
    Cell("size", "spans: 2 trials of 30 shared items", "compare(): better or worse", compare_items, SIZE, 300),
    Cell("size", "spans: AR(1) rho .5, 120 / 120 interleaved", "compare(): better or worse", compare_in_time,
         CONSERVATIVE, 400),
    Cell("size", "spans: heavy tail, 30 / 150, all outcomes compared", "compare(): latency better or worse",
         compare_unbalanced, CONSERVATIVE, 300),
    Cell("size", "success .95, n 100", "Fisher", rates_null(0.95, 100), CONSERVATIVE),
    Cell("size", "100 pairs, 20 % discordant", "McNemar exact", mcnemar_null, CONSERVATIVE),
)  # fmt: skip
