"""Every dialect, in the order in which they are asked.

For the role of a span the more specific word goes first: a framework's own span kind beats a GenAI operation
name that it also wrote. For values the GenAI names go first and a dialect's own names after.
"""

from __future__ import annotations

from otel_research.semconv.dialect import Dialect
from otel_research.semconv.dialects import (
    agentops,
    braintrust,
    claude_code,
    codex,
    confident,
    genai,
    genkit,
    google_adk,
    haystack,
    honeyhive,
    judgment,
    laminar,
    langfuse,
    langsmith,
    langtrace,
    langwatch,
    litellm,
    livekit,
    llama_index,
    logfire,
    loongsuite,
    mistral,
    mlflow,
    monocle,
    openinference,
    openlit,
    own,
    pipecat,
    pydantic_ai,
    pydantic_evals,
    qwen_code,
    spring_ai,
    strands,
    traceai,
    traceloop,
    trulens,
    vercel,
)
from otel_research.semconv.evaluations import SIGNS
from otel_research.semconv.habits import SIGNS as HABITS
from otel_research.semconv.providers import SERVERS

DIALECTS: tuple[Dialect, ...] = (
    own.DIALECT,
    openinference.DIALECT,
    vercel.DIALECT,
    langfuse.DIALECT,
    mlflow.DIALECT,
    langsmith.DIALECT,
    litellm.DIALECT,
    traceloop.DIALECT,
    laminar.DIALECT,
    langtrace.DIALECT,
    langwatch.DIALECT,
    traceai.DIALECT,
    loongsuite.DIALECT,
    haystack.DIALECT,
    llama_index.DIALECT,
    logfire.DIALECT,
    agentops.DIALECT,
    braintrust.DIALECT,
    confident.DIALECT,
    trulens.DIALECT,
    judgment.DIALECT,
    openlit.DIALECT,
    strands.DIALECT,
    pydantic_evals.DIALECT,
    pydantic_ai.DIALECT,
    mistral.DIALECT,
    claude_code.DIALECT,
    codex.DIALECT,
    genkit.DIALECT,
    google_adk.DIALECT,
    monocle.DIALECT,
    qwen_code.DIALECT,
    spring_ai.DIALECT,
    livekit.DIALECT,
    pipecat.DIALECT,
    genai.DIALECT,
    honeyhive.DIALECT,
)
"""Who decides the role and the `dialect` column: the first with evidence."""

_FIRST = (traceai.DIALECT, genai.DIALECT)
"""traceAI writes the answering model where GenAI has the one asked for, and that one under a key of its own."""
FOR_VALUES: tuple[Dialect, ...] = (*_FIRST, *(dialect for dialect in DIALECTS if dialect not in _FIRST))


def keys_of(field: str) -> tuple[str, ...]:
    """All keys for one of our fields, the preferred one first."""
    return tuple(dict.fromkeys(key for dialect in FOR_VALUES for key in dialect.aliases.get(field, ())))


def fields() -> tuple[str, ...]:
    """Every field that any dialect has a name for."""
    return tuple(dict.fromkeys(name for dialect in FOR_VALUES for name in dialect.aliases))


def attribute_keys() -> frozenset[str]:
    """Every attribute that is read into a column, without the paths inside JSON values."""
    extra = (
        "ai.operationId",
        "http.method",
        "http.request.method",
        "llm.prompts.0.prompt.text",
        "logfire.span_type",
        "span.type",
        *HABITS,
        *SIGNS,
        *SERVERS,
    )
    named = (_attribute(key) for field in fields() for key in keys_of(field))
    return frozenset((*named, *extra, *(key for dialect in DIALECTS for key in dialect.evidence)))


NUMBERS = (
    "input_tokens", "fresh_input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens",
    "cache_write_5m_tokens", "cache_write_1h_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens",
    "image_output_tokens", "reported_cost_usd", "ttft_s", "served_ttft_s", "ttft_ms", "ttft_ns", "temperature",
    "request_seed", "http_status", "resends", "score_value", "rollup_input_tokens", "rollup_output_tokens",
    "measured_ms", "measured_us", "logged_s",
)  # fmt: skip
"""Fields that are numbers; all others are read as text."""


def number_keys() -> frozenset[str]:
    """Attributes that only number fields read."""
    numbers = {key for field in fields() if field in NUMBERS for key in keys_of(field)}
    texts = {_attribute(key) for field in fields() if field not in NUMBERS for key in keys_of(field)}
    return frozenset(key for key in numbers if key == _attribute(key)) - texts


def _attribute(key: str) -> str:
    return key.partition("#")[0].partition("~")[0]


def numbers_in_text() -> dict[str, tuple[str, ...]]:
    """Attributes that hold a printed dictionary -> the numbers wanted inside."""
    found: dict[str, list[str]] = {}
    for field in fields():
        for name, _, word in (key.partition("~") for key in keys_of(field)):
            if word:
                found.setdefault(name, []).append(word)
    return {name: tuple(wanted) for name, wanted in found.items()}


def json_paths() -> dict[str, tuple[str, ...]]:
    """Attributes that hold JSON -> the paths wanted inside."""
    paths: dict[str, list[str]] = {}
    for field in fields():
        for key in keys_of(field):
            name, _, path = key.partition("#")
            if path:
                paths.setdefault(name, []).append(path)
    return {name: tuple(wanted) for name, wanted in paths.items()}


QUOTED = frozenset(key for dialect in DIALECTS for key in dialect.quoted)
"""Attributes whose text arrives in JSON quotes."""
