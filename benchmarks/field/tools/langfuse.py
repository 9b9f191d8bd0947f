"""Langfuse's client. Its server is several services in containers (PostgreSQL, ClickHouse, Redis, S3): it is not run here."""

from __future__ import annotations

from typing import Any

from field.asked import SCORES
from field.load import CALLS, PER_TRIAL
from field.tools import Tracing

TITLE = "Langfuse"
PACKAGE = "langfuse"
_SERVER = "its server needs PostgreSQL, ClickHouse, Redis and S3 in containers, or an account"
SENT = CALLS / PER_TRIAL
"""Of the spans: it leaves plain ones out, as it says."""
NOT_RUN = {"frames": _SERVER, "cost": _SERVER}


def _client(backend: str) -> Any:
    from langfuse import Langfuse

    return Langfuse(public_key="pk-lf-field", secret_key="sk-lf-field", base_url=backend)


def trace(backend: str) -> Tracing:
    from opentelemetry import trace

    client = _client(backend)
    return Tracing(trace.get_tracer_provider(), client.flush, client.shutdown)


def intervals(backend: str) -> dict[str, Any]:
    from langfuse import Evaluation

    def right(*, output: float, **_: object) -> Any:
        return Evaluation(name="right", value=output)

    ran = _client(backend).run_experiment(
        name="field",
        data=[{"input": item} for item in range(len(SCORES))],
        task=lambda *, item, **_: SCORES[item["input"]][0],
        evaluators=[right],
    )
    said = [line.strip("• ") for line in ran.format().split("Average Scores:")[-1].splitlines() if line.strip()]
    return {"of_one": [f"Average Scores: {line}" for line in said], "of_two": []}
