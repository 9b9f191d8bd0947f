"""Each wrong design is named by `compare` or `validate`; a clean one raises nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from frames import MS, Rows

import otel_research as otr
from otel_research.analysis.comparison import Comparison
from otel_research.analysis.subject import Subject

Change = Callable[[Rows], None]


def experiment(change: Change | None = None, *, drift: float = 0.0, in_blocks: bool = False, seed: int = 3) -> Subject:
    """30 items, 2 trials of each in either arm, in random order (or one arm after the other), a minute apart."""
    rng = np.random.default_rng(seed)
    plan = [(f"q{item}", arm, repetition) for item in range(30) for arm in "ab" for repetition in range(2)]
    order = sorted(range(120), key=lambda at: plan[at][1]) if in_blocks else rng.permutation(120)
    speed = dict(zip((f"q{item}" for item in range(30)), rng.normal(0, 0.4, 30), strict=True))
    rows = Rows()
    for place, at in enumerate(order):
        item, arm, repetition = plan[at]
        length = 200 * float(np.exp(speed[item] + rng.normal(0, 0.2) + drift * place))
        rows.now += 60_000 * MS
        rows.trial(length, condition=arm, item_id=item, repetition=repetition,
                   call_usd=0.001, call_input_tokens=10, call_output_tokens=5)  # fmt: skip
    if change is not None:
        change(rows)
    return rows.subject()


def failed(subject: Subject, **options: object) -> dict[str, str]:
    """The checks that `compare` fails, with what they say."""
    found: Comparison = otr.compare(
        subject.spans.filter(condition="a"), subject.spans.filter(condition="b"), metrics="latency", **options
    )
    return {check.name: check.severity for check in found.checks if not check.passed}


def found(subject: Subject) -> set[str]:
    """The findings of `validate`."""
    return {one.code for one in otr.validate(subject.spans).findings}


def calls_of(rows: Rows) -> list[dict[str, object]]:
    return [row for row in rows.rows if row["role"] == "call"]


def trials_of(rows: Rows) -> list[dict[str, object]]:
    return [row for row in rows.rows if row["role"] == "trial"]


def lose_slow_trials(rows: Rows) -> None:
    gone = {row["trial_id"] for row in trials_of(rows) if row["condition"] == "b" and row["duration_ms"] > 170}  # type: ignore[operator]
    rows.rows = [row for row in rows.rows if row["trial_id"] not in gone]


def lose_items(rows: Rows) -> None:
    rows.rows = [row for row in rows.rows if not (row["condition"] == "b" and row["item_id"] in ("q1", "q2", "q3"))]


def serve_two_revisions(rows: Rows) -> None:
    for at, row in enumerate(calls_of(rows)):
        row["response_model"] = "gpt-x-0801" if at > 60 else "gpt-x-0601"


def answer_from_a_cache(rows: Rows) -> None:
    for row in calls_of(rows):
        row["response_id"] = f"resp-{row['item_id']}"


def mix_conditions(rows: Rows) -> None:
    for row in calls_of(rows)[::10]:
        row["condition"] = "b" if row["condition"] == "a" else "a"


def repeat_a_repetition(rows: Rows) -> None:
    for row in trials_of(rows)[:20]:
        row["repetition"] = 0


@pytest.mark.parametrize("seed", range(4))
def test_a_clean_experiment_raises_nothing(seed: int) -> None:
    """No check fails and nothing is found; docs/calibration.md has how rarely that is otherwise."""
    clean = experiment(seed=seed)
    assert failed(clean) == {}
    assert found(clean) == set()


@pytest.mark.parametrize(
    ("change", "check", "finding"),
    [
        (lose_slow_trials, "sample_ratio", "imbalance"),
        (lose_items, "missing_items", "missing_trials"),
        (serve_two_revisions, "model_revisions", "model_revisions"),
        (answer_from_a_cache, None, "repeated_responses"),
        (mix_conditions, None, "crossover"),
        (repeat_a_repetition, "duplicates", "duplicate_trials"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_wrong_design_is_named(change: Change, check: str | None, finding: str) -> None:
    """By the check of a comparison that it spoils, and by the finding of the data's judge."""
    wrong = experiment(change)
    assert finding in found(wrong)
    if check is not None:
        assert check in failed(wrong)


def test_a_sample_ratio_mismatch_makes_a_comparison_invalid() -> None:
    """Something decided which trials arrived: no verdict about the arms can stand on that."""
    wrong = experiment(lose_slow_trials)
    compared = otr.compare(wrong.spans.filter(condition="a"), wrong.spans.filter(condition="b"))
    assert compared.verdict == "invalid"
    assert compared.exit_code == 3


def test_arms_one_after_the_other_under_drift_are_named() -> None:
    """A drift in time cannot be told from the treatment."""
    wrong = experiment(in_blocks=True, drift=0.004)
    assert "interleaved" in failed(wrong)
    assert "not_interleaved" in found(wrong)


def test_the_same_drift_in_random_order_is_no_fault_of_the_design() -> None:
    """The comparison stands; the drift itself is told."""
    drifting = experiment(drift=0.01)
    assert "interleaved" not in failed(drifting)
    assert "drift" in found(drifting)


def nested(n_trials: int, per_trial: int, **fields: object) -> Subject:
    """Trials without item ids, each of many calls that share the trial's speed; arms alternate."""
    rng, rows = np.random.default_rng(2), Rows()
    for trial in range(n_trials):
        speed = rng.normal(0, 0.8)
        for _ in range(per_trial):
            rows.call(
                100 * float(np.exp(speed + rng.normal(0, 0.1))),
                condition="ab"[trial % 2],
                trial_id=f"{trial:016x}",
                **fields,
            )
    return rows.subject()


def test_spans_of_one_trial_are_not_taken_as_independent() -> None:
    """40 trials of 20 calls: the standard error is that of 40 trials, not of 800 calls."""
    spans = nested(40, 20).spans
    a, b = spans.filter(condition="a"), spans.filter(condition="b")
    by_trial = otr.compare(a, b, unit="call", metrics="latency")
    effect = by_trial.effects["latency"]
    assert effect.design == "clustered"
    assert effect.n_items == 40
    independence = next(check for check in by_trial.checks if check.name == "independence")
    assert independence.text == "trials repeat: standard errors are by trial"
    alone = spans.with_columns(trial_id=None)
    naive = otr.compare(alone.filter(condition="a"), alone.filter(condition="b"), unit="call", metrics="latency")
    assert naive.effects["latency"].test.p_value < effect.test.p_value / 10  # type: ignore[operator]
    wide, narrow = (otr.calculate_metrics(rows).latency.ci["mean"] for rows in (spans, alone))  # type: ignore[union-attr]
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)  # type: ignore[operator]


def test_too_few_trials_to_judge_dependence_are_named() -> None:
    """800 calls of four trials: they are compared, but the comparison says what is wrong with that."""
    spans = nested(4, 200).spans
    assert failed(Subject(spans), unit="call")["independence"] == "warning"


def test_more_calls_do_not_make_more_items() -> None:
    """With item ids the unit may be the call: n_items stays the number of items."""
    subject = experiment()
    found = otr.compare(subject.spans.filter(condition="a"), subject.spans.filter(condition="b"), unit="call")
    assert found.effects["latency"].n_items == 30
