"""Input that cannot be answered is refused with a reason: never NaN, never a warning, never scipy's traceback."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from otel_research.analysis.stats import (
    agreement,
    clusters,
    describe,
    effects,
    equivalence,
    groups,
    intervals,
    linear,
    meta,
    mixed,
    outliers,
    permutation,
    posthoc,
    ratios,
    sequential,
    series,
    survival,
    two_samples,
)
from otel_research.errors import ConfigurationError, NotEnoughData

SAMPLES = {
    "empty": [],
    "one value": [5.0],
    "two equal": [5.0, 5.0],
    "constant": [5.0] * 12,
    "zeros": [0.0] * 12,
    "NaN inside": [1.0, float("nan"), 3.0, 4.0],
    "infinite": [1.0, float("inf"), 3.0, 4.0],
    "negative": [-1.0, -2.0, -3.0, -4.0, -5.0],
    "huge": [1e300, 2e300, 3e300, 1e300],
    "tiny spread": [1e9, 1e9 + 1e-7, 1e9, 1e9 + 2e-7],
    "ordinary": [3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 5.0],
}

ONE: dict[str, Callable[[Any], Any]] = {
    "describe": describe.describe,
    "moments": describe.moments,
    "geomean": describe.geomean,
    "shape": describe.shape,
    "quantile_interval": lambda x: describe.quantile_interval(x, 0.5),
    "harrell_davis": lambda x: describe.harrell_davis(x, [0.5]),
    "one_sample_t": two_samples.one_sample_t,
    "bootstrap": lambda x: intervals.bootstrap(x, describe.mean, n_resamples=50),
    "bootstrap_quantile": lambda x: intervals.bootstrap_quantile(x, 0.9, n_resamples=50),
    "clustered_mean": lambda x: clusters.clustered_mean(x, np.arange(len(x)) // 2),
    "clustered_test": lambda x: clusters.clustered_test(x, np.arange(len(x)) // 2),
    "variance_components": lambda x: agreement.variance_components(x, np.arange(len(x)) // 2),
    "autocorrelation": series.autocorrelation,
    "ljung_box": lambda x: series.ljung_box(x, 1),
    "effective_n": series.effective_n,
    "trend": series.trend,
    "change_points": series.change_points,
    "fences": outliers.fences,
    "modified_z": outliers.modified_z,
    "grubbs": outliers.grubbs,
    "generalised_esd": lambda x: outliers.generalised_esd(x, 1),
    "kaplan_meier": lambda x: survival.kaplan_meier_quantile(x, np.arange(len(x)) % 2 == 0, 0.5),
    "kaplan_meier, all censored": lambda x: survival.kaplan_meier_quantile(x, np.zeros(len(x), bool), 0.5),
    "one_way": lambda x: groups.one_way([x, x]),
    "factorial": lambda x: linear.factorial(x, {"f": ["a", "b"] * (len(x) // 2) + ["a"] * (len(x) % 2)}),
    "mixed": lambda x: mixed.mixed(x, {"x": list(range(len(x)))}, [i % 2 for i in range(len(x))]),
    "repeated": lambda x: mixed.repeated(x, [i // 2 for i in range(len(x))], {"c": [i % 2 for i in range(len(x))]}),
    "random_effects": lambda x: meta.random_effects(x, np.abs(x)),
}

TWO: dict[str, Callable[[Any, Any], Any]] = {
    "welch": two_samples.welch,
    "pooled_t": two_samples.pooled_t,
    "paired_t": two_samples.paired_t,
    "log_welch": two_samples.log_welch,
    "log_paired_t": two_samples.log_paired_t,
    "mann_whitney": two_samples.mann_whitney,
    "wilcoxon": two_samples.wilcoxon,
    "brunner_munzel": two_samples.brunner_munzel,
    "permutation": lambda a, b: permutation.permutation(a, b, n_resamples=50),
    "permutation_paired": lambda a, b: permutation.permutation_paired(a, b, n_resamples=50),
    "relative_change": ratios.relative_change,
    "paired_relative_change": ratios.paired_relative_change,
    "ratio_of_means": ratios.ratio_of_means,
    "ratio_change": lambda a, b: ratios.ratio_change(a, a, b, b),
    "cohens_d": effects.cohens_d,
    "cohens_d_paired": effects.cohens_d_paired,
    "cliffs_delta": effects.cliffs_delta,
    "tost": lambda a, b: equivalence.tost(a, b, -1, 1),
    "bootstrap_quantile_difference": lambda a, b: intervals.bootstrap_quantile_difference(a, b, 0.5, n_resamples=50),
    "relative quantile": lambda a, b: intervals.bootstrap_quantile_difference(a, b, 0.5, relative=True, n_resamples=50),
    "clustered_welch": lambda a, b: clusters.clustered_welch(a, np.arange(len(a)) // 2, b, np.arange(len(b)) // 2),
    "clustered_difference": lambda a, b: clusters.clustered_difference(a, np.arange(len(a)), b, np.arange(len(b))),
    "cuped": clusters.cuped,
    "kruskal": lambda a, b: groups.kruskal([a, b]),
    "welch_f": lambda a, b: groups.welch_f([a, b]),
    "levene": lambda a, b: groups.levene([a, b]),
    "bartlett": lambda a, b: groups.bartlett([a, b]),
    "fligner": lambda a, b: groups.fligner([a, b]),
    "tukey": lambda a, b: posthoc.tukey({"a": a, "b": b}),
    "games_howell": lambda a, b: posthoc.games_howell({"a": a, "b": b}),
    "dunnett": lambda a, b: posthoc.dunnett({"a": a, "b": b}, "a"),
    "dunn": lambda a, b: posthoc.dunn({"a": a, "b": b}),
    "log_rank": lambda a, b: survival.log_rank(a, np.ones(len(a)), b, np.ones(len(b))),
}


def numbers(result: Any) -> list[float]:
    """Every number inside a result."""
    if isinstance(result, np.ndarray):
        return [float(x) for x in result.ravel()]
    if isinstance(result, (bool, str, type(None))):
        return []
    if isinstance(result, (int, float)):
        return [float(result)]
    if dataclasses.is_dataclass(result):
        result = [
            getattr(result, each.name) for each in dataclasses.fields(result) if each.name not in ("model", "columns")
        ]
    if isinstance(result, msgspec.Struct):
        result = msgspec.structs.asdict(result)
    if isinstance(result, dict):
        result = list(result.values())
    return [x for each in result for x in numbers(each)]


def check(call: Callable[[], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = numbers(call())
        except (NotEnoughData, ConfigurationError) as refusal:
            reason = str(refusal)
            found = [0.0] if len(reason) > 20 else []
    assert found, "neither a number nor a reason"
    assert all(math.isfinite(x) for x in found), found


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("name", ONE)
def test_one_sample(name: str, kind: str):
    """A function of one sample answers with finite numbers or refuses with a reason."""
    check(lambda: ONE[name](SAMPLES[kind]))


@pytest.mark.parametrize("first", SAMPLES)
@pytest.mark.parametrize("name", TWO)
def test_two_samples(name: str, first: str):
    """A function of two samples does so whatever the two are."""
    for second in SAMPLES.values():
        check(lambda second=second: TWO[name](SAMPLES[first], second))


@pytest.mark.parametrize("call", [describe.mean, two_samples.one_sample_t, series.autocorrelation])
def test_nan_is_named(call: Callable[[Any], Any]):
    """A NaN is refused with how many there are."""
    with pytest.raises(NotEnoughData, match=r"1 of 4 values .* NaN"):
        call(SAMPLES["NaN inside"])


def test_text_is_not_numbers():
    """Text where numbers belong is a clear error."""
    with pytest.raises(ConfigurationError, match="not a sequence of numbers"):
        describe.mean(["fast", "slow"])


def test_confidence_in_percent_is_refused():
    """95 is not a confidence level; 0.95 is."""
    with pytest.raises(ConfigurationError, match=r"Use 0\.95"):
        two_samples.welch([1, 2, 3], [2, 3, 4], confidence=95)


def test_a_sequence_needs_variation():
    """A confidence sequence without spread is refused."""
    with pytest.raises(NotEnoughData):
        sequential.confidence_sequence(0.0, 0.0, 100, tuning=100)


@pytest.mark.parametrize("fractions", [[], [0.5, 0.4], [0.0, 1.0], [0.5, 1.2]])
def test_looks_have_to_increase(fractions: list[float]):
    """Looks are increasing fractions of the declared n."""
    with pytest.raises(ConfigurationError):
        sequential.spending_boundary(fractions)
