"""A run that is watched while it goes on, and that stops when it has cost enough.

Rules look at spans as they end, on a thread of their own. Every alert is first recorded in the
experiment, then told to the sinks; here a list, in earnest `alerts.webhook("https://...")`.
"""

from __future__ import annotations

import random

from opentelemetry import trace

import otel_research as otr
from otel_research import alerts

tracer = trace.get_tracer("my-app")
chance = random.Random(6)
told: list[alerts.Alert] = []

RULES = [
    alerts.Budget(0.25, action="stop"),  # US dollars; the next trial raises BudgetExceeded
    alerts.ErrorRate(0.2, 20),  # of the last 20 calls
    alerts.TokenThreshold(30_000),  # one call, in and out together
]


def ask(item: int) -> None:
    """A call of about a cent that fails at times; one of them is ten times as dear."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 40_000 if item == 7 else 3_400,
        "gen_ai.usage.output_tokens": 100,
    }
    with tracer.start_as_current_span("chat gpt-4o", kind=trace.SpanKind.CLIENT, attributes=attributes) as span:
        if chance.random() < 0.25:
            span.set_status(trace.StatusCode.ERROR)


done = 0
with otr.experiment("watched", sample_size=1000, alerts=[*RULES, told.append]) as exp:
    try:
        for item in range(1000):
            with exp.trial(item=f"q{item}"):
                ask(item)
            done += 1
    except otr.BudgetExceeded as stop:
        print(f"stopped after {done} trials: {stop}")

for alert in told:
    print(f"{alert.severity} {alert.rule}: {alert.text}")
assert 0 < done < 1000
assert {"Budget", "TokenThreshold"} <= {alert.rule for alert in told}

# The record has them too, so that a reader of the data knows why the run is short of its sample size.
print(sum(note["kind"] == "alert" for note in exp.annotations()), "alerts in the record")
spent = otr.calculate_metrics(exp, unit="trial").cost.total_usd
print(f"spent {spent:.4f} USD, {done} of {exp.sample_size} trials")
