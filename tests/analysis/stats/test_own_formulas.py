"""What is written here by hand agrees with a library, a brute-force computation or a published table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from otel_research.analysis.stats import (
    agreement,
    clusters,
    corrections,
    effects,
    equivalence,
    events,
    groups,
    intervals,
    meta,
    mixed,
    posthoc,
    power,
    proportions,
    ratios,
    sequential,
    series,
    survival,
    two_samples,
)
from otel_research.errors import MissingExtra, NotEnoughData

RNG = np.random.default_rng(20261123)
P = [0.04, 0.001, 0.03, 0.2, 0.0005, 0.03, 0.8]


def clustered(n_items: int = 25, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Values in clusters of unequal size."""
    rng = np.random.default_rng(seed)
    items = np.repeat(np.arange(n_items), rng.integers(1, 9, n_items))
    return rng.lognormal(6, 0.4, items.size) * (1 + 0.1 * items), items


@pytest.mark.parametrize(
    ("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh"), ("by", "fdr_by"), ("bonferroni", "bonferroni")]
)
def test_corrections_agree_with_statsmodels(ours: str, theirs: str):
    """Adjusted p-values keep the order given and equal statsmodels'."""
    from statsmodels.stats.multitest import multipletests

    assert corrections.adjust(P, ours) == pytest.approx(multipletests(P, method=theirs)[1])


def test_newcombe_agrees_with_statsmodels():
    """The square-and-add interval is statsmodels' method newcomb."""
    from statsmodels.stats.proportion import confint_proportions_2indep

    found = proportions.newcombe(45, 50, 38, 60)
    expected = confint_proportions_2indep(45, 50, 38, 60, method="newcomb")
    assert (found.interval.low, found.interval.high) == pytest.approx(expected)


def test_poisson_interval_agrees_with_statsmodels():
    """Garwood's interval is statsmodels' exact-c."""
    from statsmodels.stats.rates import confint_poisson

    found = events.poisson_rate(7, 12.5).interval
    assert (found.low, found.high) == pytest.approx(confint_poisson(7, 12.5, method="exact-c"))


@pytest.mark.parametrize("values", [RNG.normal(size=60), RNG.integers(0, 4, 200) + np.arange(200) / 50, np.arange(9.0)])
def test_a_trend_agrees_with_scipy(values: np.ndarray):
    """Ties and a perfect order included."""
    from scipy.stats import spearmanr

    found, expected = series.trend(values), spearmanr(values, np.arange(values.size))
    assert found.estimate == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize("planned", [None, [1, 2, 3]])
def test_a_sample_ratio_agrees_with_scipy(planned: list[float] | None):
    from scipy.stats import chisquare

    weights = np.array(planned or [1, 1, 1], dtype=float)
    found = proportions.sample_ratio([40, 62, 58], planned)
    expected = chisquare([40, 62, 58], weights / weights.sum() * 160)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)


def test_ljung_box_agrees_with_statsmodels():
    """The statistic and p-value are statsmodels'."""
    from statsmodels.stats.diagnostic import acorr_ljungbox

    values = RNG.normal(size=80).cumsum()
    found, expected = series.ljung_box(values, 7), acorr_ljungbox(values, [7])
    assert found.statistic == pytest.approx(expected["lb_stat"].item())
    assert found.p_value == pytest.approx(expected["lb_pvalue"].item())


@pytest.mark.parametrize("is_paired", [True, False])
def test_tost_agrees_with_statsmodels(is_paired: bool):
    """The two one-sided tests are statsmodels' ttost."""
    from statsmodels.stats.weightstats import ttost_ind, ttost_paired

    a, b = RNG.normal(1, 1, 30), RNG.normal(1.1, 2, 30)
    found = equivalence.tost(a, b, -1, 1, is_paired=is_paired)
    expected = ttost_paired(a, b, -1, 1)[0] if is_paired else ttost_ind(a, b, -1, 1, usevar="unequal")[0]
    assert found.p_value == pytest.approx(expected)


def test_friedman_agrees_with_scipy_on_three_treatments():
    """With ties and three treatments the formula is scipy's."""
    from scipy import stats

    rows = RNG.integers(0, 5, (12, 3)).astype(float)
    expected = stats.friedmanchisquare(*rows.T)
    assert groups.friedman(rows).statistic == pytest.approx(expected.statistic)


