"""HoneyHive: the kind of event on every span; what a traced function says of its model under its own names."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CALL, CHAIN, TOOL, Attributes, Dialect, words

ROLES = {"model": CALL, "chain": CHAIN, "tool": TOOL}
_METADATA, _CONFIG = "honeyhive_metadata.", "honeyhive_config."


def role(attributes: Attributes) -> pl.Expr:
    """By the event's type, on its own spans: on others' it is a guess from their kind."""
    kind = pl.when(pl.col("scope").str.starts_with("honeyhive")).then(attributes.text("honeyhive_event_type"))
    return words(kind, ROLES)


DIALECT = Dialect(
    name="honeyhive",
    versions="honeyhive 1.7.0",
    role=role,
    evidence=("honeyhive_event_type",),
    scopes=("honeyhive",),
    aliases={
        "provider": (f"{_CONFIG}provider",),
        "request_model": (f"{_CONFIG}model",),
        "temperature": (f"{_CONFIG}temperature",),
        "input_tokens": (f"{_METADATA}prompt_tokens", f"{_METADATA}input_tokens"),
        "output_tokens": (f"{_METADATA}completion_tokens", f"{_METADATA}output_tokens"),
        "total_tokens": (f"{_METADATA}total_tokens",),
        "reported_cost_usd": (f"{_METADATA}cost", "honeyhive_metrics.cost"),
        "error_message": ("honeyhive_error",),
    },
    known=("honeyhive",),
)
