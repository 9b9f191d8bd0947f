"""Google's ADK: GenAI names; what they leave out is in the whole response, as JSON text in the words of Google's API."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CALL, Attributes, Dialect

_RESPONSE = "gcp.vertex.agent.llm_response#"
_PYTHON = _RESPONSE + "usage_metadata."
_JAVA = _RESPONSE + "usageMetadata."

SCOPE = "gcp.vertex.agent"


def role(_attributes: Attributes) -> pl.Expr:
    """A call is one by its name: in JavaScript one that failed tells nothing else."""
    return pl.when((pl.col("scope") == SCOPE) & (pl.col("name") == "call_llm")).then(pl.lit(CALL))


DIALECT = Dialect(
    name="google_adk",
    versions="google-adk 2.13, @google/adk 2.0; 1.x and Java, read from their source",
    role=role,
    scopes=(SCOPE,),
    aliases={
        # Before 2, and in Java, the output leaves out the thoughts: the total knows.
        "total_tokens": (_PYTHON + "total_token_count", _JAVA + "totalTokenCount"),
        "cache_read_tokens": (_PYTHON + "cached_content_token_count", _JAVA + "cachedContentTokenCount"),
        "reasoning_tokens": (_PYTHON + "thoughts_token_count", _JAVA + "thoughtsTokenCount"),
    },
    known=("gcp.vertex.agent.",),
)
