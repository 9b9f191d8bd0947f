"""Codex CLI: a request's usage is on the event span that ends its stream; the turn above it has the model, and all sums."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, Attributes, Dialect

SCOPE = "codex_"
_TURN = "codex.turn.token_usage."


def role(attributes: Attributes) -> pl.Expr:
    """What has usage is the end of a request, what has sums is the turn of an agent."""
    used = attributes.text("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens").is_not_null()
    summed = attributes.text(f"{_TURN}input_tokens").is_not_null()
    found = pl.when(used).then(pl.lit(CALL)).when(summed).then(pl.lit(AGENT))
    return pl.when(pl.col("scope").str.starts_with(SCOPE)).then(found)


DIALECT = Dialect(
    name="codex",
    versions="codex (the CLI of OpenAI, its telemetry of 2026), read from its source",
    role=role,
    scopes=(SCOPE,),
    aliases={
        "rollup_input_tokens": (f"{_TURN}input_tokens",),
        "rollup_output_tokens": (f"{_TURN}output_tokens",),
        "total_tokens": ("codex.usage.total_tokens",),
        "reasoning_tokens": ("codex.usage.reasoning_output_tokens",),
    },
    known=("codex.", "thread.id", "turn.id", "code.", "model", "tool_name", "from"),
)
