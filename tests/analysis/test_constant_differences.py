"""A difference that never varies is a finding, not a gap: exact tests by counting, an interval without width."""

from __future__ import annotations

import math

import numpy as np
import pytest

from otel_research.analysis.compare import compare
from otel_research.analysis.stats import constant


def test_a_constant_difference_of_pairs_is_judged_by_the_exact_sign_test() -> None:
    """12 pairs, all one second faster: p = 2^-11, and the interval is the difference."""
    slow = [float(100 + 7 * i) for i in range(12)]
    found = compare(slow, [x - 10 for x in slow], paired=True, estimand="mean")
    head = found.effects["latency"]
    assert found.verdict == "better"
    assert head.test.p_value == pytest.approx(2.0**-11)
    assert "sign test" in head.test.method
    assert head.mean.difference == pytest.approx(-10)
    assert (head.mean.ci["difference"].low, head.mean.ci["difference"].high) == (-10, -10)


def test_two_different_constants_are_judged_by_the_exact_permutation_test() -> None:
    """5 and 5 units: 2 of the 252 ways to deal them are as far apart."""
    found = compare([2.0] * 5, [3.0] * 5, metrics="cost")
    head = found.effects["cost"]
    assert head.test.p_value == pytest.approx(2 / math.comb(10, 5))
    assert found.verdict == "worse"
    assert head.improvement_pct == pytest.approx(-50)
    assert head.improvement_ci is not None
    assert (head.improvement_ci.low, head.improvement_ci.high) == (-50, -50)
    assert "no width" in head.improvement_ci.method


def test_a_constant_ratio_of_times_is_a_verdict_too() -> None:
    """Latency is compared on logarithms, where a constant factor is a constant difference."""
    slow = [float(100 + 7 * i) for i in range(12)]
    assert compare(slow, [x * 0.5 for x in slow], paired=True).verdict == "better"


def test_few_units_stay_inconclusive_however_constant() -> None:
    """Three of three heads happen: p = 1/4."""
    found = compare([2.0] * 3, [3.0] * 3, metrics="cost")
    assert found.effects["cost"].test.p_value == pytest.approx(0.1)
    assert found.verdict == "inconclusive"


def test_no_difference_at_all_has_no_test() -> None:
    """Two arms of one value are alike; nothing is claimed and the reason is kept."""
    found = compare([2.0] * 9, [2.0] * 9, metrics="cost")
    assert found.verdict == "inconclusive"
    assert "no variation" in found.reasons["effects.cost.test"]


def test_differences_that_vary_are_left_to_the_t_test() -> None:
    """Only what is equal up to the rounding of fractions counts as constant."""
    a = np.array([0.3, 0.5, 0.7])
    assert constant.paired(a, a - 0.1) is not None
    assert constant.paired(a, a - np.array([0.1, 0.1, 0.1000001])) is None
    assert constant.paired(a, a) is None
    assert constant.independent(a, a + 1) is None
