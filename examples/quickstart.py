"""Two prompts, twenty questions, one answer: which is faster, and is the difference real?

The "model" sleeps for a while and reports tokens, so that this runs anywhere. In your program
the spans come from an instrumentation (OpenTelemetry GenAI, OpenInference, ...) by themselves.
"""

from __future__ import annotations

import random
import time

from opentelemetry import trace

import otel_research as otr

tracer = trace.get_tracer("my-app")
model = random.Random(7)


def ask(prompt: str, words: int) -> None:
    """What an instrumented client does: one span per call, in OpenTelemetry's GenAI vocabulary."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": len(prompt) // 4,
        "gen_ai.usage.output_tokens": words,
    }
    with tracer.start_as_current_span("chat gpt-4o-mini", kind=trace.SpanKind.CLIENT, attributes=attributes):
        time.sleep(model.lognormvariate(-6, 0.3) * (1 + words / 100))


def answer(question: str, condition: otr.Condition) -> None:
    """One trial. A wrong answer is a score, not a failure."""
    words = condition.factors["words"]
    ask(f"Answer in {words} words: question {question}", words)
    otr.score("accuracy", model.random() < 0.9)


with otr.experiment("short-vs-long-prompt", sample_size=20, seed=7) as exp:
    # In random order, the conditions of a question side by side: a slow minute hits both alike.
    questions = [f"q{number}" for number in range(20)]
    exp.run_trials(answer, questions, conditions={"short": {"words": 20}, "long": {"words": 200}})

for condition, metrics in otr.metrics_by(exp, "condition", unit="trial").items():
    print(f"{condition}: median {metrics.latency.median:.1f} ms over {metrics.n} {metrics.unit}s")
print(otr.compare(exp.where({"condition": "long"}), exp.where({"condition": "short"})).summary())
print("written:", otr.export(exp, "csv", "spans.csv"))
