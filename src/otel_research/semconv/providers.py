"""Who answered: the provider's name in the convention's words, and what it can be told from where nobody wrote it.

What a span says comes first. A client of one vendor also talks to compatible servers, so a known host beats the
client's own name; a model's owner or a package's name is only an assumption and leaves the flag
`provider_assumed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl

from otel_research.semconv.dialect import NOTHING, Attributes, by_word

PROVIDERS = {
    "open_ai": "openai",
    "aws": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "amazon": "aws.bedrock",
    "amazon_bedrock": "aws.bedrock",
    "amazon-bedrock": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "google": "gcp.gemini",
    "gemini": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "google-genai": "gcp.gemini",
    "google_ai_gemini": "gcp.gemini",
    "googlegeminiai": "gcp.gemini",
    "google-gla": "gcp.gemini",
    "google_ai_studio": "gcp.gemini",
    "google.generative-ai": "gcp.gemini",
    "googleai": "gcp.gemini",
    "gcp.gen_ai": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "google_vertexai": "gcp.vertex_ai",
    "google-vertex": "gcp.vertex_ai",
    "google.vertex": "gcp.vertex_ai",
    "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "azure-openai": "azure.ai.openai",
    "az.ai.openai": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "az.ai.inference": "azure.ai.inference",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
    "x-ai": "x_ai",
    "grok": "x_ai",
    "watsonx": "ibm.watsonx.ai",
    "ibm": "ibm.watsonx.ai",
    "togetherai": "together_ai",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "huggingface_hub": "huggingface",
}
"""Other names -> the convention's provider (semconv 1.37 and later); matched in lower case."""

FRAMEWORKS = (
    "strands-agents",
    "microsoft.agent_framework",
    "langchain",
    "langgraph",
    "llama_index",
    "llamaindex",
    "autogen",
    "crewai",
    "haystack",
    "pydantic_ai",
    "pydantic-ai",
    "smolagents",
    "semantic_kernel",
    "agno",
    "dspy",
    "openai_agents",
    "openai-agents",
    "google_adk",
    "gcp.vertex.agent",
    "unknown",
    "none",
    "",
)
"""What frameworks write as the provider; it names no one who was paid."""

_CUT = r"\.(chat|completion|completions|responses|messages|embedding|embeddings|image|language-model)$"

HOSTS = {
    "openrouter.ai": "openrouter",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "inference.ai.azure.com": "azure.ai.inference",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x_ai",
    "api.mistral.ai": "mistral_ai",
    "api.together.xyz": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
}
"""Ends of host names -> provider. The clients of OpenAI and Anthropic are pointed at all of them."""
SERVERS = ("server.address", "gen_ai.openai.api_base", "url.full")

OWNERS = (
    (r"^(?:gpt-|chatgpt|o[1-9](?:$|[-:])|text-embedding-(?:3|ada)|davinci|babbage|dall-e|whisper|tts-)", "openai"),
    (r"^claude", "anthropic"),
    (r"^(?:gemini|gemma|text-embedding-00)", "gcp.gemini"),
    (r"^(?:mistral|mixtral|codestral|ministral|magistral|pixtral)", "mistral_ai"),
    (r"^(?:command|embed-(?:english|multi|v)|rerank-)", "cohere"),
    (r"^deepseek", "deepseek"),
    (r"^grok", "x_ai"),
    (r"^(?:[a-z]{2,6}\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|stability|deepseek)\.", "aws.bedrock"),
)
"""How a model's name begins -> who makes it."""

PACKAGES = (
    (r"(?:^|[._-])anthropic(?:$|[._-])", "anthropic"),
    (r"(?:^|[._-])bedrock(?:$|[._-])", "aws.bedrock"),
    (r"(?:^|[._-])google_?genai(?:$|[._-])", "gcp.gemini"),
    (r"(?:^|[._-])cohere(?:$|[._-])", "cohere"),
    (r"(?:^|[._-])mistralai", "mistral_ai"),
    (r"(?:^|[._-])groq(?:$|[._-])", "groq"),
    (r"(?:^|[._-])ollama(?:$|[._-])", "ollama"),
    (r"(?:^|[._-])openai(?:$|[._-]v\d|$)", "openai"),
)
"""Part of an instrumentation scope -> the vendor whose client it instruments."""

