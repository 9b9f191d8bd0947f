"""Bootstrap, weights and censoring behind the quantiles, against resampling by hand, numpy and scipy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from otel_research.analysis.arms import Sample
from otel_research.analysis.metrics import calculate_metrics
from otel_research.analysis.stats import resampling, survival, weighted
from otel_research.analysis.stats.events import between_failures
from otel_research.analysis.stats.proportions import wilson_share
from otel_research.analysis.subject import Subject
from otel_research.analysis.tails import joint_draws
from otel_research.analysis.uncertainty import quantile


@pytest.mark.parametrize("p", [0.5, 0.9, 0.95])
def test_order_statistics_have_the_law_of_resampling(p: float) -> None:
    rng = np.random.default_rng(1)
    x = np.sort(rng.lognormal(6, 1, 200))
    drawn = resampling.draws(x, p, np.random.default_rng(2), 20_000)
    by_hand = np.quantile(rng.choice(x, (20_000, 200)), p, axis=1)
    # Two samples of 20,000 draws of one law: Kolmogorov-Smirnov rejects a wrong one at once.
    assert stats.ks_2samp(drawn, by_hand).pvalue > 1e-4


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_drawing_items_has_the_law_of_resampling_items_whole(p: float) -> None:
    rng = np.random.default_rng(3)
    items = np.repeat(np.arange(25), 8)
    x = rng.lognormal(5, 0.5, 200) * rng.lognormal(0, 0.7, 25)[items]
    order = np.argsort(x)
    drawn = resampling.clustered_draws(x[order], items[order], p, np.random.default_rng(4), 4000)
    picks = rng.integers(0, 25, (4000, 25))
    by_hand = [np.quantile(np.concatenate([x[items == i] for i in row]), p) for row in picks]
    assert stats.ks_2samp(drawn, by_hand).pvalue > 1e-4


def test_with_thousands_of_items_the_normal_law_agrees_with_drawing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    items = np.repeat(np.arange(1500), 4)
    x = rng.lognormal(5, 0.5, 6000) * rng.lognormal(0, 0.7, 1500)[items]
    order = np.argsort(x)
    drawn = resampling.clustered_draws(x[order], items[order], 0.9, np.random.default_rng(6))
    monkeypatch.setattr(resampling, "MANY_CLUSTERS", 100)
    normal = resampling.clustered_draws(x[order], items[order], 0.9, np.random.default_rng(6))
    assert resampling.interval(normal, 0.05) == pytest.approx(resampling.interval(drawn, 0.05), rel=0.02)


def test_the_same_seed_draws_the_same() -> None:
    x = np.arange(100.0)
    first, again, other = (resampling.quantile_draws(x, [0.9], seed)[0][0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0.001, 0.999), st.floats(0.1, 100))
def test_weighted_quantiles_are_type_7_where_weights_are_equal(x: list[float], p: float, weight: float) -> None:
    ordered = np.sort(np.asarray(x))
    got = weighted.quantiles(ordered, np.full(len(x), weight), [p])[0]
    assert got == pytest.approx(float(np.quantile(ordered, p)), rel=1e-9, abs=1e-6)


def test_weighted_moments_are_numpys_where_weights_are_equal() -> None:
    x = np.random.default_rng(7).lognormal(0, 1, 50)
    found = weighted.describe(x, np.full(50, 3.0), {"p90": 0.9})
    assert found["variance"] == pytest.approx(x.var(ddof=1))
    assert found["mad"] == pytest.approx(stats.median_abs_deviation(x))
    assert found["p90"] == pytest.approx(np.quantile(x, 0.9))


def test_kaplan_meier_quantiles_equal_scipys_curve() -> None:
    rng = np.random.default_rng(8)
    x = np.round(rng.lognormal(5, 1, 300), 0)
    cut = rng.random(300) < 0.3
    curve = stats.ecdf(stats.CensoredData.right_censored(x, cut)).sf
    for p in (0.1, 0.5, 0.8):
        expected = curve.quantiles[np.flatnonzero(curve.probabilities <= 1 - p)[0]]
        assert survival.kaplan_meier_quantiles(x, ~cut, [p], np.ones(300)) == [expected]


def test_a_quantile_above_the_last_event_is_not_known() -> None:
    x, cut = np.array([1.0, 2.0, 3.0, 3.0]), np.array([False, False, True, True])
    assert survival.kaplan_meier_quantiles(x, ~cut, [0.5, 0.9], np.ones(4)) == [2.0, None]


def test_exact_limits_equal_the_published_ones() -> None:
    # R poisson.test(137, 24.19893): 4.753125 to 6.692709 events per unit.
    found = between_failures(24.19893, 137, 0.95)
    assert (1 / (found.high or 1), 1 / (found.low or 1)) == pytest.approx((4.753125, 6.692709), rel=1e-6)
    assert between_failures(500, 0, 0.95).low == pytest.approx(166.904100347667)


@pytest.mark.parametrize(("k", "n"), [(0, 20), (20, 20), (37, 40), (1, 1)])
def test_wilson_equals_scipys(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    found = wilson_share(k / n, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def arm(values: np.ndarray, items: np.ndarray) -> Sample:
    n = values.size
    return Sample(values, items, np.zeros(n, dtype=np.int64), np.ones(n), np.zeros(n, dtype=bool))


def test_arms_that_share_items_are_drawn_together_however_many_items_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    items = np.arange(1500)
    level = rng.lognormal(5, 0.8, 1500)
    a, b = (arm(level * rng.lognormal(0, 0.1, 1500), items) for _ in range(2))
    apart = np.subtract(*reversed(joint_draws(a, b, 0.5, 1, is_clustered=False)))
    together = np.subtract(*reversed(joint_draws(a, b, 0.5, 1, is_clustered=True)))
    monkeypatch.setattr(resampling, "MANY_CLUSTERS", 100)
    normal = np.subtract(*reversed(joint_draws(a, b, 0.5, 1, is_clustered=True)))
    assert together.std() < 0.5 * apart.std()
    assert normal.std() == pytest.approx(together.std(), rel=0.25)


def test_few_items_say_less_about_a_tail_than_many_rows_and_it_is_refused() -> None:
    rng = np.random.default_rng(10)
    items = np.repeat(np.arange(40), 20)
    values = rng.lognormal(5, 0.8, 40)[items] * rng.lognormal(0, 0.1, 800)
    frame = pl.LazyFrame({"duration_ms": values, "item_id": [f"q{i}" for i in items]})
    found = calculate_metrics(Subject(frame))
    assert found.latency is not None
    assert found.latency.n_required["p99"] < 800
    assert not found.latency.reliable["p99"]
    assert "p99" not in found.latency.ci
    assert "independent ones" in found.reasons["latency.ci.p99"]


def test_a_tail_interval_covers_at_the_smallest_n_that_is_not_refused() -> None:
    """p99 of 400 lognormal values: the bootstrap alone covers 90 %."""
    rng = np.random.default_rng(11)
    true = float(stats.lognorm.ppf(0.99, 1))
    covered = 0
    for seed in range(200):
        x = rng.lognormal(0, 1, 400)
        found, _ = quantile(weighted.plain(x), 0.99, 0.05, seed)
        covered += (found.low or 0) <= true <= (found.high or 0)
    # 93 % of 200, less three standard errors.
    assert covered >= 175


def test_a_heavy_tail_has_no_interval_of_its_spread_and_a_light_one_has() -> None:
    rng = np.random.default_rng(12)
    heavy = calculate_metrics(Subject(pl.LazyFrame({"duration_ms": rng.lognormal(5, 1, 400)}))).latency
    light = calculate_metrics(Subject(pl.LazyFrame({"duration_ms": rng.normal(500, 50, 400)}))).latency
    assert heavy is not None
    assert light is not None
    assert "stdev" not in heavy.ci
    assert light.ci["stdev"].low < 50 < light.ci["stdev"].high  # type: ignore[operator]
