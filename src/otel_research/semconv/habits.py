"""What is known of packages: whose input leaves out the cache, whose output the thoughts, who exchanges the two.

Data with versions, read from captures and sources of November 2026. `tokens` asks it where a row does not tell itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import polars as pl

from otel_research.semconv.dialect import Attributes, by_word

EXCLUSIVE_INPUT: tuple[tuple[str, str], ...] = (
    ("opentelemetry.instrumentation.bedrock", "aws.bedrock"),
    ("opentelemetry.instrumentation.botocore", "aws.bedrock"),
    ("opentelemetry.instrumentation.genai.bedrock", "aws.bedrock"),
    ("openlit.", "anthropic"),
    ("openlit.", "aws.bedrock"),
    ("@openlit/", "anthropic"),
    ("@openlit/", "aws.bedrock"),
    ("@traceloop/instrumentation-anthropic", "anthropic"),
    ("strands-agents", "anthropic"),
)
"""(beginning of the scope, provider) whose input leaves out the cache.

Seen in 1.3b0, 0.66b2, 0.62.4, openlit 1.45; in JavaScript 0.27 and Strands 1.16.
"""

INCLUSIVE_INPUT = (
    r"^(com\.anthropic\.sdk|opentelemetry\.instrumentation\.(genai\.)?anthropic|openinference\.|pydantic-ai|logfire\.|litellm"
    r"|langsmith|langfuse|mlflow|lmnr|ai$|gen_ai$|@mastra/)"
)
"""Scopes seen to pass Anthropic's input on with the cache inside (`gen_ai` is @ai-sdk/otel's)."""

WITHOUT_CACHE = (
    r"^(ai$|org\.springframework|strands\.|com\.arize\.instrumentation\.langchain4j"
    r"|@traceloop/instrumentation-(anthropic|langchain|bedrock)|@langtrase/"
    r"|@arizeai/openinference-instrumentation-anthropic|opentelemetry\.instrumentation\.(bedrock|botocore)"
    r"|@opentelemetry/instrumentation-aws-sdk|io\.opentelemetry\.aws-sdk)"
)
"""Scopes that may write the input beside the cache and no word of the cache.

AI SDK 5, Spring AI 1, Strands, LangChain4j, clients in JavaScript; on Bedrock InvokeModel, whose usage is in each
vendor's own words (0.62.4, 0.66b2), and all of it in Java and JavaScript.
"""
_CACHES = "(claude|anthropic|nova)"
"""Models for which a provider has a cache whose tokens are billed beside the input."""
NOVA_WITHOUT_CACHE = "opentelemetry.instrumentation.genai.bedrock"
"""A scope that does so for Nova only."""
OPENINFERENCE_JS = "@arizeai/openinference-instrumentation-anthropic"
"""A scope whose input has the cache since it writes the requested model apart (0.2.8; 0.1.20 does neither)."""
AI_SDK = "ai"
"""The scope of the AI SDK. Before version 6 the cache is beside the input.

The first of version 6 tell no details (before 6.0.120), and its first for Bedrock leave the cache out all the same.
5 and 6 name their version where an answer is no stream; 4 has other names for the counts.
"""
_LATER = r"(?:^|\sai/|^ai/)([6-9]|\d\d)\."

WITHOUT_THOUGHTS = r"(^ai$|^org\.springframework|^opentelemetry\.instrumentation\.vertexai)"
"""Scopes that write Google's output without the thoughts and without a total (AI SDK 4, Spring AI, OpenTelemetry's 2.2b0)."""
THOUGHTS_BESIDE = ("qwen-code", "@openlit/instrumentation-google-ai")
"""Scopes that tell Google's thoughts beside the output, without a total."""
EFFECT = r"^LanguageModel\.(generate|stream)"
"""Names of the calls of @effect/ai, whose scope is the program's: Anthropic's input without a word of the cache (0.37)."""
KOOG = "koog.event.id"
"""On the calls of Koog, whose scope is the program's name; it writes the provider's input and output and nothing else."""

