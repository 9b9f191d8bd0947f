"""LiveKit Agents: GenAI names on the request; nodes of a voice turn around it, some of which only name a model."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CHAIN, TOOL, Attributes, Dialect, words

ROLES = {"llm_node": CHAIN, "tts_node": CHAIN, "stt_node": CHAIN, "agent_turn": CHAIN, "function_tool": TOOL}
_METRICS = "lk.llm_metrics"
_SPOKEN = "lk.realtime_model_metrics"


def role(attributes: Attributes) -> pl.Expr:
    """By the span's name: a node names the model that a request below it asks, which has the operation."""
    named = pl.when(attributes.text("gen_ai.operation.name").is_null()).then(words(pl.col("name"), ROLES))
    return pl.when(pl.col("scope") == "livekit-agents").then(named)


DIALECT = Dialect(
    name="livekit",
    versions="livekit-agents (its telemetry module of November 2026)",
    role=role,
    scopes=("livekit-agents",),
    aliases={
        "input_tokens": (f"{_METRICS}#prompt_tokens",),
        "output_tokens": (f"{_METRICS}#completion_tokens",),
        "total_tokens": (f"{_METRICS}#total_tokens", f"{_SPOKEN}#total_tokens"),
        "cache_read_tokens": (f"{_METRICS}#prompt_cached_tokens", "gen_ai.usage.input_cached_tokens"),
        "audio_input_tokens": ("gen_ai.usage.input_audio_tokens", f"{_SPOKEN}#input_token_details.audio_tokens"),
        "audio_output_tokens": ("gen_ai.usage.output_audio_tokens", f"{_SPOKEN}#output_token_details.audio_tokens"),
        "ttft_s": ("lk.response.ttft", f"{_METRICS}#ttft"),
        "tool_name": ("lk.function_tool.name",),
    },
    known=("lk.",),
)
