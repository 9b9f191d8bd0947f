"""What is not priced, and why; which of two models is billed; reported against computed cost."""

from __future__ import annotations

from typing import Any

import pytest

from otel_research import pricing

GOOD = {"provider": "openai", "request_model": "gpt-4o-mini", "input_tokens": 10, "output_tokens": 5}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"request_model": None}, "the call names no model"),
        ({"request_model": "gpt-99"}, "model 'gpt-99' is not in genai-prices"),
        ({"provider": "acme"}, "provider 'acme' is not in genai-prices"),
        ({"provider": None, "request_model": "llama-unknown"}, "no provider is known"),
        ({"request_model": "whisper-1"}, "by audio_hours, input_audio_hours, not by token"),
        ({"provider": "cerebras", "request_model": "qwen-3-coder-480b"}, "without a price"),
        ({"input_tokens": None}, "token counts are unknown"),
        ({"output_tokens": None}, "token counts are unknown"),
        ({"input_tokens": None, "error_type": "RateLimitError"}, "failed without token counts"),
        ({"input_tokens": -1}, "a token count is negative"),
        ({"input_tokens": 2**50}, "too large to be true"),
        ({"cache_read_tokens": 11}, "exceed the input tokens"),
        ({"reasoning_tokens": 6}, "exceed the output tokens"),
        ({"cache_write_1h_tokens": 3}, "cached for an hour exceed"),
        ({"service_tier": "lightspeed"}, "no 'lightspeed' price for model 'gpt-4o-mini'"),
        ({"request_model": "text-embedding-3-small"}, "no price for output tokens"),
        (
            {"request_model": "gpt-4o-realtime-preview", "cache_read_tokens": 2, "audio_input_tokens": 2},
            "how many of the cached tokens are audio is unknown",
        ),
        ({"start_ns": None}, "no start time"),
    ],
)
def test_an_unpriced_call_says_why(calls: Any, change: dict[str, Any], reason: str) -> None:
    """A call that cannot be priced has no cost at all, and is listed with the reason."""
    frame = calls(GOOD | change)
    priced = pricing.price(frame).collect().row(0, named=True)
    assert (priced["cost_usd"], priced["cost_nano_usd"], priced["cost_source"]) == (None, None, None)
    missing = pricing.unpriced(frame).row(0, named=True)
    assert missing["calls"] == 1
    assert reason in missing["reason"]


def test_unpriced_calls_are_counted_by_model_and_reason(calls: Any) -> None:
    """The list is by provider, model and reason, most calls first, and says how many have a reported cost."""
    unknown = GOOD | {"request_model": "gpt-99"}
    frame = calls(unknown, unknown | {"reported_cost_usd": 0.5}, GOOD | {"input_tokens": None}, GOOD)
    assert pricing.unpriced(frame).select("model", "calls", "reported").rows() == [
        ("gpt-99", 2, 1),
        ("gpt-4o-mini", 1, 0),
    ]


@pytest.mark.parametrize(
    ("asked", "answered", "same_as"),
    [
        ("my-deployment", "gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4o-mini", None, "gpt-4o-mini"),
        ("gpt-4o-mini", "gpt-4o-mini-2031-01-01", "gpt-4o-mini"),
        ("gpt-4o-mini", "", "gpt-4o-mini"),
    ],
)
def test_the_model_that_answered_is_billed(calls: Any, asked: str, answered: str | None, same_as: str) -> None:
    """The response model sets the price; the request model does where the answer is silent or its dated snapshot."""
    row = GOOD | {"request_model": asked, "response_model": answered}
    expected = pricing.price(calls(GOOD | {"request_model": same_as})).collect()["cost_nano_usd"].item()
    assert expected is not None
    assert pricing.price(calls(row)).collect()["cost_nano_usd"].item() == expected


def test_another_model_is_not_priced_as_the_one_asked_for(calls: Any) -> None:
    """An unknown model that answered is unpriced, however well known the requested one is."""
    frame = calls(GOOD | {"response_model": "gpt-4o-mini-acme-tuned"})
    assert pricing.price(frame).collect()["cost_nano_usd"].item() is None


@pytest.mark.parametrize(
    ("provider", "model", "priced_as"),
    [
        ("aws.bedrock", "us.amazon.nova-lite-v1:0", ("aws", "amazon.nova-lite-v1:0")),
        ("aws.bedrock", "nova-lite-v1:0", ("aws", "amazon.nova-lite-v1:0")),
        ("gcp.gemini", "gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("gcp.vertex_ai", "gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("azure.ai.openai", "gpt-4o-2024-08-06", ("azure", "gpt-4o")),
        ("azure.ai.inference", "gpt-4o-mini", ("azure", "gpt-4o-mini")),
        ("x_ai", "grok-4", ("x-ai", "grok-4")),
        ("mistral_ai", "mistral-small-latest", ("mistral", "mistral-small-latest")),
        ("openai", "openai/gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("litellm", "anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        (None, "openai/gpt-4o-mini", ("openai", "gpt-4o-mini")),
        (None, "claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("openrouter", "openai/gpt-4o-mini", ("openrouter", "openai/gpt-4o-mini")),
    ],
)
def test_providers_have_many_names(calls: Any, provider: str | None, model: str, priced_as: tuple[str, str]) -> None:
    """The convention's, a library's and the price table's name for a provider give the same price."""
    named = GOOD | {"provider": priced_as[0], "request_model": priced_as[1]}
    costs = pricing.price(calls(GOOD | {"provider": provider, "request_model": model}, named)).collect()[
        "cost_nano_usd"
    ]
    assert costs[0] is not None
    assert costs[0] == costs[1]


def test_reported_cost_is_kept_beside_and_used_where_nothing_can_be_computed(calls: Any) -> None:
    """A computed cost wins over a reported one, a reported one over none, and the reported column stays."""
    frame = calls(GOOD | {"reported_cost_usd": 0.125}, GOOD | {"request_model": "gpt-99", "reported_cost_usd": 0.125})
    out = pricing.price(frame).collect()
    assert out["cost_source"].to_list() == ["computed", "reported"]
    assert out["cost_nano_usd"].to_list() == [10 * 150 + 5 * 600, 125_000_000]
    assert out["reported_cost_usd"].to_list() == [0.125, 0.125]


def test_a_reported_zero_is_unknown(calls: Any) -> None:
    """Instrumentations write 0 where they do not know the price."""
    frame = calls(GOOD | {"request_model": "gpt-99", "reported_cost_usd": 0.0})
    assert pricing.price(frame).collect()["cost_source"].item() is None


def test_the_gap_between_reported_and_computed_is_shown(calls: Any) -> None:
    """Per model: both sums over the calls that have both, their difference, and its share of the computed cost."""
    frame = calls(GOOD | {"reported_cost_usd": 0.000_009}, GOOD | {"reported_cost_usd": 0.000_009}, GOOD)
    row = pricing.gap(frame).row(0, named=True)
    assert row == {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "calls": 2,
        "computed_usd": 9_000 / 1e9,
        "reported_usd": 18_000 / 1e9,
        "gap_usd": 9_000 / 1e9,
        "gap_percent": 100.0,
    }


def test_only_calls_cost(calls: Any) -> None:
    """A wrapper that repeats its call's tokens and cost costs nothing itself."""
    frame = calls(GOOD, GOOD | {"is_call": False, "reported_cost_usd": 1.0})
    assert pricing.price(frame).collect()["cost_nano_usd"].to_list() == [4_500, None]
    assert pricing.unpriced(frame).is_empty()