AX = "gen_ai.request.llm_is_streaming"
"""On the calls of ax, whose total has a cache that its input has not: it does not tell Google's thoughts (24.0)."""
COUNTS_ITSELF = "@openlit/instrumentation-mistral"
"""A scope that estimates streams and says that they are none; a time per token tells them (1.15)."""
COUNTS_EMBEDDED = "@openlit/instrumentation-ollama"
"""A scope that estimates what is embedded (1.15)."""
COUNTS_INPUT = "@openlit/instrumentation-langchain"
"""A scope that estimates each input (1.15)."""
LANGTRACE_JS = "@langtrase/typescript-sdk"
"""A scope that exchanges input and output: of Anthropic, Ollama and, estimated, of all streams (6.3.7)."""
_EXCHANGED = ("anthropic", "ollama")
AWS_JS = "@opentelemetry/instrumentation-aws-sdk"
"""A scope that writes the output count with which a stream of Claude's began (0.78)."""

LANGCHAIN_JS = r"^(@arizeai/openinference-|@traceloop/)instrumentation-langchain"
"""Scopes that pass on what LangChain adds up in JavaScript: Anthropic's output at a stream's beginning and at its end."""

_SERVICE, _METHOD, _VERSIONS = "langtrace.service.name", "rpc.method", "langfuse.observation.metadata.versions"
_VERSIONS_OF_AI = ("ai.sdk.version", "ai.request.headers.user-agent")
_DETAILS = ("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.inputTokenDetails.cacheWriteTokens")
_ASKED_MODEL, _PER_TOKEN = "llm.request.model_name", "gen_ai.server.time_per_output_token"
_TRACEABLE, _TRACED = "langsmith.traceable", "langsmith.trace.name"
SIGNS = (*_VERSIONS_OF_AI, KOOG, AX, _PER_TOKEN, _TRACEABLE, _TRACED, _SERVICE, _METHOD, _VERSIONS)
"""Attributes that are read for this alone."""


def packages(attributes: Attributes) -> list[pl.Expr]:
    """What is known of the package that wrote the row. Columns of few words tell it, so it is worked out once per kind of row."""
    caches = by_word(pl.col("request_model"), lambda model: model.str.to_lowercase().str.extract(_CACHES)).is_not_null()
    nova = pl.col("scope").str.starts_with(NOVA_WITHOUT_CACHE) & pl.col("request_model").str.contains(
        "nova", literal=True
    )
    is_koog = attributes.text(KOOG).is_not_null()
    converses = attributes.text(_METHOD).str.starts_with("Converse").fill_null(False)
    tells = converses & pl.col("scope").str.starts_with("opentelemetry.")
    of_any_version = _without_details(attributes).fill_null(False) & (pl.col("provider") == "aws.bedrock")
    by_effect = by_word(pl.col("name"), lambda name: name.str.extract(EFFECT)).is_not_null()
    is_google = _is_google().fill_null(False)
    asks_apart = (pl.col("scope") == OPENINFERENCE_JS).fill_null(False) & attributes.text(_ASKED_MODEL).is_not_null()
    columns = {
        "_is_exclusive": _is_of(EXCLUSIVE_INPUT) | _before_details(attributes),
        "_is_inclusive": (_of_scope(INCLUSIVE_INPUT) & ~of_any_version) | asks_apart,
        "_may_lack_cache": (_of_scope(WITHOUT_CACHE) | nova | is_koog | by_effect) & caches & ~tells & ~asks_apart,
        "_may_lack_thoughts": (_of_scope(WITHOUT_THOUGHTS) | is_koog) & is_google,
        "_thinks_beside": pl.col("scope").is_in(THOUGHTS_BESIDE) & is_google,
        "_tells_thoughts": is_google & attributes.text(AX).is_null(),
        "_converses": converses,
        "_is_any_version": _before_details(attributes) & _is_untold(attributes),
        "_estimates": _estimates(attributes),
        "_written_over": _written_over(attributes),
        "_adds_beginning": _adds_beginning(attributes),
    }
    return [column.fill_null(False).alias(name) for name, column in columns.items()]


