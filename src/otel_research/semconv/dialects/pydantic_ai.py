"""Pydantic AI: details under `gen_ai.usage.details.*`, cost as `operation.cost`, sums as `gen_ai.aggregated_usage.*`."""

from __future__ import annotations

from otel_research.semconv.dialect import Dialect

_DETAILS = "gen_ai.usage.details."

DIALECT = Dialect(
    name="pydantic_ai",
    versions="pydantic-ai 2.68 (instrumentation versions 2 to 6)",
    scopes=("pydantic-ai",),
    aliases={
        "cache_read_tokens": (_DETAILS + "cache_read_tokens", _DETAILS + "cache_read_input_tokens"),
        "cache_write_tokens": (_DETAILS + "cache_write_tokens", _DETAILS + "cache_creation_input_tokens"),
        "reasoning_tokens": (_DETAILS + "reasoning_tokens", _DETAILS + "thoughts_tokens"),
        "audio_input_tokens": (_DETAILS + "audio_prompt_tokens", _DETAILS + "input_audio_tokens"),
        "audio_output_tokens": (_DETAILS + "audio_candidates_tokens", _DETAILS + "output_audio_tokens"),
        "image_input_tokens": (_DETAILS + "image_prompt_tokens",),
        "image_output_tokens": (_DETAILS + "image_candidates_tokens",),
        "reported_cost_usd": ("operation.cost",),
        "rollup_input_tokens": ("gen_ai.aggregated_usage.input_tokens",),
        "rollup_output_tokens": ("gen_ai.aggregated_usage.output_tokens",),
        "agent_name": ("agent_name",),
    },
    known=(
        "pydantic_ai.",
        "model_request_parameters",
        "model_name",
        "final_result",
        "all_messages",
        "tool_arguments",
        "tool_response",
        "gen_ai.aggregated_usage.",
    ),
)