@pytest.mark.parametrize("two_way", [False, True])
def test_clustered_regression_agrees_with_statsmodels(two_way: bool):
    """CR1 with clusters of unequal size, and two crossed cluster variables, are statsmodels' cov_type="cluster"."""
    import statsmodels.api as sm

    y, items = clustered()
    x, second = RNG.normal(size=y.size), RNG.integers(0, 6, y.size)
    labels = [items, second] if two_way else [items]
    groups_of = np.column_stack(labels) if two_way else items
    expected = sm.OLS(y, sm.add_constant(x)).fit(cov_type="cluster", cov_kwds={"groups": groups_of})
    found = clusters.regression(y, [x], labels)
    if two_way:
        # statsmodels scales the three parts by the smaller number of clusters; we scale each by its own.
        assert found.se_cluster == pytest.approx(expected.bse, rel=0.1)
    else:
        assert found.se_cluster == pytest.approx(expected.bse)


def test_cr2_agrees_with_matrices():
    """The closed forms of CR2 and its degrees of freedom are those of the matrix definition (Bell & McCaffrey 2002)."""
    y, items = clustered(12)
    n = y.size
    design, residual = np.ones((n, 1)), y - y.mean()
    hat = np.eye(n) - design @ design.T / n
    variance, vectors = 0.0, []
    for item in np.unique(items):
        here = items == item
        block = hat[np.ix_(here, here)]
        roots, axes = np.linalg.eigh(block)
        adjust = axes @ np.diag(roots**-0.5) @ axes.T
        variance += float((np.ones(here.sum()) @ adjust @ residual[here]) ** 2) / n**2
        vectors.append(hat[here].T @ adjust @ np.ones(here.sum()) / n)
    gram = np.array([[p @ q for q in vectors] for p in vectors])
    found = clusters.clustered_mean(y, items)
    assert found.se_cr2 == pytest.approx(math.sqrt(variance))
    assert found.df_cr2 == pytest.approx(np.trace(gram) ** 2 / (gram**2).sum())


def test_quantiles_are_resampled_as_by_brute_force():
    """The interval drawn by order statistics is that of scipy's percentile bootstrap."""
    values = np.random.default_rng(5).lognormal(6, 1, 80)
    direct = intervals.bootstrap_quantile(values, 0.9, n_resamples=20_000)
    resampled = intervals.bootstrap(values, lambda x: float(np.quantile(x, 0.9)), n_resamples=4000)
    assert direct.se == pytest.approx(resampled.se, rel=0.05)
    assert direct.interval.low == pytest.approx(resampled.interval.low, rel=0.03)
    assert direct.interval.high == pytest.approx(resampled.interval.high, rel=0.03)


