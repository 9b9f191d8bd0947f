"""`validate`: nothing found on clean data, every fault found where it was put."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import MS, Rows

from otel_research.analysis.quality import Quality, validate


def run(n: int = 120, seed: int = 0, order: str = "interleaved", **fields: Any) -> Rows:
    """Two conditions over 30 items in random order, calls inside trials."""
    rng = np.random.default_rng(seed)
    rows = Rows()
    plan = [(item, condition) for item in range(n) for condition in ("a", "b")]
    if order == "interleaved":
        plan = [plan[i] for i in rng.permutation(len(plan))]
    else:
        plan = sorted(plan, key=lambda pair: pair[1])
    for item, condition in plan:
        rows.trial(
            float(rng.lognormal(5, 0.4)),
            condition=condition,
            item_id=f"q{item % 30}",
            repetition=item // 30,
            call_usd=0.001,
            call_input_tokens=100,
            call_output_tokens=20,
            **fields,
        )
    return rows


def codes(found: Quality) -> set[str]:
    return {finding.code for finding in found.findings}


@pytest.mark.parametrize("seed", range(5))
def test_clean_data_has_no_findings_and_the_full_score(seed: int) -> None:
    found = validate(run(seed=seed).subject())
    assert codes(found) == set()
    assert found.data_quality_score == 100
    assert (found.total_events, found.missing_timestamps, found.missing_measurements) == (480, 0, 0)


def last_call(rows: Rows) -> dict[str, Any]:
    return rows.rows[-1]


def no_start(rows: Rows) -> None:
    last_call(rows)["start_ns"] = None


def no_tokens(rows: Rows) -> None:
    last_call(rows).update(input_tokens=None, output_tokens=None)


def ends_early(rows: Rows) -> None:
    row = last_call(rows)
    row.update(end_ns=row["start_ns"] - 5, duration_ms=None)


def cache_too_large(rows: Rows) -> None:
    last_call(rows)["cache_read_tokens"] = 101


def reasoning_too_large(rows: Rows) -> None:
    last_call(rows)["reasoning_tokens"] = 21


def late_first_token(rows: Rows) -> None:
    last_call(rows)["ttft_ms"] = 1e6


def twice(rows: Rows) -> None:
    rows.rows.append(dict(last_call(rows)))


def same_repetition(rows: Rows) -> None:
    trial = rows.rows[0]
    rows.trial(100.0, condition=trial["condition"], item_id=trial["item_id"], repetition=trial["repetition"],
               call_input_tokens=1, call_output_tokens=1)  # fmt: skip


def cached_answer(rows: Rows) -> None:
    for row in rows.rows[-4:]:
        row["response_id"] = "chatcmpl-1" if row["is_call"] else None


def no_parent(rows: Rows) -> None:
    last_call(rows)["parent_span_id"] = "f" * 16


def before_parent(rows: Rows) -> None:
    last_call(rows)["start_ns"] -= 2 * MS


def clock_back(rows: Rows) -> None:
    row = last_call(rows)
    row.update(mono_start_ns=0, mono_end_ns=row["end_ns"] - row["start_ns"] + 1000 * MS)


def cut_off(rows: Rows) -> None:
    last_call(rows).update(status="interrupted", end_ns=None, duration_ms=None)


def evicted(rows: Rows) -> None:
    last_call(rows)["dropped_attributes"] = 3


def hidden_weight(rows: Rows) -> None:
    last_call(rows)["sample_weight"] = None


def timed_out(rows: Rows) -> None:
    last_call(rows).update(status="error", error_type="APITimeoutError", error_kind="timeout")


def contradiction(rows: Rows) -> None:
    last_call(rows)["flags"] = "total_mismatch,stream_log"


def other_arm(rows: Rows) -> None:
    row = last_call(rows)
    row["condition"] = "b" if row["condition"] == "a" else "a"


def two_revisions(rows: Rows) -> None:
    for index, row in enumerate(rows.rows):
        row["response_model"] = f"gpt-x-{index % 4 // 2}" if row["is_call"] else None


def item_missing(rows: Rows) -> None:
    rows.rows[:] = [row for row in rows.rows if not (row["item_id"] == "q7" and row["condition"] == "b")]


def fewer_in_one_arm(rows: Rows) -> None:
    kept = {f"q{i}" for i in range(12)}
    rows.rows[:] = [row for row in rows.rows if row["condition"] == "a" or row["item_id"] in kept]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (no_start, "missing_timestamps"),
        (no_tokens, "missing_measurements"),
        (ends_early, "negative_duration"),
        (cache_too_large, "cache_exceeds_input"),
        (reasoning_too_large, "reasoning_exceeds_output"),
        (late_first_token, "ttft_exceeds_duration"),
        (twice, "duplicates"),
        (same_repetition, "duplicate_trials"),
        (cached_answer, "repeated_responses"),
        (no_parent, "orphans"),
        (before_parent, "clock_skew"),
        (clock_back, "clock_step"),
        (cut_off, "interrupted"),
        (evicted, "dropped_attributes"),
        (hidden_weight, "unweighted"),
        (timed_out, "censored"),
        (contradiction, "flag_total_mismatch"),
        (other_arm, "crossover"),
        (two_revisions, "model_revisions"),
        (item_missing, "missing_trials"),
        (fewer_in_one_arm, "imbalance"),
    ],
)
def test_each_fault_is_found_where_it_was_put(damage: Callable[[Rows], None], code: str) -> None:
    rows = run()
    damage(rows)
    found = validate(rows.subject())
    assert code in codes(found)
    assert all(finding.text and finding.count >= 0 for finding in found.findings)


def test_arms_one_after_the_other_are_found() -> None:
    assert "not_interleaved" in codes(validate(run(order="blocked").subject()))


def test_drift_and_dependence_in_time_are_found_with_the_effective_n() -> None:
    rng = np.random.default_rng(1)
    drifting, dependent = Rows(), Rows()
    noise = 0.0
    for i in range(400):
        drifting.call(float(rng.lognormal(5 + i / 400, 0.4)), input_tokens=1)
        noise = 0.7 * noise + float(rng.normal(0, 0.3))
        dependent.call(float(np.exp(5 + noise)), input_tokens=1)
    assert "drift" in codes(validate(drifting.subject()))
    found = validate(dependent.subject())
    assert "autocorrelation" in codes(found)
    assert found.effective_n is not None
    # AR(1) with rho .7: n (1 - rho) / (1 + rho) = 400 * 0.176
    assert found.effective_n == pytest.approx(400 * 0.3 / 1.7, rel=0.35)


def test_outliers_are_counted_on_the_log_scale_shown_beside_the_headline_and_never_removed() -> None:
    rng = np.random.default_rng(2)
    rows = Rows()
    for _ in range(1000):
        rows.call(float(rng.lognormal(5, 1)), input_tokens=1)
    assert validate(rows.subject()).outliers <= 5
    for _ in range(30):
        rows.call(1e6, input_tokens=1)
    found = validate(rows.subject())
    assert found.outliers >= 30
    assert "outliers" in codes(found)
    assert found.headline.n == 1030
    assert found.headline_without_outliers.n == 1030 - found.outliers
    assert found.headline_without_outliers.mean < found.headline.mean  # type: ignore[operator]


def test_the_score_is_the_product_of_its_components() -> None:
    rows = run()
    for row in rows.rows[: len(rows.rows) // 4]:
        row["start_ns"] = None
    found = validate(rows.subject())
    assert found.components["timestamps"] == pytest.approx(0.75)
    assert found.data_quality_score == pytest.approx(100 * np.prod(list(found.components.values())))


def test_lost_spans_are_an_error_that_costs_points() -> None:
    found = validate(run().subject(ledger={"lost": {"full": 480}}))
    assert found.findings[0].code == "lost"
    assert found.findings[0].severity == "error"
    assert found.components["capture"] == pytest.approx(0.5)


def test_no_rows_is_an_answer_too() -> None:
    found = validate(Rows().subject())
    assert found.total_events == 0
    assert found.headline.mean is None
    assert found.reasons["headline.mean"]


def test_a_quality_report_is_the_same_after_json() -> None:
    found = validate(run().subject())
    assert Quality.from_json(found.to_json()) == found


def test_keys_that_no_dialect_reads_are_named() -> None:
    """Attribute keys in no dialect are counted and named; a package's known losses are said."""
    told = '{"gen_ai.request.model":"m","new.dialect.0.key":1,"new.dialect.1.key":2}'
    rows = run(n=30)
    for one in rows.rows[-3:]:
        one |= {"attributes": told, "dialect": "genai", "scope": "opentelemetry.instrumentation.genai.dspy"}
    found = {finding.code: finding for finding in validate(rows.subject()).findings}
    assert found["unmapped_keys"].count == 1
    assert found["unmapped_keys"].examples == ("new.dialect.N.key",)
    assert "new.dialect.N.key (3)" in found["unmapped_keys"].text
    assert "embeddings give no span" in found["known_loss"].text


def test_rows_are_read_once_and_once_more_for_their_keys() -> None:
    """Reading an experiment marks and prices its calls: a million spans must not be read for every check."""
    made = Rows()
    for _ in range(20):
        made.call(dialect="gen_ai", input_tokens=3, output_tokens=2)
    plain, read = made.subject(), []
    counted = plain.spans.map_batches(lambda frame: read.append(1) or frame)
    assert validate(replace(plain, spans=counted)) == validate(plain)
    assert len(read) == 2


def test_keys_may_be_read_from_other_rows_than_the_numbers() -> None:
    """Whoever holds the rows without their attributes says where those are."""
    made = Rows()
    made.call(dialect="gen_ai", input_tokens=3, output_tokens=2, attributes='{"gen_ai.usage.dream_tokens": 4}')
    whole = made.subject()
    narrow = replace(whole, spans=whole.spans.with_columns(attributes=pl.lit(None, pl.String)))
    assert validate(narrow, attributes=whole.spans) == validate(whole)
    assert "unmapped_keys" in {found.code for found in validate(whole).findings}
