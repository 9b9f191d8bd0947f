"""How a provider is called on spans, and what the price table calls it.

Data, not logic: a new name is a new line. Names that are not here are looked up as they are.
Last checked against genai-prices 0.2.3 and the GenAI conventions of November 2026.
"""

from __future__ import annotations

import re

PROVIDERS: dict[str, str] = {
    "aws.bedrock": "aws",
    "bedrock": "aws",
    "amazon_bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azureai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "google_genai": "google",
    "gemini": "google",
    "vertex_ai": "google",
    "fireworks_ai": "fireworks",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshotai",
    "together_ai": "together",
    "voyage_ai": "voyageai",
    "grok": "x-ai",
    "x_ai": "x-ai",
    "xai": "x-ai",
    "z_ai": "zai",
}

# Bedrock's models begin with their vendor, which some instrumentations cut off.
BEDROCK_VENDORS = ("amazon", "anthropic", "meta", "mistral", "cohere", "ai21", "deepseek", "openai", "qwen")

# Gateways pass another provider's answer on; the model's own prefix says whose.
GATEWAYS = frozenset({"litellm", "langwatch", "portkey"})

# Words for the ordinary service tier; any other tier needs a price of its own.
STANDARD_TIER = frozenset({"", "auto", "default", "standard", "on_demand", "none", "null"})

_SNAPSHOT = re.compile(r"[-@:](?:20\d{2}-?\d{2}-?\d{2}|\d{3,4}|latest|v\d[\w:.]*)$")


def provider_id(name: str | None) -> str | None:
    """The price table's word for a provider as a span names it."""
    if name is None or not name.strip():
        return None
    cleaned = name.strip().lower()
    return PROVIDERS.get(cleaned, cleaned)


def is_snapshot_of(response_model: str, request_model: str) -> bool:
    """Is the answering model a dated snapshot of the one that was asked for (`gpt-4o-2024-08-06`)?"""
    answered, asked = response_model.lower(), request_model.lower()
    return answered.startswith(asked) and _SNAPSHOT.fullmatch(answered[len(asked) :]) is not None


def tier_name(name: str | None) -> str | None:
    """The service tier (`batch`, `flex`, `priority`), or None for the ordinary one."""
    cleaned = (name or "").strip().lower()
    return None if cleaned in STANDARD_TIER else cleaned
