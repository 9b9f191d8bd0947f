"""What cannot be answered is None with a reason or a clear refusal: never NaN, never a traceback."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from frames import Rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import otel_research as otr
from otel_research.analysis.result import Result
from otel_research.errors import ResearchError

ARMS = ("a", "b")


def both(frame: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    return frame.filter(condition="a"), frame.filter(condition="b")


ANALYSES: dict[str, Callable[[pl.LazyFrame], Any]] = {
    "metrics": lambda rows: otr.calculate_metrics(rows),
    "metrics per trial": lambda rows: otr.calculate_metrics(rows, unit="trial"),
    "metrics by condition": lambda rows: otr.metrics_by(rows, "condition"),
    "compare": lambda rows: otr.compare(*both(rows)),
    "compare per call": lambda rows: otr.compare(*both(rows), unit="call", estimand="median", equivalence="5%"),
    "compare three": lambda rows: otr.compare(both(rows)[0], [both(rows)[1], rows]),
    "interim": lambda rows: otr.interim(*both(rows)),
    "anova": lambda rows: otr.anova(rows, "latency", "condition", posthoc="dunn"),
    "blocked anova": lambda rows: otr.anova(rows, "latency", "condition", block="item_id"),
    "study": lambda rows: otr.study([both(rows), both(rows)]),
    "power": lambda rows: otr.power(-0.1, pilot=rows),
    "validate": lambda rows: otr.validate(rows),
    "series": lambda rows: otr.time_series(rows, window="1s"),
}


def numbers_of(found: Any, path: str = "") -> list[tuple[str, float | None]]:
    if isinstance(found, dict):
        return [leaf for key, value in found.items() for leaf in numbers_of(value, f"{path}.{key}".lstrip("."))]
    if isinstance(found, (list, tuple)):
        return [leaf for at, value in enumerate(found) for leaf in numbers_of(value, f"{path}.{at}")]
    return [(path, found)] if found is None or isinstance(found, float) else []


def check(found: Any) -> None:
    """Every number is finite; a result reads back from its JSON, and says something as text."""
    if isinstance(found, dict):
        for one in found.values():
            check(one)
        return
    if isinstance(found, pl.DataFrame):
        assert not found.select(pl.col(pl.Float64).is_nan().any()).transpose().to_series().any()
        return
    assert isinstance(found, Result)
    for path, number in numbers_of(found.to_dict()):
        assert number is None or math.isfinite(number), f"{path} is {number}"
    text = found.to_json()
    assert type(found).from_json(text) == found
    assert str(found)
    assert found.to_markdown()
    assert found._repr_html_()
    rows = found.to_polars()
    assert not rows["value"].is_nan().any()


def answered(analysis: str, rows: pl.LazyFrame) -> Any:
    """The result, or the refusal as text; anything else that is raised fails the test."""
    try:
        return ANALYSES[analysis](rows)
    except ResearchError as refusal:
        return f"refused: {refusal}"


def frame(make: Callable[[Rows], None]) -> pl.LazyFrame:
    rows = Rows()
    make(rows)
    return rows.frame()


def trials(rows: Rows, n: int = 12, **fields: Any) -> None:
    for at in range(n):
        rows.trial(**{"duration_ms": 100.0 + at, "condition": ARMS[at % 2], "item_id": f"q{at // 2}", **fields})


def lasting(rows: Rows, *durations: float) -> None:
    """Trials and calls that say they took these times."""
    trials(rows)
    for at, row in enumerate(rows.rows):
        row["duration_ms"] = durations[at % len(durations)]


CASES: dict[str, pl.LazyFrame] = {
    "nothing": frame(lambda rows: None),
    "one span": frame(lambda rows: rows.call(condition="a") and None),
    "one trial each": frame(lambda rows: trials(rows, 2)),
    "three items": frame(lambda rows: trials(rows, 6)),
    "all failed": frame(lambda rows: trials(rows, status="error", error_type="E", call_status="error")),
    "all timeouts": frame(lambda rows: trials(rows, status="error", error_type="TimeoutError", error_kind="timeout")),
    "all interrupted": frame(lambda rows: trials(rows, duration_ms=None, status="interrupted")),
    "no cost": frame(lambda rows: trials(rows)),
    "constant latency": frame(lambda rows: trials(rows, duration_ms=100.0, call_usd=0.1)),
    "zero latency": frame(lambda rows: trials(rows, duration_ms=0.0)),
    "free": frame(lambda rows: trials(rows, call_usd=0.0)),
    "one condition": frame(lambda rows: trials(rows, condition="a")),
    "no condition": frame(lambda rows: trials(rows, condition=None)),
    "no weights": frame(lambda rows: trials(rows, sample_weight=None)),
    "unequal weights": frame(lambda rows: [rows.trial(50.0 + at, condition=ARMS[at % 2], sample_weight=1.0 + at) for at in range(9)] and None),
    "NaN and infinite": frame(lambda rows: lasting(rows, math.nan, math.inf)),
    "negative durations": frame(lambda rows: lasting(rows, -5.0)),
    "huge": frame(lambda rows: lasting(rows, 1e300)),
    "odd scores": frame(lambda rows: trials(rows) or ([rows.score("s", value, condition=arm) for arm in ARMS for value in (math.nan, math.inf, None, 1.0)] and None)),
}  # fmt: skip


@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_answered(case: str, analysis: str) -> None:
    """Each analysis of each hopeless experiment gives a result of finite numbers, or says why there is none."""
    found = answered(analysis, CASES[case])
    if not isinstance(found, str):
        check(found)


def test_a_missing_number_has_a_reason() -> None:
    """What is None in the metrics of an experiment that knows little says why, under its own path or its section's."""
    for name in ("nothing", "one span", "all failed", "no cost", "all interrupted"):
        metrics = otr.calculate_metrics(CASES[name])
        for path, number in numbers_of({key: metrics.to_dict()[key] for key in ("latency", "cost", "reliability")}):
            part = path.split(".")
            known = {".".join(part[:size]) for size in range(1, len(part) + 1)}
            if number is None and not path.endswith(("_text", ".high", ".low")):
                assert known & set(metrics.reasons), (name, path)


