"""Every result keeps the contract: nothing but finite numbers, reasons for what is missing, the same bytes again."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import polars as pl
import pytest
from frames import Rows
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_research.analysis.compare import compare
from otel_research.analysis.metrics import Metrics, calculate_metrics
from otel_research.analysis.quality import validate
from otel_research.analysis.result import Interval, Result, Warn, finite, number
from otel_research.analysis.subject import Subject
from otel_research.errors import NotEnoughData, ResearchError


class Small(Result, frozen=True, kw_only=True):
    value: float | None = None
    ci: dict[str, Interval] = msgspec.field(default_factory=dict)
    names: dict[str, Any] = msgspec.field(default_factory=dict)


def small(**fields: Any) -> Small:
    given = {"estimand": "x", "unit": "call", "n": 3, "n_units": 3, "method": "small/1"}
    return Small(**(given | fields))


def leaves(node: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        return [leaf for key, part in node.items() for leaf in leaves(part, f"{path}.{key}" if path else key)]
    if isinstance(node, list):
        return [leaf for index, part in enumerate(node) for leaf in leaves(part, f"{path}[{index}]")]
    return [(path, node)]


def messy(lengths: list[float | None], seed: int) -> Subject:
    """Calls with holes of every kind, by turns."""
    rows = Rows()
    for i, length in enumerate(lengths):
        kind = (i + seed) % 5
        interrupted = length is None
        rows.call(
            length,
            usd=0.001 * i if kind else None,
            condition="a" if i % 2 else "b",
            input_tokens=None if kind == 1 else 10,
            output_tokens=None if kind in (1, 2) else i,
            status="interrupted" if interrupted else ("error" if kind == 3 else "ok"),
            error_type="Boom" if kind == 3 and not interrupted else None,
            error_kind="timeout" if kind == 3 and seed % 2 else None,
            item_id=f"q{i % 3}" if seed % 3 else None,
            sample_weight=1.0 if seed % 4 else float(1 + i % 3),
        )
    return rows.subject()


@settings(max_examples=24, deadline=None)
@given(lengths=st.lists(st.one_of(st.none(), st.floats(0, 1e7, allow_nan=False)), max_size=12), seed=st.integers(0, 11))
def test_whatever_the_rows_every_number_is_finite_or_none_with_a_reason(lengths: list[float | None], seed: int) -> None:
    subject = messy(lengths, seed)
    for result in (calculate_metrics(subject), calculate_metrics(subject, unit="span"), validate(subject)):
        plain = result.to_dict()
        own = {name: plain[name] for name in plain if name not in Result.__struct_fields__ and name != "result"}
        for path, value in leaves(own):
            if isinstance(value, float):
                assert math.isfinite(value), path
            if value is None and ".ci." not in f".{path}." and "custom_ci" not in path and "findings" not in path:
                assert path in result.reasons, path


@settings(max_examples=12, deadline=None)
@given(lengths=st.lists(st.one_of(st.none(), st.floats(0, 1e6, allow_nan=False)), max_size=12), seed=st.integers(0, 11))
def test_a_result_is_the_same_after_json_and_the_same_input_gives_the_same_bytes(
    lengths: list[float | None], seed: int
) -> None:
    first, again = (calculate_metrics(messy(lengths, seed), seed=7) for _ in range(2))
    assert first.to_json() == again.to_json()
    assert Metrics.from_json(first.to_json()) == first
    assert Metrics.from_json(first.to_json()).to_json() == first.to_json()


def test_the_fingerprint_does_not_depend_on_the_order_of_rows_but_on_every_value() -> None:
    rows = [{"duration_ms": float(i), "start_ns": i, "condition": "a"} for i in range(50)]
    there = calculate_metrics(Subject(pl.LazyFrame(rows)), ci=False).data_hash
    back = calculate_metrics(Subject(pl.LazyFrame(rows[::-1])), ci=False).data_hash
    rows[17]["duration_ms"] += 1e-9
    other = calculate_metrics(Subject(pl.LazyFrame(rows)), ci=False).data_hash
    assert there == back != other


def test_html_and_markdown_escape_what_a_span_supplied() -> None:
    evil = "<script>alert(1)</script>|x"
    result = small(names={evil: 1.0}, warnings=(Warn(code="c", severity="warning", text=evil),))
    assert "<script>" not in result._repr_html_()
    assert "&lt;script&gt;" in result._repr_html_()
    assert "<script>" not in result.to_markdown()
    assert "\\|x" in result.to_markdown()


def test_a_frame_of_a_result_has_a_row_per_field_with_its_interval_and_reason() -> None:
    interval = Interval(low=1.0, high=None, level=0.95, method="t")
    frame = small(value=None, ci={"value": interval}, reasons={"value": "too few"}).to_polars()
    assert frame.filter(field="value").row(0, named=True) == {
        "field": "value",
        "value": None,
        "text": None,
        "low": 1.0,
        "high": None,
        "reason": "too few",
    }


def test_asking_for_an_absent_number_raises_its_reason() -> None:
    result = small(reasons={"value": "one value has no spread"})
    with pytest.raises(NotEnoughData, match="one value has no spread"):
        result.require("value")
    with pytest.raises(ResearchError, match="no field 'nothing'"):
        result.require("nothing")
    assert small(value=2.5).require("value") == 2.5


def test_json_of_another_kind_is_refused_by_name() -> None:
    text = compare([1.0, 2.0, 3.0], [1.5, 2.5, 3.5]).to_json()
    with pytest.raises(ResearchError, match="not the JSON of a Metrics"):
        Metrics.from_json(text)
    with pytest.raises(ResearchError, match="not the JSON of a Metrics"):
        Metrics.from_json("{")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_not_finite_is_none(value: float | None) -> None:
    assert finite(value) is None


def test_numbers_for_people_are_short_and_never_wrong_in_size() -> None:
    assert [number(x) for x in (None, 3.0, 1234567.0, 0.123456, 12345.6)] == ["–", "3", "1,234,567", "0.1235", "12,346"]
