"""The same rows give the same bytes, in whatever order and pieces they are stored; every result comes back from its JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import Rows

from otel_research.analysis import engine
from otel_research.analysis.anova import anova
from otel_research.analysis.compare import compare
from otel_research.analysis.interim import interim
from otel_research.analysis.metrics import calculate_metrics, metrics_by
from otel_research.analysis.power import power
from otel_research.analysis.quality import validate
from otel_research.analysis.result import ROW_SCHEMA, Result
from otel_research.analysis.series import time_series
from otel_research.analysis.study import study
from otel_research.analysis.subject import Subject


def run() -> pl.DataFrame:
    """120 trials of two conditions with odd durations: sums in another order would end in other bits."""
    rng = np.random.default_rng(5)
    rows = Rows()
    for i in range(120):
        length = float(rng.lognormal(5, 0.6))
        rows.trial(
            length,
            calls=2,
            condition="ab"[i % 2],
            item_id=f"q{i // 4}",
            repetition=i % 4 // 2,
            call_usd=float(rng.random()) / 7,
            call_input_tokens=int(rng.integers(1, 999)),
            call_output_tokens=int(rng.integers(1, 99)),
            call_reported_cost_usd=float(rng.random()) / 7,
            call_status="error" if i % 17 == 0 else "ok",
        )
        if i % 3:
            rows.score("accuracy", float(rng.random()), trial_id=rows.rows[-3]["trial_id"], condition="ab"[i % 2])
    return rows.frame().collect()


def arms(subject: Subject) -> tuple[Subject, Subject]:
    return subject.where({"condition": "a"}), subject.where({"condition": "b"})


RESULTS: dict[str, Callable[[Subject], Result]] = {
    "metrics of calls": calculate_metrics,
    "metrics of trials": lambda rows: calculate_metrics(rows, unit="trial"),
    "comparison": lambda rows: compare(*arms(rows), seed=3),
    "comparison of calls": lambda rows: compare(*arms(rows), unit="call", paired=False),
    "anova": lambda rows: anova(rows, "latency", "condition"),
    "blocked anova": lambda rows: anova(rows, "latency", "condition", block="item_id"),
    "study": lambda rows: study([arms(rows), arms(rows)]),
    "power": lambda rows: power(-0.1, pilot=rows),
    "interim": lambda rows: interim(*arms(rows)),
    "quality": validate,
}


def orders() -> list[pl.LazyFrame]:
    """The rows as they came, shuffled, backwards, and in pieces of seven."""
    rows = run()
    pieces = [rows.slice(at, 7) for at in range(0, rows.height, 7)]
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=1)
    return [each.lazy() for each in (rows, shuffled, rows.reverse(), pl.concat(pieces, rechunk=False))]


@pytest.mark.parametrize("name", RESULTS)
def test_the_order_and_the_pieces_of_the_rows_change_no_byte(name: str) -> None:
    first, *others = [RESULTS[name](Subject(rows)).to_json() for rows in orders()]
    for other in others:
        assert other == first


def test_a_series_of_windows_is_the_same_in_any_order() -> None:
    first, *others = [time_series(Subject(rows), window="5s") for rows in orders()]
    assert first.height > 1
    for other in others:
        assert other.equals(first)


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_comes_back_from_json_and_shows_as_markdown_and_as_a_frame(name: str) -> None:
    result = RESULTS[name](Subject(run().lazy()))
    back = type(result).from_json(result.to_json())
    assert back == result
    assert back.to_json() == result.to_json()
    assert back.to_markdown() == result.to_markdown()
    assert back.to_markdown().startswith(f"**{type(result).__name__}")
    frame = back.to_polars()
    assert frame.schema == ROW_SCHEMA
    assert frame.equals(result.to_polars())
    assert frame.height
    assert not _odd(result.to_dict())


def _odd(node: Any) -> list[Any]:
    """Numbers that are not numbers."""
    if isinstance(node, dict):
        return [odd for part in node.values() for odd in _odd(part)]
    if isinstance(node, (list, tuple)):
        return [odd for part in node for odd in _odd(part)]
    return [node] if isinstance(node, float) and not math.isfinite(node) else []


def test_groups_taken_apart_have_the_bytes_of_groups_summed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large groups are summed one by one; a missing key, an unknown time and a timeout are in neither way something else."""
    rng = np.random.default_rng(6)
    rows = Rows()
    for at in range(300):
        length = None if at % 50 == 0 else float(rng.lognormal(5, 1))
        failed = {"status": "error", "error_type": "Timeout", "error_kind": "timeout"} if at % 40 == 1 else {}
        rows.call(length, condition=("a", "b", None)[at % 3], item_id=f"q{at % 7}", request_model=f"m{at % 2}",
                  usd=0.001 * at, input_tokens=at, output_tokens=2, **failed)  # fmt: skip
    together = metrics_by(rows.subject(), "condition", ci=False)
    monkeypatch.setattr(engine, "LARGE", 1)
    taken_apart = metrics_by(rows.subject(), "condition", ci=False)
    assert [found.to_json() for found in taken_apart.values()] == [found.to_json() for found in together.values()]
    assert set(taken_apart) == {"a", "b", None}
