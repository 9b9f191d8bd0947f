"""Spans as `exp.spans()` gives them, few and made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from otel_research.spans import schema, values

START = 1_767_225_600_123_456_789  # 2026-01-01T00:00:00.123456789Z


def row(number: int = 0, **given: Any) -> dict[str, Any]:
    """One span; `attributes` is given as a mapping."""
    attributes = given.pop("attributes", {"gen_ai.request.model": "gpt-5", "n": number})
    start = START + number * 1_000_000_000
    whole: dict[str, Any] = dict.fromkeys(schema.names(schema.ALL))
    whole |= {
        "experiment_id": "e" * 32,
        "condition": "baseline",
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "name": "chat gpt-5",
        "kind": "client",
        "start_ns": start,
        "end_ns": start + 1_234_567,
        "duration_ms": 1.234567,
        "status": "unset",
        "request_model": "gpt-5",
        "input_tokens": 10,
        "output_tokens": 20,
        "cost_usd": 0.00125,
        "attributes": values.to_json(attributes),
        "is_call": True,
    }
    return whole | given


@pytest.fixture
def spans() -> Callable[..., pl.LazyFrame]:
    """Makes a frame of the given rows, each a mapping of what differs from an ordinary span."""

    def make(*rows: dict[str, Any]) -> pl.LazyFrame:
        made = [row(number, **given) for number, given in enumerate(rows)]
        return pl.LazyFrame(made, schema=schema.polars_schema())

    return make
