"""Keeping less on purpose: a filter, whole traces by chance, and a sample that prefers what is rare.

What is left out is counted in the ledger, and every row that is kept carries the weight that makes
estimates right again: a row kept with probability p stands for 1/p rows.
"""

from __future__ import annotations

import random

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

import otel_research as otr

tracer = trace.get_tracer("my-app")
CALLS = 3000


def work() -> int:
    """Calls of which some fail, each with a cache look-up that nobody wants to keep. How many failed."""
    chance, failed = random.Random(2), 0
    for number in range(CALLS):
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini", "number": number}
        with tracer.start_as_current_span("chat", attributes=attributes) as span:
            with tracer.start_as_current_span("cache.get"):
                pass
            if chance.random() < 0.02:
                failed += 1
                span.set_status(trace.StatusCode.ERROR)
                span.set_attribute("error.type", "timeout")
    return failed


def no_cache(span: ReadableSpan) -> bool:
    """A filter: what it says no to was never part of the question."""
    return span.name != "cache.get"


def failures_first(span: ReadableSpan) -> float:
    """A strategy: the probability to keep a span, known only when it has ended."""
    return 1.0 if span.status.status_code is trace.StatusCode.ERROR else 0.1


# A rate decides by a hash of the trace id: all spans of a trace, in every process, are kept or left out together.
with otr.experiment("whole-traces", event_filter=no_cache, sampling_rate=0.2) as traces:
    failed = work()
with otr.experiment("failures-first", event_filter=no_cache, sampling_strategy=failures_first) as weighted:
    work()

for exp in (traces, weighted):
    spans = exp.spans().collect()
    is_error = spans["status"] == "error"
    print(f"{exp.name}: {exp.ledger()}")
    print(
        f"  {spans.height} rows stand for {spans['sample_weight'].sum():.0f} calls (there were {CALLS}); "
        f"{is_error.sum()} failures kept, estimated {spans.filter(is_error)['sample_weight'].sum():.0f} of {failed}"
    )
    assert spans.filter(spans["name"] == "cache.get").is_empty()
    assert exp.ledger().is_balanced

# The strategy kept every failure; a rate would have kept a fifth of them.
assert (weighted.spans().collect()["status"] == "error").sum() == failed
reliability = otr.calculate_metrics(weighted).reliability
print(f"failure rate by the weights: {reliability.failure_rate:.2%}; the truth: {failed / CALLS:.2%}")
