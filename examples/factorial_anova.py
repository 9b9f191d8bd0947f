"""Two prompts, two models, two temperatures: which factor matters, and do they interact?

A full factorial design comes from a dict of factors; the analysis takes items out as blocks.
"""

from __future__ import annotations

import random
import time

from opentelemetry import trace

import otel_research as otr

tracer = trace.get_tracer("my-app")
noise = random.Random(5)
FACTORS = {"prompt": ["plain", "cot"], "model": ["small", "large"], "temperature": [0.0, 1.0]}


def ask(item: int, condition: otr.Condition) -> None:
    """The "model": thinking takes longer, and much longer on the large one; the temperature does nothing."""
    level = condition.factors
    slow = (2.0 if level["prompt"] == "cot" else 1.0) * (1.5 if level["model"] == "large" else 1.0)
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": level["model"],
        "gen_ai.request.temperature": level["temperature"],
    }
    with tracer.start_as_current_span("chat", kind=trace.SpanKind.CLIENT, attributes=attributes):
        time.sleep(0.001 * slow * (1 + item / 10) * noise.lognormvariate(0, 0.1))


with otr.experiment("factorial", seed=5) as exp:
    print(exp.run_trials(ask, range(12), conditions=FACTORS))

table = otr.anova(exp, "latency", list(FACTORS), transform="log", block="item_id")
for name, term in table.terms.items():
    print(f"{name:30} F = {term.f:8.2f}  p = {term.p_value:.2g}  partial eta squared = {term.partial_eta_squared:.2f}")
for name, mean in table.marginal_means.items():
    print(f"{name:30} {mean.mean:.2f} ms")

half = otr.fractional_factorial(FACTORS)
print(f"half of the conditions: {[str(one) for one in half]}, resolution {half.resolution}")
print("then prompt cannot be told from", half.aliases("prompt"))
