"""The mistralai SDK's own spans (1.x): `mistral_ai.*` beside a few GenAI names."""

from __future__ import annotations

from otel_research.semconv.dialect import Dialect

DIALECT = Dialect(
    name="mistral",
    versions="mistralai 1.x (on by default), 3.x writes genai",
    evidence=("mistral_ai.operation.id", "mistral_ai.request.total_tokens", "mistral_ai.error.type"),
    scopes=("mistralai_sdk",),
    aliases={
        "total_tokens": ("mistral_ai.request.total_tokens",),
        "error_type": ("mistral_ai.error.type",),
        "error_message": ("mistral_ai.error.message",),
    },
    known=("mistral_ai.", "agent.trace.public"),
)