@pytest.mark.parametrize(
    ("one", "two"),
    [([1.0], [2.0]), ([], [1.0]), ([1.0, math.nan], [1.0, 2.0]), ([1.0, math.inf], [1.0, 2.0]), ([5.0] * 9, [5.0] * 9),
     ([0.0, 0.0, 1.0], [1.0, 1.0, 1.0]), ([1e300, 1e301], [1e300, 1e299])],
)  # fmt: skip
def test_plain_numbers_that_say_little(one: list[float], two: list[float]) -> None:
    """Sequences are compared, or refused in a sentence."""
    for options in ({}, {"paired": True}, {"estimand": "mean"}, {"estimand": "p99"}, {"metrics": "score"}):
        try:
            found = otr.compare(one, two, **options)
        except ResearchError:
            continue
        check(found)


NUMBER = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 100.0, -1.0, math.nan, math.inf, 1e12]), st.floats(0.01, 1e5))
TRIAL = st.fixed_dictionaries(
    {
        "duration_ms": st.one_of(st.sampled_from([0.0, 100.0]), st.floats(0.01, 1e5)),
        "condition": st.sampled_from(ARMS),
        "item_id": st.sampled_from([None, "q1", "q2", "q3"]),
        "repetition": st.integers(0, 2),
        "status": st.sampled_from(["ok", "ok", "error", "interrupted"]),
        "error_kind": st.sampled_from([None, "timeout", "other"]),
        "sample_weight": st.sampled_from([1.0, 1.0, 4.0, None]),
        "call_usd": st.one_of(st.none(), st.floats(0, 10)),
        "call_output_tokens": st.one_of(st.none(), st.integers(0, 10**6)),
        "score": NUMBER,
    }
)


@pytest.mark.parametrize("analysis", ["metrics per trial", "compare", "compare per call", "validate"])
@given(st.lists(TRIAL, min_size=1, max_size=14))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_number_of_every_result_is_finite_or_none(analysis: str, made: list[dict[str, Any]]) -> None:
    """Random small experiments with failures, timeouts, weights, holes and odd scores."""
    rows = Rows()
    for one in made:
        fields = dict(one)
        score = fields.pop("score")
        trial = rows.trial(**fields)
        rows.score("quality", score, trial_id=trial, condition=one["condition"], item_id=one["item_id"])
    found = answered(analysis, rows.frame())
    if not isinstance(found, str):
        check(found)


def test_a_baseline_that_may_be_zero_has_no_change_in_percent() -> None:
    """Resamples whose baseline quantile is 0 leave the interval out, with the reason; the p-value stands."""
    found = otr.compare([0.0] * 6 + [1.0] * 7, [2.0] * 13, estimand="median").effects["latency"]
    assert found.improvement_ci is None
    assert found.test.p_value is not None
    check(otr.compare([0.0] * 6 + [1.0] * 7, [2.0] * 13, estimand="median"))
