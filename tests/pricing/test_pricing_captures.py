"""Real captures, priced end to end: read, normalised, marked, priced."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from otel_research import pricing, semconv
from otel_research.formats.otlp_read import read_frames
from otel_research.semconv import calls

OTLP = Path(__file__).parents[3] / "shared" / "fixtures" / "spans" / "otlp"
# Instrumentations that compute a cost themselves, from tables of their own.
REPORTING = ("litellm_otel__litellm", "pydantic_ai_native__pydantic_ai", "pydantic_ai_native__pydantic_ai__v2")


@pytest.mark.parametrize("name", REPORTING)
def test_computed_costs_equal_what_instrumentations_report(name: str) -> None:
    """Where an instrumentation reports a cost, ours is the same to a nano-dollar per call."""
    frames = read_frames(OTLP / f"{name}.jsonl", on_skip=lambda skip: pytest.fail(str(skip)))
    gap = pricing.gap(calls.mark(semconv.normalise(pl.concat(frames).lazy())))
    assert gap["calls"].sum() > 5
    assert (gap["gap_usd"].abs() <= gap["calls"] * 1e-9).all(), gap
