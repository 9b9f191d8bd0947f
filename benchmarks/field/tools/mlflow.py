"""MLflow, with its SQLite store: every OpenTelemetry span is sent to it through the global provider."""

from __future__ import annotations

import os
from typing import Any

from field.asked import PRICED, SCORES, UNPRICED, call
from field.load import trials
from field.tools import Tracing

TITLE = "MLflow, SQLite"
PACKAGE = "mlflow"
NOT_RUN: dict[str, str] = {}


def _set_up() -> Any:
    os.environ |= {"MLFLOW_USE_DEFAULT_TRACER_PROVIDER": "false", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    import mlflow

    mlflow.set_experiment("field")
    mlflow.tracing.enable()
    return mlflow


def trace(backend: str) -> Tracing:
    from opentelemetry import trace

    mlflow = _set_up()
    flush = mlflow.flush_trace_async_logging
    return Tracing(trace.get_tracer_provider(), flush, flush)


def stored() -> int:
    return sum(len(one.data.spans) for one in _set_up().search_traces(return_type="list"))


def frame(count: int) -> dict[str, Any]:
    tracing = trace("")
    for _ in range(count // 100):
        trials(tracing.provider.get_tracer("program"), 100)
        tracing.flush()
    found = _set_up().search_traces()
    return {
        "call": "`mlflow.search_traces()`",
        "rows": len(found),
        "unit": f"a row per trace, in whose column `spans` are {sum(map(len, found['spans']))} spans",
    }


def cost() -> dict[str, Any]:
    tracing = trace("")
    for model in (PRICED, UNPRICED):
        call(tracing.provider, model)
    tracing.flush()
    found = _set_up().search_traces(return_type="list")
    costs = {one.data.spans[0].name: one.info.cost for one in found}
    return {
        "priced": (costs[f"chat {PRICED}"] or {}).get("total_cost"),
        "unpriced": costs[f"chat {UNPRICED}"],
        "total": None,
    }


def intervals() -> dict[str, Any]:
    mlflow = _set_up()

    @mlflow.genai.scorer
    def right(outputs: str) -> float:
        return float(outputs)

    asked = [{"inputs": {"item": item}, "outputs": str(score)} for item, (score, _) in enumerate(SCORES)]
    return {"of_one": sorted(mlflow.genai.evaluate(data=asked, scorers=[right]).metrics), "of_two": []}
