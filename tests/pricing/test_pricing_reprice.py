"""The same calls under another table: totals and whether the ranking of conditions survives."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from otel_research import pricing

SMALL = {"provider": "openai", "request_model": "gpt-4o-mini", "input_tokens": 1000, "output_tokens": 100}
LARGE = {"provider": "openai", "request_model": "gpt-4o", "input_tokens": 1000, "output_tokens": 100}


GONE = SMALL | {"request_model": "gpt-99"}


def arms(**more: Any) -> list[dict[str, Any]]:
    return [
        SMALL | {"condition": "cheap", "trial_id": "t1"} | more,
        LARGE | {"condition": "dear", "trial_id": "t2"} | more,
    ]


@pytest.fixture
def inverted(tmp_path: Path) -> pricing.PriceTable:
    path = tmp_path / "inverted.toml"
    path.write_text(
        "[[price]]\nmodel = 'gpt-4o-mini'\ninput = 10\noutput = 10\n[[price]]\nmodel = 'gpt-4o'\ninput = 1\noutput = 1\n"
    )
    return pricing.load(path)


def test_a_ranking_that_another_table_turns_over_is_said_to_change(calls: Any, inverted: pricing.PriceTable) -> None:
    """Totals under both tables are given per condition and model, and the verdict follows them."""
    result = pricing.reprice(calls(*arms()), inverted)
    assert result.ranking_before == ("cheap", "dear")
    assert result.ranking_after == ("dear", "cheap")
    assert result.ranking_survives is False
    assert [(row.key, row.before_usd, row.after_usd) for row in result.by_condition] == [
        ("cheap", (1000 * 150 + 100 * 600) / 1e9, 1100 * 10_000 / 1e9),
        ("dear", (1000 * 2_500 + 100 * 10_000) / 1e9, 1100 * 1_000 / 1e9),
    ]
    assert result.total.before_usd == sum(row.before_usd or 0 for row in result.by_condition)
    assert "changes: cheap < dear becomes dear < cheap" in result.to_markdown()


def test_the_same_table_keeps_the_ranking(calls: Any) -> None:
    """Under the same prices nothing changes."""
    result = pricing.reprice(calls(*arms()))
    assert result.ranking_survives is True
    assert result.total.change_percent == 0


def test_another_date_is_another_table(calls: Any) -> None:
    """`at` prices every call as of one day, given as a date, a datetime or nanoseconds."""
    row = LARGE | {"request_model": "o3", "condition": "a"}
    result = pricing.reprice(calls(row), at=date(2025, 1, 1))
    assert result.total.before_usd == (1000 * 2_000 + 100 * 8_000) / 1e9
    assert result.total.after_usd == (1000 * 10_000 + 100 * 40_000) / 1e9
    assert result.after.endswith("as of 2025-01-01")
    assert pricing.reprice(calls(row), at=datetime(2025, 1, 1)).total == result.total
    assert pricing.reprice(calls(row), at=1_735_689_600 * 10**9).total == result.total


def test_prices_without_a_date_are_told(calls: Any) -> None:
    """Where the table has one price for all times, a comparison over time says so, by model."""
    plain = LARGE | {"request_model": "gpt-3.5-turbo-instruct"}
    frame = calls(LARGE | {"request_model": "o3"}, plain, plain, GONE)
    assert pricing.undated(frame).rows() == [("openai", "gpt-3.5-turbo-instruct", 2)]
    (note,) = [note for note in pricing.reprice(frame, at=date(2025, 1, 1)).notes if "at every date" in note]
    assert note.startswith("2 calls have the same price at every date")
    assert not any("at every date" in note for note in pricing.reprice(frame).notes)


def test_trials_are_the_unit_where_every_call_has_one(calls: Any) -> None:
    """A condition that needs two calls per trial is ranked by what a trial costs."""
    rows = [*arms(), SMALL | {"condition": "cheap", "trial_id": "t1"}]
    by_trial = pricing.reprice(calls(*rows))
    assert (by_trial.unit, by_trial.by_condition[0].units) == ("trial", 1)
    assert by_trial.by_condition[0].before_per_unit_usd == by_trial.by_condition[0].before_usd
    by_call = pricing.reprice(calls(*rows, SMALL | {"condition": "cheap"}))
    assert (by_call.unit, by_call.by_condition[0].units) == ("call", 3)


def test_evaluation_calls_are_left_out(calls: Any) -> None:
    """The judge's cost is not the system's."""
    result = pricing.reprice(calls(*arms(), LARGE | {"condition": "cheap", "trial_id": "t1", "aside": "judge"}))
    assert result.total.calls == 2


def test_unpriced_calls_are_told_not_guessed(calls: Any, inverted: pricing.PriceTable) -> None:
    """A call that only one table can price is left out of the sums and named; a reported cost does not stand in."""
    stray = SMALL | {"request_model": "private", "condition": "cheap", "trial_id": "t1", "reported_cost_usd": 5.0}
    result = pricing.reprice(calls(*arms(), stray), inverted)
    assert result.by_condition[0].calls == 2
    assert result.by_condition[0].compared == 1
    assert any("no price under either table" in note for note in result.notes)
    assert [row.before_usd for row in result.by_model if row.key == "private"] == [None]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "fewer than two conditions"),
        ([SMALL], "fewer than two conditions"),
        (
            [SMALL | {"condition": "a"}, SMALL | {"condition": "b", "request_model": "private"}],
            "no call of b is priced",
        ),
    ],
)
def test_no_ranking_is_none_with_a_reason(calls: Any, rows: list[dict[str, Any]], reason: str) -> None:
    """Where there is nothing to rank the answer is None and says why."""
    result = pricing.reprice(calls(*rows))
    assert result.ranking_survives is None
    assert reason in (result.reason or "")
    assert reason in result.verdict()


def test_the_result_shows_in_every_form(calls: Any) -> None:
    """A result is plain JSON data, a frame and a Markdown table."""
    result = pricing.reprice(calls(*arms()))
    assert json.loads(json.dumps(result.to_dict()))["unit"] == "trial"
    assert result.to_polars()["what"].to_list() == ["total", "condition", "condition", "model", "model"]
    assert result.to_markdown().startswith("| | calls | genai-prices")
