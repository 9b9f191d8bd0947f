"""Costs against tables worked out by hand. Each row: the call, and its cost in nano-dollars as a sum.

1 US dollar per million tokens is 1,000 nano-dollars per token.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from otel_research import pricing


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def call(provider: str, model: str, tokens: dict[str, int], at: str, **more: Any) -> dict[str, Any]:
    counts = {f"{kind}_tokens": count for kind, count in tokens.items()}
    return {"provider": provider, "response_model": model, "start_ns": ns(at), **counts, **more}


# Bundled table. The comment gives US dollars per million tokens: input, cached, cache write, output.
BUNDLED: list[tuple[dict[str, Any], int]] = [
    # o3 10, 0.5, -, 40 until 2025-06-10, then 2, 0.5, -, 8
    (
        call("openai", "o3-2025-04-16", {"input": 1500, "cache_read": 1024, "output": 300, "reasoning": 192}, "2025-06-09T23:59:59"),
        476 * 10_000 + 1024 * 500 + 300 * 40_000,
    ),
    (
        call("openai", "o3-2025-04-16", {"input": 1500, "cache_read": 1024, "output": 300, "reasoning": 192}, "2025-06-10T00:00:00"),
        476 * 2_000 + 1024 * 500 + 300 * 8_000,
    ),
    # claude-opus-4-6 5, 0.5, 6.25, 25; above 200,000 tokens of prompt 10, 1, 12.5, 37.5 until 2026-03-13
    (
        call("anthropic", "claude-opus-4-6", {"input": 210_000, "cache_read": 100_000, "cache_write": 5_000, "output": 777}, "2026-03-12T10:00:00"),
        105_000 * 10_000 + 100_000 * 1_000 + 5_000 * 12_500 + 777 * 37_500,
    ),
    (
        call("anthropic", "claude-opus-4-6", {"input": 210_000, "cache_read": 100_000, "cache_write": 5_000, "output": 777}, "2026-03-13T00:00:00"),
        105_000 * 5_000 + 100_000 * 500 + 5_000 * 6_250 + 777 * 25_000,
    ),
    # gpt-5.6-sol 5, 0.5, 6.25, 30 until 2026-08-21, then 4, 0.4, 5, 20; above 272,000: 8, 0.8, 10, 30
    (
        call("openai", "gpt-5.6-sol", {"input": 900, "cache_read": 512, "output": 211, "reasoning": 64}, "2026-08-20T23:00:00"),
        388 * 5_000 + 512 * 500 + 211 * 30_000,
    ),
    (
        call("openai", "gpt-5.6-sol", {"input": 900, "cache_read": 512, "output": 211, "reasoning": 64}, "2026-08-21T00:00:00"),
        388 * 4_000 + 512 * 400 + 211 * 20_000,
    ),
    (
        call("openai", "gpt-5.6-sol", {"input": 272_000, "output": 1}, "2026-11-01T00:00:00"),
        272_000 * 4_000 + 20_000,
    ),
    (
        call("openai", "gpt-5.6-sol", {"input": 272_001, "output": 1}, "2026-11-01T00:00:00"),
        272_001 * 8_000 + 30_000,
    ),
    # mistral-medium-latest 0.4, 0.04, -, 2 until 2026-06-16, then 1.5, 0.15, -, 7.5
    (
        call("mistral_ai", "mistral-medium-latest", {"input": 57, "output": 17}, "2026-06-15T12:00:00"),
        57 * 400 + 17 * 2_000,
    ),
    (
        call("mistral_ai", "mistral-medium-latest", {"input": 57, "output": 17}, "2026-06-16T12:00:00"),
        57 * 1_500 + 17 * 7_500,
    ),
    # gemini-3.6-flash 0.75, 0.075, -, 3.75 until 2027-01-01, then 1.5, 0.15, -, 7.5
    (
        call("gcp.gemini", "gemini-3.6-flash", {"input": 4000, "cache_read": 1001, "output": 900, "reasoning": 700}, "2026-12-31T23:59:59"),
        2999 * 750 + 1001 * 75 + 900 * 3_750,
    ),
    (
        call("gcp.gemini", "gemini-3.6-flash", {"input": 4000, "cache_read": 1001, "output": 900, "reasoning": 700}, "2027-01-01T00:00:00"),
        2999 * 1_500 + 1001 * 150 + 900 * 7_500,
    ),
    # grok-4.20 multi-agent 2, 0.2, -, 6 until 2026-04-30, then 1.25, 0.2, -, 2.5
    (
        call("x_ai", "grok-4.20-multi-agent-0309", {"input": 640, "cache_read": 40, "output": 33}, "2026-04-29T08:00:00"),
        600 * 2_000 + 40 * 200 + 33 * 6_000,
    ),
    (
        call("x_ai", "grok-4.20-multi-agent-0309", {"input": 640, "cache_read": 40, "output": 33}, "2026-04-30T08:00:00"),
        600 * 1_250 + 40 * 200 + 33 * 2_500,
    ),
    # deepseek-reasoner 0.55, 0.14, -, 2.19 from 00:30 to 16:30 UTC; 0.135, 0.035, -, 0.55 at night
    (
        call("deepseek", "deepseek-reasoner", {"input": 1000, "cache_read": 600, "output": 101, "reasoning": 100}, "2026-11-20T16:29:59"),
        400 * 550 + 600 * 140 + 101 * 2_190,
    ),
    (
        call("deepseek", "deepseek-reasoner", {"input": 1000, "cache_read": 600, "output": 101, "reasoning": 100}, "2026-11-20T16:30:00"),
        400 * 135 + 600 * 35 + 101 * 550,
    ),
    # gpt-4o-mini 0.15, 0.075, -, 0.6
    (
        call("openai", "gpt-4o-mini-2024-07-18", {"input": 1600, "cache_read": 1024, "output": 12}, "2026-11-20T12:00:00"),
        576 * 150 + 1024 * 75 + 12 * 600,
    ),
    # claude-haiku-4-5 1, 0.1, 1.25, 5; cached for an hour 2
    (
        call(
            "anthropic",
            "claude-haiku-4-5-20251001",
            {"input": 2590, "cache_read": 2048, "cache_write": 512, "cache_write_1h": 200, "output": 60},
            "2026-11-20T12:00:00",
        ),
        30 * 1_000 + 2048 * 100 + 312 * 1_250 + 200 * 2_000 + 60 * 5_000,
    ),
    # gemini-2.5-flash 0.3, 0.03, -, 2.5; audio input 1
    (
        call("gcp.vertex_ai", "gemini-2.5-flash", {"input": 500, "audio_input": 180, "output": 41}, "2026-11-20T12:00:00"),
        320 * 300 + 180 * 1_000 + 41 * 2_500,
    ),
    # gpt-4o-realtime-preview 5, 2.5, -, 20; audio in 40, out 80
    (
        call("openai", "gpt-4o-realtime-preview", {"input": 100, "audio_input": 70, "output": 50, "audio_output": 30}, "2026-11-20T12:00:00"),
        30 * 5_000 + 70 * 40_000 + 20 * 20_000 + 30 * 80_000,
    ),
    # sonar-pro 3, -, -, 15 and 14 US dollars per thousand requests
    (
        call("perplexity", "sonar-pro", {"input": 20, "output": 400}, "2026-11-20T12:00:00"),
        20 * 3_000 + 400 * 15_000 + 14_000_000,
    ),
    # sonar-deep-research 2, -, -, 8; reasoning 3
    (
        call("perplexity", "sonar-deep-research", {"input": 20, "output": 400, "reasoning": 150}, "2026-11-20T12:00:00"),
        20 * 2_000 + 250 * 8_000 + 150 * 3_000,
    ),
    # text-embedding-3-small 0.02; an embedding has no output
    (call("openai", "text-embedding-3-small", {"input": 125}, "2026-11-20T12:00:00"), 125 * 20),
    # gemini-3.6-flash in a batch until 2027: 0.375, 0.0375, -, 1.875: 37.5 and 1,875 nano-dollars a token
    (
        call("gcp.gemini", "gemini-3.6-flash", {"input": 10, "cache_read": 3, "output": 1}, "2026-11-20T12:00:00", service_tier="batch"),
        7 * 375 + 112 + 1_875,  # 112.5 is rounded with the whole: 4,612.5 -> 4,612, half to even
    ),
    # gpt-5.6-sol, flex: 2, 0.2, 2.5, 10
    (
        call("openai", "gpt-5.6-sol", {"input": 900, "cache_read": 512, "output": 211}, "2026-11-20T12:00:00", service_tier="flex"),
        388 * 2_000 + 512 * 200 + 211 * 10_000,
    ),
]  # fmt: skip

OWN_TABLE = """
name = "acme"
date = 2026-11-01
base = false

