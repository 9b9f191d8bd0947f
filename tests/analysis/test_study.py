"""Several experiments as one claim."""

from __future__ import annotations

import math

import polars as pl
import pytest
from trial_runs import experiment

import otel_research as otr
from otel_research.analysis.stats import meta
from otel_research.analysis.study import Study, study
from otel_research.errors import ConfigurationError, NotEnoughData


def runs(k: int = 5, effect: float = 0.8, **options: object) -> list[object]:
    return [experiment(f"run{i}", {"control": 1.0, "new": effect}, seed=i, **options) for i in range(k)]


def test_a_true_effect_is_pooled():
    """Five experiments with 20 % less latency give about -20 %, with a narrow interval and a prediction."""
    found = study(runs())
    pooled = found.outcomes["latency"]
    assert found.baseline == "control"
    assert pooled.scale == "percent"
    assert pooled.effect == pytest.approx(-20, abs=4)
    assert pooled.significant
    assert pooled.prediction is not None
    assert sum(row.weight for row in pooled.forest) == pytest.approx(1)
    assert all(row.design == "paired" for row in pooled.forest)
    assert all(row.pooled_without is not None for row in pooled.forest)


def test_pooling_is_the_synthesis_of_the_single_effects():
    """The pooled effect is the random-effects synthesis of what the forest shows."""
    from scipy import stats

    pooled = study(runs()).outcomes["latency"]
    effects = [math.log1p(row.effect / 100) for row in pooled.forest]
    critical = stats.t.ppf(0.975, 29)
    variances = [
        ((math.log1p(row.ci.high / 100) - math.log1p(row.ci.low / 100)) / 2 / critical) ** 2 for row in pooled.forest
    ]
    expected = meta.random_effects(effects, variances)
    assert pooled.effect == pytest.approx(100 * math.expm1(expected.random.value))
    assert pooled.i2 == pytest.approx(expected.i2, abs=1e-6)


def test_one_correction_family():
    """Pooled tests are corrected over the outcomes, single tests over every experiment and outcome."""
    found = study(runs(3), metrics=["latency", "success_rate"])
    pooled = list(found.outcomes.values())
    smallest = min(one.p_value for one in pooled)
    assert min(one.p_adjusted for one in pooled) == pytest.approx(2 * smallest)
    singles = [row for one in pooled for row in one.forest]
    least = min(singles, key=lambda row: row.p_value)
    assert least.p_adjusted == pytest.approx(len(singles) * least.p_value)


def test_rates_without_failures_can_be_pooled():
    """Experiments without a single failure have a standard error by adding one success and one failure."""
    pooled = study(runs(3), metrics=["success_rate"]).outcomes["success_rate"]
    assert pooled.effect == pytest.approx(0.0)
    assert pooled.scale == "difference"
    assert not pooled.significant


def test_pairs_of_experiments():
    """Baseline and candidate may be two experiments each."""
    pairs = [(experiment(f"a{i}", {"x": 1.0}, seed=i), experiment(f"b{i}", {"x": 0.8}, seed=i)) for i in range(3)]
    assert study(pairs).outcomes["latency"].effect < -10


def test_known_results():
    """Effects known otherwise, with their standard errors, are pooled as they are."""
    found = study({"a": (-0.08, 0.03), "b": (-0.12, 0.04), "c": (-0.03, 0.02), "d": (-0.1, 0.05), "e": (-0.15, 0.0346)})
    assert found.outcomes["effect"].effect == pytest.approx(-0.0903, abs=1e-3)


def test_fragile_results_are_flagged():
    """A significant result that one experiment carries is called fragile."""
    found = study({"a": (-0.3, 0.01), "b": (-0.05, 0.2), "c": (-0.1, 0.3)})
    assert {w.code for w in found.warnings} == {"few_experiments", "fragile"}


def test_declared_outcomes_come_first():
    """Without `metrics` the declared primary outcomes are pooled."""
    assert set(study(runs(3, primary=["success_rate"])).outcomes) == {"success_rate"}
    assert set(study(runs(3)).outcomes) == {"latency"}


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda: runs(1), {}),
        (lambda: runs(2), {"baseline": "nothing"}),
        (lambda: runs(2), {"candidate": "nothing"}),
        (lambda: runs(2), {"metrics": ["accuracy"]}),
        (lambda: [experiment(f"r{i}", {"a": 1.0, "b": 1.0}) for i in range(2)], {}),
        (lambda: [pl.DataFrame(), pl.DataFrame()], {}),
        (lambda: {"a": (0.1, 0.0), "b": (0.2, 0.1)}, {}),
        (lambda: {"a": (0.1, 0.1)}, {}),
    ],
)
def test_what_cannot_be_pooled_is_refused(make: object, options: dict[str, object]):
    """One experiment, an unclear baseline, an unknown outcome: a reason, never a traceback."""
    with pytest.raises((ConfigurationError, NotEnoughData)):
        study(make(), **options)


def test_round_trip():
    """A study is the same after JSON, and its forest table has a row per experiment."""
    found = study(runs(3))
    assert Study.from_json(found.to_json()) == found
    assert all(f"| run{i} |" in found.to_markdown() for i in range(3))


def test_pairs_of_numbers_are_refused_by_name() -> None:
    """A pair of something else than experiments is wrong input, said in words."""
    with pytest.raises(otr.ConfigurationError, match="A study takes experiments"):
        otr.study([([1.0, 2.0], [2.0, 3.0]), ([1.0, 2.0], [2.0, 3.0])])