def test_bootstrap_is_deterministic():
    """The same seed gives the same interval; another seed another one."""
    values = RNG.lognormal(6, 1, 100)
    first, again, other = (intervals.bootstrap_quantile(values, 0.9, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("obrien-fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ("pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_spending_boundaries_are_the_published_ones(kind: str, expected: list[float]):
    """Lan-DeMets boundaries at five looks (Reboussin, DeMets, Kim & Lan 2000)."""
    found = sequential.spending_boundary([0.2, 0.4, 0.6, 0.8, 1.0], kind=kind)
    assert found.z == pytest.approx(expected, abs=5e-4)
    assert found.spent[-1] == pytest.approx(0.05)


@pytest.mark.parametrize(("looks", "constant"), [(2, 1.9774), (3, 2.0043), (5, 2.0401), (10, 2.0870)])
def test_obrien_fleming_constants(looks: int, constant: float):
    """O'Brien-Fleming's last critical value (Jennison & Turnbull 2000, table 2.3)."""
    assert sequential.constant_boundary(looks, delta=0.0).z[-1] == pytest.approx(constant, abs=5e-4)


def test_spending_holds_the_level_at_many_unequal_looks():
    """Forty unequal looks spend 5 % in all, where the fixed five-look boundary would spend more."""
    fractions = np.cumsum(np.random.default_rng(4).uniform(0.5, 1.5, 40))
    fractions = (fractions / fractions[-1]).tolist()
    bounds = sequential.spending_boundary(fractions).z
    assert sequential.crossing_probability(fractions, bounds) == pytest.approx(0.05, abs=1e-4)
    fixed = [2.0401 / math.sqrt(t) for t in fractions]
    assert sequential.crossing_probability(fractions, fixed) > 0.06


def test_naive_peeking_inflates():
    """Five looks at 1.96 cross 14 % of the time (Armitage, McPherson & Rowe 1969)."""
    assert sequential.crossing_probability([0.2, 0.4, 0.6, 0.8, 1.0], [1.96] * 5) == pytest.approx(0.142, abs=1e-3)


def test_the_sequence_and_its_p_value_agree():
    """The anytime p-value reaches alpha exactly where the sequence touches 0."""
    found = sequential.confidence_sequence(1.0, 0.3, 500, tuning=500)
    half = found.interval.high - 1.0
    assert sequential.sequence_p_value(half, 0.3, 500, tuning=500) == pytest.approx(0.05)
    assert half > 1.96 * 0.3


def test_kaplan_meier_without_censoring_is_the_order_statistic():
    """Without censoring the quantile is the smallest t with F(t) >= p, inside its interval."""
    times = np.arange(1.0, 101.0)
    found = survival.kaplan_meier_quantile(times, np.ones(100, bool), 0.9)
    assert found.value == 90.0
    assert found.interval.low < 90.0 < found.interval.high


def test_a_quantile_above_the_limit_is_not_known():
    """With a fifth of the times cut off, p90 is refused and None among several, while the median stands."""
    times, observed = np.append(np.arange(1.0, 81.0), [100.0] * 20), np.arange(100) < 80
    with pytest.raises(NotEnoughData, match="20 of 100"):
        survival.kaplan_meier_quantile(times, observed, 0.9)
    assert survival.kaplan_meier_quantiles(times, observed, [0.5, 0.9]) == [50.0, None]


def test_cohens_d_interval_inverts_the_noncentral_t():
    """At the ends of the interval the observed t is at the 97.5 % and 2.5 % points."""
    from scipy import stats

    a, b = RNG.normal(0.7, 1, 20), RNG.normal(0, 1, 25)
    found = effects.cohens_d(a, b)
    scale = math.sqrt(1 / 20 + 1 / 25)
    for end, level in ((found.interval.low, 0.975), (found.interval.high, 0.025)):
        assert stats.nct.cdf(found.d / scale, 43, end / scale) == pytest.approx(level, abs=1e-8)


@pytest.mark.parametrize("df", [5, 100, 5000])
def test_cohens_d_interval_has_no_jump(df: int):
    """Where the noncentral t gives way to its limits the interval moves by no more than the effect does."""
    below, above = (effects._noncentral_t(t, 1.0, df, 0.95) for t in (29.99, 30.01))
    assert above.low == pytest.approx(below.low, rel=0.02)
    assert above.high == pytest.approx(below.high, rel=0.02)


def test_cliffs_delta_counts_pairs():
    """Delta is the share of pairs won minus the share lost, ties and all."""
    a, b = RNG.integers(0, 6, 40).astype(float), RNG.integers(1, 7, 30).astype(float)
    found = effects.cliffs_delta(a, b)
    assert found.value == pytest.approx(np.sign(a[:, None] - b).mean())
    assert found.interval.low < found.value < found.interval.high


def test_delta_method_ratio_agrees_with_its_bootstrap():
    """Cost per success has about the standard error that resampling items gives."""
    rng = np.random.default_rng(9)
    cost, success = rng.lognormal(0, 0.5, 400), (rng.random(400) < 0.8).astype(float)
    found = ratios.ratio_of_means(cost, success)
    index = rng.integers(0, 400, (4000, 400))
    draws = cost[index].sum(axis=1) / success[index].sum(axis=1)
    assert found.se == pytest.approx(draws.std(), rel=0.08)


@pytest.mark.parametrize("alternative", ["two-sided", "larger"])
def test_t_power_agrees_with_statsmodels(alternative: str):
    """Power of unequal groups is statsmodels' TTestIndPower."""
    from statsmodels.stats.power import TTestIndPower

    expected = TTestIndPower().power(0.4, 40, 0.05, ratio=1.5, alternative=alternative)
    assert power.power_t(0.4, 40, 0.05, n_b=60, alternative=alternative) == pytest.approx(expected)


def test_paired_proportions_power_agrees_with_simulation():
    """Connor's formula is close to what simulated pairs show."""
    rng = np.random.default_rng(10)
    n, p10, p01 = 200, 0.2, 0.1
    hits = []
    for _ in range(1500):
        u = rng.random(n)
        b, c = int((u < p10).sum()), int(((u >= p10) & (u < p10 + p01)).sum())
        hits.append(b + c > 0 and (b - c) ** 2 / (b + c) > 3.8415)
    assert power.power_paired_proportions(p10, p01, n) == pytest.approx(np.mean(hits), abs=0.04)


def test_variance_components_are_those_simulated():
    """Between- and within-item variances are recovered from unequal numbers of trials."""
    rng = np.random.default_rng(12)
    items = np.repeat(np.arange(400), rng.integers(1, 7, 400))
    values = rng.normal(0, 2, 400)[items] + rng.normal(0, 1, items.size)
    found = agreement.variance_components(values, items)
    assert found.between == pytest.approx(4, rel=0.2)
    assert found.within == pytest.approx(1, rel=0.15)


def test_change_points_find_two_steps_and_no_more():
    """Two steps are found at their places; noise alone has none."""
    rng = np.random.default_rng(13)
    stepped = np.concatenate([rng.normal(m, 10, 60) for m in (100, 130, 90)])
    assert series.change_points(stepped).last_before == pytest.approx((60, 120), abs=2)
    assert series.change_points(rng.normal(100, 10, 180)).last_before == ()


def test_pass_at_k_is_the_share_of_subsets():
    """pass@k counts the k-subsets of trials that hold a success."""
    from itertools import combinations

    outcomes = [1, 0, 0, 1, 0, 0, 0]
    wins = [max(subset) for subset in combinations(outcomes, 3)]
    assert events.pass_at_k(7, 2, 3) == pytest.approx(np.mean(wins))
    assert events.pass_at_k(5, 5, 2) == 1.0


def test_repeated_measures_with_two_factors():
    """With two factors each effect's sums of squares give back its F."""
    rng = np.random.default_rng(14)
    subject = np.repeat(np.arange(10), 6).tolist()
    a, b = ([i // 3 % 2 for i in range(60)], [i % 3 for i in range(60)])
    y = rng.normal(size=60) + np.array(a) + 0.5 * np.array(b)
    for row in mixed.repeated(y, subject, {"a": a, "b": b}):
        assert row.ss_effect / row.df_num / (row.ss_error / row.df_den) == pytest.approx(row.f)
    table = {row.name: row for row in mixed.repeated(y, subject, {"a": a, "b": b})}
    cells = y.reshape(10, 2, 3)
    expected = 30 * ((cells.mean(axis=(0, 2)) - cells.mean()) ** 2).sum()
    assert table["a"].ss_effect == pytest.approx(expected)


def test_welch_and_clustered_welch_agree_without_clusters():
    """With one row per cluster the clustered test is Welch's."""
    a, b = RNG.normal(1, 1, 30), RNG.normal(0, 2, 40)
    plain = two_samples.welch(a, b)
    found = clusters.clustered_welch(a, np.arange(30), b, np.arange(40))
    assert found.statistic == pytest.approx(plain.statistic)
    assert found.df == pytest.approx(plain.df)


@pytest.mark.parametrize("alternative", ["less", "greater"])
def test_one_sided_intervals_are_open(alternative: str):
    """A one-sided test has a one-sided interval, and its standard error is that of the two-sided one."""
    a, b = RNG.normal(1, 1, 12), RNG.normal(0, 2, 15)
    found, both = two_samples.welch(a, b, alternative=alternative), two_samples.welch(a, b)
    assert (found.interval.low is None) == (alternative == "less")
    assert (found.interval.high is None) == (alternative == "greater")
    assert found.se == pytest.approx(both.se)


CORE = {
    "newcombe": lambda: proportions.newcombe(9, 10, 3, 10),
    "mcnemar": lambda: proportions.mcnemar(9, 3),
    "adjust": lambda: corrections.adjust(P, "bh"),
    "poisson": lambda: events.poisson_rate(3, 10),
    "tost": lambda: equivalence.tost([1.0, 2, 3], [1.5, 2, 3], -2, 2),
    "ljung_box": lambda: series.ljung_box([1.0, 2, 1, 3, 2, 4], 2),
    "detectable": lambda: power.detectable_effect(1.0),
    "cluster": lambda: clusters.clustered_mean([1.0, 2, 3, 4], [1, 1, 2, 2]),
    "games-howell": lambda: posthoc.games_howell({"a": [1.0, 2, 3], "b": [2.0, 3, 5]}),
}


@pytest.mark.parametrize("name", CORE)
def test_compare_runs_on_the_core(name: str, monkeypatch: pytest.MonkeyPatch):
    """What compare, metrics, series and quality need works without statsmodels."""
    monkeypatch.setitem(__import__("sys").modules, "statsmodels", None)
    assert CORE[name]() is not None


def test_a_level_may_have_any_text() -> None:
    """Colons, commas and brackets in a level's name belong to it: no coefficient is cut short or takes another's place."""
    levels = ["base", "openai:gpt-4o", "a, first", "a, second", "b[T.x]"]
    fit = mixed.mixed(RNG.normal(5, 1, 50), {"model": levels * 10}, [index // 5 for index in range(50)])
    first, *others = sorted(levels)
    assert fit.coefficients.keys() == {"Intercept", *(f"model[{level}]" for level in others)}, first


@pytest.mark.parametrize("call", [lambda: meta.random_effects([1, 2], [1, 1]), lambda: mixed.repeated([1.0], [1], {})])
def test_the_rest_names_the_extra(call: object, monkeypatch: pytest.MonkeyPatch):
    """What needs statsmodels says how to install it."""
    monkeypatch.setitem(__import__("sys").modules, "statsmodels", None)
    with pytest.raises(MissingExtra, match=r"otel-research\[stats\]"):
        call()
