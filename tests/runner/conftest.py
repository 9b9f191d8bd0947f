"""A running experiment in memory, with a model that costs money."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace

import otel_research as otr

tracer = trace.get_tracer("runner-tests")


def call_model(tokens: int = 1_000_000) -> None:
    """One priced call: a million input tokens of gpt-4o-mini are 0.15 USD."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": 0,
    }
    tracer.start_span("chat", kind=trace.SpanKind.CLIENT, attributes=attributes).end()


@pytest.fixture
def exp() -> Iterator[otr.Experiment]:
    recorder = otr.configure(store="memory:")
    try:
        with otr.experiment("runner", seed=11) as running:
            yield running
    finally:
        recorder.close()