ROUTED = r"(?i)litellm|dspy|langwatch|genkit"
"""Scopes whose model names begin with a route (`openai/gpt-4o`) that is not part of the name."""
_ROUTE = r"^([a-z0-9_-]+)/"


def named(value: pl.Expr) -> pl.Expr:
    """The convention's name; null for a framework's own name."""
    word = value.str.to_lowercase().str.strip_chars()
    named = word.replace(PROVIDERS)
    short = named.str.replace(_CUT, "").replace(PROVIDERS)
    return pl.when(~short.is_in(FRAMEWORKS)).then(short)


def said(attributes: Attributes, keys: Iterable[str]) -> pl.Expr:
    """What the span says."""
    written = [by_word(attributes.text(key), named) for key in keys if attributes.has(key)]
    return pl.coalesce(written) if written else NOTHING


def by_host(attributes: Attributes) -> pl.Expr:
    """Whose host the span talked to, where that is known."""
    return by_word(attributes.text(*SERVERS), _of_host) if attributes.has(*SERVERS) else NOTHING


def known_host() -> pl.Expr:
    """The host's owner (`_by_host`), where the `provider` is one whose client is pointed at others too."""
    compatible = pl.col("provider").is_null() | pl.col("provider").is_in(["openai", "anthropic"])
    return pl.when(compatible).then("_by_host")


def _of_host(server: pl.Expr) -> pl.Expr:
    suffix = "|".join(host.replace(".", r"\.") for host in HOSTS)
    host = server.str.extract(rf"({suffix})(?:[:/]|$)")
    return host.replace_strict(list(HOSTS), list(HOSTS.values()), default=None, return_dtype=pl.String)


def assumed() -> pl.Expr:
    """Who it probably was: the route in front of the model, the vendor of the instrumented client, the model's maker."""
    model, scope = pl.col("request_model"), pl.col("scope")
    return pl.coalesce(
        by_word(model, _route), by_word(scope, _first_match(PACKAGES)), by_word(model, _first_match(OWNERS))
    )


def owner(model: pl.Expr) -> pl.Expr:
    """Who makes a model of that name; null where the name is nobody's."""
    return _first_match(OWNERS)(model.str.replace(r"^.*/", ""))


def _first_match(table: Iterable[tuple[str, str]]) -> Callable[[pl.Expr], pl.Expr]:
    rules = tuple(table)
    return lambda text: pl.coalesce(
        pl.when(text.str.to_lowercase().str.contains(pattern)).then(pl.lit(name)) for pattern, name in rules
    )


def _route(model: pl.Expr) -> pl.Expr:
    """The provider in front of a model's name."""
    route = named(model.str.to_lowercase().str.extract(_ROUTE))
    return pl.when(route.is_in([*PROVIDERS.values(), "openai", "anthropic", "cohere", "groq", "ollama"])).then(route)


def routes() -> pl.Expr:
    """Not null where the package puts a route in front of a model's name."""
    return by_word(pl.col("scope"), lambda scope: pl.when(scope.str.contains(ROUTED)).then(pl.lit("routes")))


def without_route(model: str) -> pl.Expr:
    """The model's own name, of the column `model`, where the package (`_routes`) puts a known provider in front of it."""
    return pl.when(pl.col("_routes").is_not_null()).then(by_word(pl.col(model), _bare)).otherwise(model)


def _bare(model: pl.Expr) -> pl.Expr:
    return pl.when(_route(model).is_not_null()).then(model.str.replace(_ROUTE, "")).otherwise(model)