[[price]]
provider = "openai"
model = "gpt-4o*"
input = 2.0
output = 8.0
cache_read = 0.5

[[price]]
provider = "openai"
model = "gpt-4o*"
from = 2026-10-01
input = 1.0
output = 4.0
cache_read = 0.25

[[price]]
provider = "openai"
model = "gpt-4o-mini"
from = 2026-10-01
until = 2026-11-01
input = 0.1
output = 0.4

[[price]]
model = "acme/solver"
input = 0.0375
output = 0.3
reasoning = 0.9
cache_read = 0.0005
cache_write = 0.05
cache_write_1h = 0.075
request = 0.000_25
tiers = [{ above = 1000, input = 0.075, output = 0.6 }]

[[price]]
model = "acme/solver"
service_tier = "batch"
input = 0.01
output = 0.02

[[price]]
model = "flat"
request = 0.002
"""

OWN: list[tuple[dict[str, Any], int]] = [
    (call("openai", "gpt-4o-2024-08-06", {"input": 100, "cache_read": 40, "output": 10}, "2026-09-30T23:59:59"), 60 * 2_000 + 40 * 500 + 10 * 8_000),
    (call("openai", "gpt-4o-2024-08-06", {"input": 100, "cache_read": 40, "output": 10}, "2026-10-01T00:00:00"), 60 * 1_000 + 40 * 250 + 10 * 4_000),
    (call("openai", "gpt-4o-mini", {"input": 100, "output": 10}, "2026-10-15T00:00:00"), 100 * 100 + 10 * 400),
    (call("openai", "gpt-4o-mini", {"input": 100, "output": 10}, "2026-11-01T00:00:00"), 100 * 1_000 + 10 * 4_000),
    (
        call("vllm", "acme/solver", {"input": 1000, "cache_read": 3, "cache_write": 20, "cache_write_1h": 5, "output": 50, "reasoning": 30}, "2026-01-01T00:00:00"),
        # 36,637.5 + 1.5 + 750 + 375 + 6,000 + 27,000 + 250,000 = 320,764
        320_764,
    ),
    (
        call("vllm", "acme/solver", {"input": 1001, "output": 50, "reasoning": 30}, "2026-01-01T00:00:00"),
        1001 * 75 + 20 * 600 + 30 * 900 + 250_000,
    ),
    (call("vllm", "acme/solver", {"input": 1, "output": 1}, "2026-01-01T00:00:00", service_tier="batch"), 10 + 20),
    (call("vllm", "flat", {}, "2026-01-01T00:00:00"), 2_000_000),
]  # fmt: skip


@pytest.mark.parametrize(("row", "nano"), BUNDLED)
def test_bundled_prices_are_right_to_the_nano_dollar(calls: Any, row: dict[str, Any], nano: int) -> None:
    """A call costs what the provider's published price at its own time says, to the nano-dollar."""
    priced = pricing.price(calls(row)).collect().row(0, named=True)
    assert (priced["cost_nano_usd"], priced["cost_source"]) == (nano, "computed")
    assert priced["cost_usd"] == nano / 1e9


