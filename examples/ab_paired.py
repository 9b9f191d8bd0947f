"""An A/B test on shared items: trials are paired by item, so small differences show in few trials.

The "model" sleeps and reports tokens, so that this runs anywhere; items differ far more than prompts do.
"""

from __future__ import annotations

import random
import time

from opentelemetry import trace

import otel_research as otr

tracer = trace.get_tracer("my-app")
model = random.Random(3)
HARD = {f"q{at}": random.Random(at).lognormvariate(0, 0.8) for at in range(25)}


def ask(item: str, condition: otr.Condition) -> None:
    """What an instrumented client does: one span per call, in OpenTelemetry's GenAI vocabulary."""
    words = {"long": 60, "short": 40}[condition]
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 200,
        "gen_ai.usage.output_tokens": words,
    }
    with tracer.start_as_current_span("chat gpt-4o-mini", kind=trace.SpanKind.CLIENT, attributes=attributes):
        time.sleep(0.0001 * words * HARD[item] * model.lognormvariate(0, 0.1))
    otr.score("accuracy", model.random() < 0.9)


with otr.experiment("ab-paired", primary=["latency", "accuracy"], sample_size=25, seed=3) as exp:
    trials = exp.run_trials(ask, HARD.keys(), conditions=["long", "short"])

print(trials)
base, candidate = exp.where({"condition": "long"}), exp.where({"condition": "short"})
for paired in (False, "auto"):
    effect = otr.compare(base, candidate, paired=paired).effect("latency")
    print(f"{effect.design}: {effect.improvement_pct:.1f} % faster, interval {effect.improvement_ci}")
result = otr.compare(base, candidate)
print(result.summary())
print(result.methods)
