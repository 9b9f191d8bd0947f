"""`compare`: the numbers of scipy, the design from the data, and a verdict that can be trusted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from frames import Rows
from scipy import stats

from otel_research.analysis.compare import compare
from otel_research.analysis.comparison import Comparison
from otel_research.analysis.subject import Subject
from otel_research.errors import ConfigurationError, ResearchError
from otel_research.experiments import ExperimentRecord

RNG = np.random.default_rng(1)
A, B = RNG.lognormal(6, 0.5, 120), RNG.lognormal(5.8, 0.5, 150)


def record(**fields: Any) -> ExperimentRecord:
    return ExperimentRecord(id="e" * 32, name="run", **fields)


def run(
    effect: float = 1.0, items: int = 40, repetitions: int = 2, seed: int = 1, spread: float = 0.3, **fields: Any
) -> Rows:
    """Two conditions over shared items in random order; "b" takes `effect` times as long."""
    rng = np.random.default_rng(seed)
    level = rng.lognormal(5, 0.8, items)
    plan = [(i, k, c) for i in range(items) for k in range(repetitions) for c in ("a", "b")]
    rows = Rows()
    for at in rng.permutation(len(plan)):
        item, repetition, condition = plan[at]
        length = level[item] * rng.lognormal(0, spread) * (effect if condition == "b" else 1)
        rows.trial(float(length), condition=condition, item_id=f"q{item}", repetition=repetition, **fields)
    return rows


def arms(rows: Rows, **options: Any) -> tuple[Subject, Subject]:
    subject = rows.subject(**options)
    return subject.where({"condition": "a"}), subject.where({"condition": "b"})


def test_plain_numbers_give_scipys_tests_and_the_textbook_effect_sizes() -> None:
    found = compare(A, B)
    latency = found.effects["latency"]
    log = stats.ttest_ind(np.log(B), np.log(A), equal_var=False)
    assert found.statistical_test.p_value == pytest.approx(log.pvalue)
    assert found.statistical_test.p_adjusted == pytest.approx(log.pvalue)
    ratio = stats.gmean(B) / stats.gmean(A)
    assert found.latency_improvement == pytest.approx(100 * (1 - ratio))
    bounds = log.confidence_interval()
    assert latency.improvement_ci is not None
    assert latency.improvement_ci.low == pytest.approx(100 * (1 - np.exp(bounds.high)))
    assert latency.improvement_ci.high == pytest.approx(100 * (1 - np.exp(bounds.low)))
    assert latency.tests["welch"].p_value == pytest.approx(stats.ttest_ind(B, A, equal_var=False).pvalue)
    assert latency.tests["brunner_munzel"].p_value == pytest.approx(stats.brunnermunzel(B, A).pvalue)
    u = stats.mannwhitneyu(B, A, method="asymptotic")
    assert latency.tests["mann_whitney"].p_value == pytest.approx(u.pvalue)
    pooled = np.sqrt((119 * A.var(ddof=1) + 149 * B.var(ddof=1)) / 268)
    assert found.effect_size.cohens_d == pytest.approx((B.mean() - A.mean()) / pooled)
    assert found.effect_size.cliffs_delta == pytest.approx(2 * u.statistic / (120 * 150) - 1)
    assert latency.mean.difference == pytest.approx(B.mean() - A.mean())


def test_swapping_the_arms_swaps_every_sign() -> None:
    there, back = compare(A, B), compare(B, A)
    assert there.effect_size.cohens_d == pytest.approx(-back.effect_size.cohens_d)  # type: ignore[operator]
    assert there.statistical_test.p_value == pytest.approx(back.statistical_test.p_value)
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert (there.exit_code, back.exit_code) == (0, 1)


def test_other_estimands_have_their_own_tests() -> None:
    mean = compare(A, B, estimand="mean")
    assert mean.statistical_test.p_value == pytest.approx(stats.ttest_ind(B, A, equal_var=False).pvalue)
    assert mean.latency_improvement == pytest.approx(100 * (1 - B.mean() / A.mean()))
    median = compare(A, B, estimand="median")
    assert median.latency_improvement == pytest.approx(100 * (1 - np.median(B) / np.median(A)))
    assert median.effects["latency"].improvement_ci is not None
    p99 = compare(A, B, estimand="p99")
    assert p99.effects["latency"].improvement_ci is None
    assert "396" in p99.reasons["effects.latency.improvement_ci"]
    assert p99.verdict == "inconclusive"


def test_quantile_differences_carry_intervals_only_where_n_allows() -> None:
    changes = compare(A, B).effects["latency"].quantiles
    assert changes["p95"].difference == pytest.approx(np.quantile(B, 0.95) - np.quantile(A, 0.95))
    assert changes["p95"].ci["difference"].low is not None
    assert changes["p99"].ci == {}


def test_shared_items_are_paired_and_repetitions_averaged() -> None:
    found = compare(*arms(run(effect=0.85)))
    latency = found.effects["latency"]
    assert (found.unit, latency.design, latency.n, latency.n_items) == ("trial", "paired", (80, 80), 40)
    frame = run(effect=0.85).frame().collect().filter(role="trial")
    means = {
        c: frame.filter(condition=c).group_by("item_id").agg(x=frame["duration_ms"].log().alias("x").mean())
        for c in "ab"
    }
    assert means["a"].height == 40
    table = frame.with_columns(log=frame["duration_ms"].log()).pivot(
        "condition", index="item_id", values="log", aggregate_function="mean"
    )
    expected = stats.ttest_rel(table["b"].to_numpy(), table["a"].to_numpy())
    assert found.statistical_test.p_value == pytest.approx(expected.pvalue)
    assert found.verdict == "better"


def test_pairing_finds_what_unpaired_units_hide() -> None:
    paired, unpaired = (compare(*arms(run(effect=0.8, items=60)), paired=how) for how in (True, False))
    assert paired.statistical_test.p_value < 0.01 < unpaired.statistical_test.p_value  # type: ignore[operator]
    assert unpaired.effects["latency"].design == "clustered"


def test_repeated_items_are_not_taken_as_independent() -> None:
    """A/A with 10 trials of 12 items per arm: spans as units would find an effect a third of the time."""
    wins = naive = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows, values = Rows(), {"a": [], "b": []}
        for item in range(24):
            condition = "a" if item < 12 else "b"
            level = float(rng.lognormal(5, 0.6))
            for _ in range(10):
                value = level * float(rng.lognormal(0, 0.2))
                values[condition].append(value)
                rows.trial(value, condition=condition, item_id=f"q{item}")
        found = compare(*arms(rows), metrics=["latency"])
        assert found.effects["latency"].design == "clustered"
        wins += found.statistical_test.significant is True
        naive += compare(values["a"], values["b"]).statistical_test.significant is True
    assert naive > 10
    # 30 runs at a true 5 %: more than 6 has probability 0.1 %.
    assert wins <= 6


def test_cost_tokens_reliability_and_scores_are_outcomes() -> None:
    rng = np.random.default_rng(2)
    rows = Rows()
    for item in range(100):
        for condition in ("a", "b"):
            failed = rng.random() < (0.05 if condition == "a" else 0.3)
            trial = rows.trial(
                float(rng.lognormal(5, 0.3)),
                condition=condition,
                item_id=f"q{item}",
                call_usd=float(rng.uniform(1, 2)) * (1.5 if condition == "b" else 1),
                call_input_tokens=100,
                call_output_tokens=int(rng.integers(10, 20)),
                status="error" if failed else "ok",
                error_type="Wrong" if failed else None,
            )
            rows.score("grade", float(rng.normal(3 if condition == "a" else 3.6, 1)), trial_id=trial, condition=condition,
                       item_id=f"q{item}")  # fmt: skip
    found = compare(*arms(rows))
    assert set(found.effects) == {"latency", "cost", "tokens", "success_rate", "grade"}
    assert found.cost_change == pytest.approx(50, abs=12)
    assert found.effects["cost"].verdict == "worse"
    rate = found.effects["success_rate"]
    assert found.reliability_delta == pytest.approx(rate.main.candidate - rate.main.baseline)  # type: ignore[operator]
    assert (rate.test.name, rate.verdict) == ("McNemar exact", "worse")
    assert found.effects["grade"].direction == "higher"
    assert found.effects["grade"].improvement_pct > 0  # type: ignore[operator]
    assert found.cost_per_success_change > found.cost_change  # type: ignore[operator]
    # Holm over five outcomes: no adjusted p below its own, the smallest one times five.
    raw = {name: e.test.p_value for name, e in found.effects.items() if e.test.p_value is not None}
    smallest = min(raw, key=lambda name: raw[name])
    assert found.effects[smallest].test.p_adjusted == pytest.approx(min(1, len(raw) * raw[smallest]))


def test_declared_outcomes_are_the_family_and_the_headline() -> None:
    rows = run(effect=0.8, call_usd=0.01)
    declared = record(primary=("success_rate", "latency"), direction={"latency": "higher"})
    found = compare(*arms(rows, record=declared))
    assert found.headline == "success_rate"
    assert [name for name, e in found.effects.items() if e.is_primary] == ["latency", "success_rate"]
    assert found.effects["latency"].verdict == "worse"


def test_no_difference_is_inconclusive_and_says_what_could_have_been_found() -> None:
    found = compare(*arms(run(effect=1.0)))
    assert found.verdict == "inconclusive"
    assert found.exit_code == 3
    assert found.minimum_detectable_effect is not None
    assert 0 < found.minimum_detectable_effect < 50


def test_equivalence_is_shown_only_inside_the_margin() -> None:
    sides = arms(run(effect=1.0, items=200, spread=0.1))
    assert compare(*sides, equivalence="10%").verdict == "equivalent"
    assert compare(*sides, equivalence="0.1%").verdict == "inconclusive"
    assert compare(*sides, equivalence={"latency": 50.0}).effects["latency"].verdict == "equivalent"
    declared = arms(run(effect=1.0, items=200, spread=0.1), record=record(margin={"latency": 50.0}))
    assert compare(*declared).effects["latency"].verdict == "equivalent"
    with pytest.raises(ConfigurationError, match="neither a number nor a percentage"):
        compare(*sides, equivalence="small")


def test_better_on_one_outcome_and_worse_on_another_is_a_trade_off() -> None:
    rows = run(effect=0.7, items=60)
    for row in rows.rows:
        if row["is_call"]:
            row.update(cost_usd=0.02 if row["condition"] == "b" else 0.01)
            row["cost_nano_usd"] = round(row["cost_usd"] * 1e9) + int(row["span_id"], 16) % 100_000
    found = compare(*arms(rows))
    assert (found.effects["latency"].verdict, found.effects["cost"].verdict) == ("better", "worse")
    assert found.verdict == "inconclusive"
    assert "trade_off" in {warning.code for warning in found.warnings}
    assert compare(*arms(rows), metrics=["latency"]).verdict == "better"


def test_before_the_declared_n_there_is_no_p_value_and_the_interval_holds_at_every_look() -> None:
    early = compare(*arms(run(effect=0.95), record=record(sample_size=500)), metrics="latency")
    assert early.statistical_test.p_value is None
    assert "sequence" in early.effects["latency"].improvement_ci.method  # type: ignore[union-attr]
    reached = compare(*arms(run(effect=0.95), record=record(sample_size=80)), metrics="latency")
    assert reached.statistical_test.p_value is not None
    wide, narrow = (each.effects["latency"].improvement_ci for each in (early, reached))
    assert wide.high - wide.low > narrow.high - narrow.low  # type: ignore[union-attr,operator]


def failed(found: Comparison) -> set[str]:
    return {check.name for check in found.checks if not check.passed}


def test_a_clean_design_passes_every_check() -> None:
    assert failed(compare(*arms(run()))) == set()


def test_a_sample_ratio_mismatch_makes_the_comparison_invalid() -> None:
    rows = run(items=100)
    rng = np.random.default_rng(3)
    gone = {row["trial_id"] for row in rows.rows if row["condition"] == "b" and rng.random() < 0.5}
    rows.rows = [row for row in rows.rows if row["trial_id"] not in gone]
    found = compare(*arms(rows))
    assert (found.verdict, found.exit_code) == ("invalid", 3)
    assert "sample_ratio" in failed(found)


def test_arms_one_after_the_other_under_drift_are_noticed() -> None:
    rng = np.random.default_rng(4)
    rows = Rows()
    for i in range(200):
        rows.trial(float(rng.lognormal(5 + i / 200, 0.2)), condition="a" if i < 100 else "b", item_id=f"q{i}")
    assert "interleaved" in failed(compare(*arms(rows)))


def test_the_same_units_on_both_sides_make_the_comparison_invalid() -> None:
    subject = run().subject()
    found = compare(subject, subject)
    assert "crossover" in failed(found)
    assert found.verdict == "invalid"


def test_missing_items_timeouts_interruptions_and_losses_are_noticed() -> None:
    rows = run()
    rows.rows = [row for row in rows.rows if not (row["item_id"] == "q3" and row["condition"] == "b")]
    rows.rows[0].update(status="error", error_type="APITimeoutError", error_kind="timeout")
    rows.trial(None, calls=0, condition="a", item_id="q1", repetition=9, status="interrupted")
    found = compare(*arms(rows, ledger={"lost": {"full": 2}}))
    assert {"missing_items", "censoring", "interrupted", "lost"} <= failed(found)


def test_mixed_served_models_are_noticed() -> None:
    rows = run()
    for index, row in enumerate(rows.rows):
        row["response_model"] = f"gpt-x-{index % 3}" if row["is_call"] else None
    assert "model_revisions" in failed(compare(*arms(rows)))


def test_items_tell_their_variance_what_flipped_with_both_outputs_and_pass_at_k() -> None:
    rng = np.random.default_rng(5)
    rows = Rows()
    for item in range(20):
        for repetition in range(4):
            for condition in ("a", "b"):
                # Item 0 flips to wrong, item 1 to right; the others succeed half of the time or always.
                right = {0: condition == "a", 1: condition == "b"}.get(item, bool(item % 2 or rng.random() < 0.5))
                trial = rows.trial(100.0 * (item + 1), condition=condition, item_id=f"q{item:02}", repetition=repetition,
                                   call_attributes=json.dumps({"output.value": f"{condition}-{item}"}))  # fmt: skip
                rows.score("right", float(right), trial_id=trial, condition=condition, item_id=f"q{item:02}")
    found = compare(*arms(rows)).items["right"]
    flips = {flip.item: flip for flip in found.flips}
    assert found.flips[0].item == "q00"
    assert (flips["q00"].baseline, flips["q00"].candidate) == (1.0, 0.0)
    assert (flips["q01"].baseline_output, flips["q01"].candidate_output) == ("a-1", "b-1")
    assert [at.k for at in found.pass_at] == [1, 2, 4]
    assert found.pass_at[0].baseline < found.pass_at[-1].baseline
    assert found.icc is not None
    assert 0 < found.icc < 1


def test_several_candidates_are_ranked_corrected_together_and_tied_ones_named() -> None:
    rng = np.random.default_rng(6)
    base, same, fast = rng.lognormal(5, 0.3, 100), rng.lognormal(4.7, 0.3, 100), rng.lognormal(4.69, 0.3, 100)
    found = compare(base, [same, fast, base + 1])
    assert found.verdict == "better"
    assert len(found.others) == 2
    assert set(found.tied_with_best) == {"candidate 1", "candidate 2"}
    alone = compare(base, fast).statistical_test.p_value
    best = min([found, *found.others], key=lambda each: each.statistical_test.p_value or 1)
    assert best.statistical_test.p_adjusted == pytest.approx(3 * best.statistical_test.p_value)  # type: ignore[operator]
    assert alone is not None
    expected = stats.dunnett(np.log(same), np.log(fast), np.log(base + 1), control=np.log(base)).pvalue
    got = {each.candidate: each.effects["latency"].tests["dunnett"].p_value for each in [found, *found.others]}
    assert [got[f"candidate {i}"] for i in (1, 2, 3)] == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("seed", [8, 10, 16, 28])
def test_of_equal_conditions_the_last_is_no_worse_than_the_best(seed: int) -> None:
    """Which of 13 looks best is seen in the same data: corrected over its own comparisons alone one would be left out."""
    arms = np.random.default_rng(seed).lognormal(5, 0.5, (13, 30))
    ordered = sorted(arms, key=lambda arm: float(np.log(arm).mean()))
    p = stats.ttest_ind(np.log(ordered[0]), np.log(ordered[-1]), equal_var=False).pvalue
    assert p < 0.05 / 12
    assert len(compare(arms[0], list(arms[1:])).tied_with_best) == 13


def test_sequences_of_equal_length_may_be_paired() -> None:
    a = np.array([100.0, 200.0, 300.0, 400.0, 500.0])
    b = a * np.array([0.9, 0.92, 0.88, 0.91, 0.93])
    found = compare(a, b, paired=True)
    assert found.statistical_test.p_value == pytest.approx(stats.ttest_rel(np.log(b), np.log(a)).pvalue)
    assert compare(a, b).verdict == "inconclusive"


def test_summary_and_methods_say_what_was_done_with_n_and_versions() -> None:
    found = compare(*arms(run(effect=0.8), label="run"))
    assert "BETTER" in found.summary()
    assert "n = 80 / 80" in found.summary()
    for part in ("per trial", "40 items", "Holm", "scipy", "paired"):
        assert part in found.methods, part
    assert found.to_polars().height > 20


def test_assert_improved_passes_fails_and_names_what_it_does_not_know() -> None:
    found = compare(A, B)
    found.assert_improved()
    found.assert_improved("latency", by=1)
    with pytest.raises(AssertionError, match="by at least 50 %"):
        found.assert_improved(by=50)
    with pytest.raises(AssertionError, match="WORSE"):
        compare(B, A).assert_improved()
    with pytest.raises(ResearchError, match="'cost' was not compared"):
        found.assert_improved("cost")


def test_a_comparison_is_the_same_after_json_and_the_same_seed_gives_the_same_bytes() -> None:
    first, again = (compare(*arms(run(seed=3)), seed=5) for _ in range(2))
    assert first.to_json() == again.to_json()
    assert Comparison.from_json(first.to_json()) == first


def test_heavy_tailed_null_arms_of_unequal_size_keep_the_level() -> None:
    """300 A/A runs of 30 against 150 units: at most 7 % false claims within Monte Carlo error."""
    rng = np.random.default_rng(7)
    wins = sum(
        compare(rng.lognormal(6, 1, 30), rng.lognormal(6, 1, 150)).statistical_test.significant is True
        for _ in range(300)
    )
    assert wins <= 300 * 0.05 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_candidates_are_ranked_by_the_difference_where_the_baseline_is_zero() -> None:
    """There is no percent of a mean of 0; the one that is worse must not look best."""
    base = np.array([-1.0, 1.0] * 20)
    found = compare(base, [base - 5, base + 5, base + 4], metrics=("score",))
    assert found.effects["score"].improvement_pct is None
    assert [each.candidate for each in (found, *found.others)] == ["candidate 2", "candidate 3", "candidate 1"]
    assert found.tied_with_best == ("candidate 2",)
    assert compare(base, [base - 5, base - 4], metrics=("score",)).tied_with_best == ("baseline",)
