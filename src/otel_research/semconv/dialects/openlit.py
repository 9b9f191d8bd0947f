"""OpenLIT: GenAI names, a cost that is 0 where unknown, tokens estimated where none were reported."""

from __future__ import annotations

from otel_research.semconv.dialect import Dialect

DIALECT = Dialect(
    name="openlit",
    versions="openlit 1.45; @openlit/instrumentation-* (JavaScript), read from its source",
    scopes=("openlit.", "@openlit/"),
    aliases={"ttft_typed": ("gen_ai.server.time_to_first_token",), "streaming": ("gen_ai.request.is_stream",)},
    known=("openlit.",),
)
