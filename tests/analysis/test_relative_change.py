"""A change in percent is said of a baseline above 0 only; elsewhere the difference carries the verdict."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from frames import Rows
from rich.console import Console

from otel_research.analysis.compare import compare
from otel_research.analysis.comparison import Comparison
from otel_research.analysis.interim import interim
from otel_research.analysis.subject import Subject
from otel_research.errors import NotEnoughData
from otel_research.experiments import ExperimentRecord
from otel_research.report.comparison import comparison_block, improvement_of
from otel_research.report.figures import effects

RNG = np.random.default_rng(8)
LOW = RNG.normal(-10, 1, 60)
HIGH = RNG.normal(-8, 1, 60)


def drawn(block: Any) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(block)
    return console.file.getvalue()  # type: ignore[attr-defined]


def scores(baseline: Any, candidate: Any, *, paired: bool = False, **record: Any) -> tuple[Subject, Subject]:
    """Two arms whose trials have a score "reward"."""
    rows = Rows()
    for at, pair in enumerate(zip(baseline, candidate, strict=True)):
        for condition, value in zip("ab", pair, strict=True):
            item = f"q{at}" if paired else f"{condition}{at}"
            trial = rows.trial(100.0 + at, condition=condition, item_id=item)
            rows.score("reward", float(value), condition=condition, item_id=item, trial_id=trial)
    whole = Subject(rows.frame(), ExperimentRecord(id="e" * 32, name="run", **record))
    return whole.where({"condition": "a"}), whole.where({"condition": "b"})


@pytest.mark.parametrize("paired", [False, True])
def test_under_a_negative_baseline_the_difference_says_which_arm_is_better(*, paired: bool) -> None:
    """-10 to -8 is better where higher is, and no percentage of -10 says so."""
    found = compare(*scores(LOW, HIGH, paired=paired), metrics="reward")
    effect = found.effects["reward"]
    assert (found.verdict, effect.improvement_pct, effect.mean.percent, effect.mde_pct) == ("better", None, None, None)
    assert effect.gain == pytest.approx(HIGH.mean() - LOW.mean())
    assert effect.gain_ci is not None
    assert 1 < effect.gain_ci.low < effect.gain < effect.gain_ci.high < 3  # type: ignore[operator]
    for path in ("effects.reward.improvement_pct", "effects.reward.main.percent", "minimum_detectable_effect"):
        assert "not above 0" in found.reasons[path]
    assert compare(*scores(HIGH, LOW, paired=paired), metrics="reward").verdict == "worse"


def test_where_lower_is_better_a_fall_below_zero_is_an_improvement() -> None:
    found = compare(*scores(HIGH, LOW, direction={"reward": "lower"}), metrics="reward")
    assert found.verdict == "better"
    assert found.effects["reward"].gain > 0  # type: ignore[operator]


def test_a_baseline_on_both_sides_of_zero_has_a_percent_only_where_it_is_shown_to_be_above() -> None:
    around = RNG.normal(0.05, 1, 60)
    around += 0.05 - around.mean()
    unclear = compare(*scores(around, around + 2), metrics="reward")
    assert unclear.effects["reward"].improvement_pct is None
    assert "both sides of 0" in unclear.reasons["effects.reward.improvement_pct"]
    assert unclear.verdict == "better"
    clear = compare(*scores(around + 1, around + 2), metrics="reward").effects["reward"]
    assert clear.improvement_pct == pytest.approx(100 / 1.05)


def test_values_that_are_never_negative_have_a_percent_however_they_vary() -> None:
    """Three costs whose interval reaches below 0 are still money."""
    found = compare([0.001, 0.001, 0.4], [0.001, 0.002, 0.1], metrics="cost").effects["cost"]
    assert found.improvement_pct == pytest.approx(100 * (1 - 0.103 / 0.402))


def test_every_top_level_number_without_a_percent_says_why() -> None:
    found = compare(LOW, HIGH)
    assert (found.latency_improvement, found.latency_p99_improvement, found.verdict) == (None, None, "worse")
    assert "not above 0" in found.reasons["latency_improvement"]
    assert "not above 0" in found.reasons["latency_p99_improvement"]
    median = compare(LOW, HIGH, estimand="median")
    assert (median.latency_improvement, median.verdict) == (None, "worse")
    assert median.effects["latency"].gain_ci is not None


def test_a_gate_in_percent_refuses_and_one_in_the_own_unit_holds() -> None:
    found = compare(*scores(LOW, HIGH), metrics="reward")
    found.assert_improved()
    found.assert_improved(by_difference=1)
    with pytest.raises(AssertionError, match="no change in percent"):
        found.assert_improved(by=5)
    with pytest.raises(AssertionError, match="by at least 50"):
        found.assert_improved(by_difference=50)


def test_a_margin_in_percent_of_a_baseline_that_has_none_is_none_with_the_reason() -> None:
    found = compare(*scores(LOW, HIGH), metrics="reward", equivalence="5%")
    assert (found.effects["reward"].margin, found.effects["reward"].equivalence) == (None, None)
    assert "own unit" in found.reasons["effects.reward.margin"]
    assert "own unit" in found.reasons["effects.reward.equivalence"]
    assert (
        compare(*scores(LOW, LOW + RNG.normal(0, 0.1, 60), paired=True), metrics="reward", equivalence=1.0).verdict
        == "equivalent"
    )


def test_every_view_shows_the_difference_in_place_of_the_percent() -> None:
    found = compare(*scores(LOW, HIGH), metrics="reward")
    told = found.to_dict()
    assert improvement_of(told["effects"]["reward"]).startswith("2.15 better [")
    for text in (found.summary(), found.to_markdown(), found.methods, drawn(comparison_block(told))):
        assert "better" in text
        assert "% better" not in text
    assert "no outcome has a change in percent" in effects(told).caption
    assert Comparison.from_json(found.to_json()) == found


def test_a_look_at_a_negative_baseline_tells_the_difference() -> None:
    look = interim(*scores(LOW, HIGH, sample_size=60), metric="reward")
    assert (look.verdict, look.improvement_pct, look.improvement_ci) == ("better", None, None)
    assert look.gain == pytest.approx(HIGH.mean() - LOW.mean())
    assert look.gain_ci is not None
    assert "not above 0" in look.reasons["improvement_pct"]
    percent = interim(*scores(-LOW, -HIGH, sample_size=60), metric="reward")
    assert percent.improvement_pct == pytest.approx(100 * (HIGH.mean() / LOW.mean() - 1))
    with pytest.raises(NotEnoughData):
        interim(*scores(LOW[:1], HIGH[:1]), metric="reward")
