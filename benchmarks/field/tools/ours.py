"""This package, with a store on disk."""

from __future__ import annotations

from typing import Any

from field.asked import PRICED, SCORES, UNPRICED, call
from field.load import trials
from field.tools import Tracing

import otel_research as otr

TITLE = "otel-research"
PACKAGE = "otel-research"
STORE = "disk:store"
NOT_RUN: dict[str, str] = {}


def trace(backend: str) -> Tracing:
    from opentelemetry import trace

    otr.configure(store=STORE)
    running = otr.start_experiment("field")
    return Tracing(trace.get_tracer_provider(), lambda: None, lambda: otr.stop_experiment(running.id))


def stored() -> int:
    otr.configure(store=STORE)
    return int(otr.get_experiment("field").spans().collect().height)


def frame(count: int) -> dict[str, Any]:
    tracing = trace("")
    trials(tracing.provider.get_tracer("program"), count)
    tracing.close()
    exp = otr.get_experiment("field")
    return {"call": "`exp.spans().collect()`", "rows": exp.spans().collect().height, "unit": "a row per span"}


def cost() -> dict[str, Any]:
    tracing = trace("")
    for model in (PRICED, UNPRICED):
        call(tracing.provider, model)
    tracing.close()
    found = otr.calculate_metrics(otr.get_experiment("field")).cost
    told = f"`unpriced={found.unpriced}`, `unpriced_models={found.unpriced_models}`"
    return {
        "priced": found.by_model[PRICED],
        "unpriced": None,
        "total": found.total_usd,
        "says": f"beside the total {told}",
    }


def intervals() -> dict[str, Any]:
    otr.configure(store=STORE)
    with otr.experiment("field") as exp:
        for item, (control, candidate) in enumerate(SCORES):
            for condition, score in (("control", control), ("candidate", candidate)):
                with exp.arm(condition), exp.trial(item=item) as trial:
                    trial.score("right", score)
    found = otr.compare(
        exp.where({"condition": "control"}), exp.where({"condition": "candidate"}), metrics="right"
    ).effects["right"]
    interval = found.main.ci["difference"]
    return {
        "of_one": sorted(found.main.ci),
        "of_two": [
            f"{found.main.difference:+.2f} [{interval.low:.2f} to {interval.high:.2f}]",
            f"p = {found.test.p_value:.3g} ({found.test.method})",
            f"{found.design} by item",
        ],
    }
