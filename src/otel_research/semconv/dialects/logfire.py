"""Logfire's own OpenAI and Anthropic instrumentation: details only in `gen_ai.usage.raw`, streams in two rows.

A streamed call is a request span without usage and a zero-length "log" span that carries the usage and the
`duration` in seconds; `calls` joins the two.
"""

from __future__ import annotations

from otel_research.semconv.dialect import Dialect

_RAW = "gen_ai.usage.raw#"

DIALECT = Dialect(
    name="logfire",
    versions="logfire 5.2 (openai, anthropic)",
    evidence=("logfire.span_type",),
    scopes=("logfire.",),
    aliases={
        "cache_read_tokens": (
            _RAW + "prompt_tokens_details.cached_tokens",
            _RAW + "input_tokens_details.cached_tokens",
            _RAW + "cache_read_input_tokens",
        ),
        "cache_write_tokens": (_RAW + "cache_creation_input_tokens",),
        "cache_write_1h_tokens": (_RAW + "cache_creation.ephemeral_1h_input_tokens",),
        "audio_input_tokens": (_RAW + "prompt_tokens_details.audio_tokens",),
        "audio_output_tokens": (_RAW + "completion_tokens_details.audio_tokens",),
        "image_input_tokens": (_RAW + "input_tokens_details.image_tokens",),
        "service_tier": (_RAW + "service_tier", "request_data#service_tier"),
        "reasoning_tokens": (
            _RAW + "completion_tokens_details.reasoning_tokens",
            _RAW + "output_tokens_details.reasoning_tokens",
            _RAW + "output_tokens_details.thinking_tokens",
        ),
        "total_tokens": (_RAW + "total_tokens",),
        "streaming": ("request_data#stream",),
        "logged_s": ("duration",),
    },
    known=("logfire.", "code.", "request_data", "response_data", "async", "duration"),
)