def righted(attributes: Attributes, told: Collection[str]) -> Iterator[pl.Expr]:
    """Counts that stand under another's name, or are known to be another's, in the columns where they belong."""
    exchanged = _exchanges(attributes)
    if attributes.has(_METHOD, _SERVICE):
        asked, answered = pl.col("input_tokens"), pl.col("output_tokens")
        right = pl.when(exchanged).then(asked).otherwise(answered)
        yield pl.when(exchanged).then(answered).otherwise(asked).alias("input_tokens")
        yield pl.when(~_stays_at_beginning(attributes)).then(right).alias("output_tokens")
    if "cache_write_5m_tokens" in told:
        parts = [pl.col(f"cache_write_{since}_tokens") for since in ("5m", "1h")]
        written = pl.when(pl.any_horizontal(part.is_not_null() for part in parts)).then(pl.sum_horizontal(parts))
        yield pl.coalesce("cache_write_tokens", written).alias("cache_write_tokens")
    yield exchanged.alias("was_exchanged")


def _exchanges(attributes: Attributes) -> pl.Expr:
    if not attributes.has(_SERVICE):
        return pl.lit(False)
    is_so = attributes.text(_SERVICE).is_in(_EXCHANGED) | pl.col("stream_began")
    return ((pl.col("scope") == LANGTRACE_JS) & is_so).fill_null(False)


def _stays_at_beginning(attributes: Attributes) -> pl.Expr:
    """Streams of Claude whose output count is that of their beginning."""
    is_claude = pl.col("request_model").str.contains("claude", literal=True)
    streams = attributes.text(_METHOD) == "InvokeModelWithResponseStream"
    by_langtrace = (pl.col("scope") == LANGTRACE_JS) & (attributes.text(_SERVICE) == "anthropic")
    begun = ((pl.col("scope") == AWS_JS) & streams & is_claude, by_langtrace & pl.col("stream_began"))
    return pl.any_horizontal(sign.fill_null(False) for sign in begun)


def _before_details(attributes: Attributes) -> pl.Expr:
    """The AI SDK's rows of providers that bill the cache beside the input, of versions that leave it there."""
    beside = pl.col("provider").is_in(["anthropic", "aws.bedrock"])
    later = by_word(attributes.text(*_VERSIONS_OF_AI), lambda version: version.str.extract(_LATER)).is_not_null()
    return _without_details(attributes) & beside & ~later


def _is_untold(attributes: Attributes) -> pl.Expr:
    """Streams of version 5 or of the first of 6."""
    return attributes.text(*_VERSIONS_OF_AI).is_null() & attributes.text("ai.usage.inputTokens").is_not_null()


def _without_details(attributes: Attributes) -> pl.Expr:
    return (pl.col("scope") == AI_SDK) & attributes.text(*_DETAILS).is_null()


def _estimates(attributes: Attributes) -> pl.Expr:
    streams = (pl.col("scope") == COUNTS_ITSELF) & attributes.text(_PER_TOKEN).is_not_null()
    embedded = (pl.col("scope") == COUNTS_EMBEDDED) & (pl.col("operation") == "embeddings")
    return streams | embedded | (pl.col("scope") == COUNTS_INPUT)


def _written_over(attributes: Attributes) -> pl.Expr:
    """LangSmith's span of a traced function over which its LangChain calls wrote, one after the other (JavaScript, 0.12)."""
    traced, name = attributes.text(_TRACEABLE).str.to_lowercase() == "true", attributes.text(_TRACED)
    return (pl.col("scope") == "langsmith") & traced & (name != pl.col("name"))


def _adds_beginning(attributes: Attributes) -> pl.Expr:
    by_langfuse = attributes.text(_VERSIONS).str.contains("@langchain/anthropic", literal=True)
    return (pl.col("provider") == "anthropic") & (_of_scope(LANGCHAIN_JS) | by_langfuse.fill_null(False))


def _is_of(packages: Iterable[tuple[str, str]]) -> pl.Expr:
    """Rows of these (beginning of the scope, provider)."""
    scope, provider = pl.col("scope").fill_null(""), pl.col("provider").fill_null("")
    return pl.any_horizontal(scope.str.starts_with(begin) & (provider == who) for begin, who in packages)


def _of_scope(pattern: str) -> pl.Expr:
    return by_word(pl.col("scope"), lambda scope: scope.str.extract(pattern)).is_not_null()


def _is_google() -> pl.Expr:
    is_gemini = pl.col("request_model").fill_null("").str.contains("gemini", literal=True)
    return pl.col("provider").fill_null("").str.starts_with("gcp.") | is_gemini