def test_the_hand_table_is_wide_enough() -> None:
    """At least ten models are checked, with cached and with reasoning tokens, and five across a price change."""
    models = {row["response_model"] for row, _ in BUNDLED}
    assert len(models) >= 10
    assert sum("cache_read_tokens" in row for row, _ in BUNDLED) >= 10
    assert sum("reasoning_tokens" in row for row, _ in BUNDLED) >= 5
    dated = [
        model for model in models if len({row["start_ns"] for row, _ in BUNDLED if row["response_model"] == model}) > 1
    ]
    assert len(dated) >= 5  # fmt: skip


@pytest.mark.parametrize(("row", "nano"), OWN)
def test_own_prices_are_right_to_the_nano_dollar(calls: Any, tmp_path: Path, row: dict[str, Any], nano: int) -> None:
    """A dated entry of the user's file counts from its day on, and the more specific entry wins."""
    path = tmp_path / "acme.toml"
    path.write_text(OWN_TABLE)
    priced = pricing.price(calls(row), pricing.load(path)).collect().row(0, named=True)
    assert (priced["cost_nano_usd"], priced["cost_source"]) == (nano, "computed")


def test_all_rows_at_once_cost_what_each_costs_alone(calls: Any) -> None:
    """Calls of many models, times and sizes in one frame do not disturb each other."""
    together = pricing.price(calls(*(row for row, _ in BUNDLED))).collect()["cost_nano_usd"].to_list()
    assert together == [nano for _, nano in BUNDLED]
