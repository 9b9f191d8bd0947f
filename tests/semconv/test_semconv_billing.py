"""What changes a call's price: the service tier, how long a cache is kept, and the kind of content."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from made_spans import CHAT, one, span

from otel_research import pricing
from otel_research.semconv import normalise
from otel_research.semconv.calls import mark
from otel_research.spans import schema

NOVEMBER = 1_795_000_000_000_000_000
"""20 November 2026."""


@pytest.mark.parametrize(
    ("attributes", "tier"),
    [
        ({"openai.request.service_tier": "auto", "openai.response.service_tier": "flex"}, "flex"),
        ({"gen_ai.openai.response.service_tier": "priority"}, "priority"),
        ({"anthropic.response.service_tier": "batch"}, "batch"),
        ({"openai.response.service_tier": "default", "openai.request.service_tier": "flex"}, None),
        ({"openai.request.service_tier": "ServiceTier.FLEX"}, "flex"),
        ({"mlflow.spanOutputs": '{"service_tier": "<openai.Omit object at 0x7f5c>"}'}, None),
        ({"gen_ai.usage.raw": '{"service_tier": "batch"}'}, "batch"),
        ({"llm.invocation_parameters": '{"model": "gpt-4o", "service_tier": "flex"}'}, "flex"),
        ({"ai.response.providerMetadata": '{"openai": {"serviceTier": "priority"}}'}, "priority"),
    ],
)
def test_the_service_tier_is_the_one_that_answered(attributes: dict[str, Any], tier: str | None) -> None:
    """The answer's tier beats the one asked for; the ordinary tier and printed objects are no tier."""
    assert one(CHAT | attributes)["service_tier"] == tier


def test_a_cache_kept_for_an_hour_is_counted_apart() -> None:
    """What was written to a cache for an hour is a part of what was written."""
    wrote = {
        "gen_ai.usage.cache_write.input_tokens": 30,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 20,
    }
    row = one(CHAT | wrote)
    assert (row["cache_write_tokens"], row["cache_write_1h_tokens"], row["input_tokens"]) == (30, 20, 40)


def test_kinds_of_content_are_counted_apart() -> None:
    """Audio and images are parts of the input and the output."""
    told = {f"gen_ai.usage.{kind}.{side}_tokens": n for n, (kind, side) in enumerate(KINDS, 1)}
    row = one(CHAT | told)
    assert [row[f"{kind}_{side}_tokens"] for kind, side in KINDS] == [1, 2, 3, 4]


KINDS = (("audio", "input"), ("audio", "output"), ("image", "input"), ("image", "output"))
CLAUDE = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-haiku-4-5",
    "gen_ai.response.model": "claude-haiku-4-5-20251001",
    "gen_ai.usage.input_tokens": 2590,
    "gen_ai.usage.output_tokens": 60,
    "gen_ai.usage.cache_read.input_tokens": 2048,
    "gen_ai.usage.cache_write.input_tokens": 512,
}
SPANS = (
    # 1 US dollar a million, 0.1 from a cache, 1.25 into one, 2 for an hour, 5 for output
    (CLAUDE, 30 * 1_000 + 2048 * 100 + 512 * 1_250 + 60 * 5_000),
    (
        CLAUDE | {"anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 200},
        30 * 1_000 + 2048 * 100 + 312 * 1_250 + 200 * 2_000 + 60 * 5_000,
    ),
    # a batch costs half
    (
        CLAUDE | {"anthropic.response.service_tier": "batch"},
        (30 * 1_000 + 2048 * 100 + 512 * 1_250 + 60 * 5_000) // 2,
    ),
)


@pytest.mark.parametrize(("attributes", "nano"), SPANS)
def test_a_spans_price_follows_tier_and_cache(attributes: dict[str, Any], nano: int) -> None:
    """From attributes to nano-dollars: a batch and an hour in the cache have prices of their own."""
    assert priced(attributes)["cost_nano_usd"] == nano


def test_a_tier_without_a_price_is_unpriced() -> None:
    """A tier that the table does not know costs an unknown amount, not the ordinary one."""
    row = priced(CLAUDE | {"anthropic.response.service_tier": "reserved"})
    assert (row["cost_nano_usd"], row["cost_source"]) == (None, None)


def priced(attributes: dict[str, Any]) -> dict[str, Any]:
    row = span(0, json.dumps(attributes), start_ns=NOVEMBER, end_ns=NOVEMBER + 1)
    frame = mark(normalise(pl.DataFrame([row], schema=schema.polars_schema(schema.RAW)).lazy()))
    return pricing.price(frame).collect().to_dicts()[0]
