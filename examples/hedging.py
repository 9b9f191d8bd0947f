"""Hedged requests: ask again when an answer is late. Which delay is worth its price?

Four conditions ask the same questions: no hedging, a fixed delay, the 90th percentile of what was
seen, and a delay that adapts to a share of requests. The "model" is slow once in ten times.
"""

from __future__ import annotations

import asyncio
import random

from opentelemetry import trace

import otel_research as otr
from otel_research.patterns import Adaptive, Fixed, Hedge, HedgingMetrics, Percentile

tracer = trace.get_tracer("my-app")
model = random.Random(11)
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 200,
    "gen_ai.usage.output_tokens": 40,
}


async def ask(item: int) -> str:
    """One request. A cancelled one never learns its usage, so its attributes come at the end."""
    with tracer.start_as_current_span("chat gpt-4o-mini", kind=trace.SpanKind.CLIENT) as span:
        await asyncio.sleep(0.004 * (12 if model.random() < 0.1 else 1) * model.lognormvariate(0, 0.2))
        span.set_attributes(CALL)
    return f"answer {item}"


# `cancel_losers=False` lets the late answer arrive, so what hedging saved is measured, not estimated.
STRATEGIES = {
    "plain": ask,
    "fixed": Hedge(ask, delay=Fixed(0.010), cancel_losers=False),
    "percentile": Hedge(ask, delay=Percentile(90, initial=0.010), cancel_losers=False),
    "adaptive": Hedge(ask, delay=Adaptive(budget=0.1, initial=0.010), cancel_losers=False),
}


async def trial(item: int, condition: otr.Condition) -> None:
    await STRATEGIES[condition](item)


async def main() -> otr.Experiment:
    async with otr.experiment("hedging", primary="latency", sample_size=40, seed=11) as exp:
        await exp.arun_trials(trial, range(40), conditions=list(STRATEGIES), concurrency=8)
        for strategy in STRATEGIES.values():
            if isinstance(strategy, Hedge):
                await strategy.join()  # late answers are spans too: wait for them inside the experiment
    return exp


exp = asyncio.run(main())
for condition, metrics in otr.metrics_by(exp, "condition", unit="trial", ci=False).items():
    found = HedgingMetrics().calculate(exp.where({"condition": condition}).spans())
    saved = "" if found["latency_saved_ms"] is None else f", saved {found['latency_saved_ms']:.1f} ms per request"
    print(
        f"{condition:10} median {metrics.latency.median:5.1f} ms, max {metrics.latency.max:5.1f} ms, "
        f"{found['hedged']} of {found['requests']} hedged{saved}, {found['extra_cost_usd']:.6f} USD extra"
    )
result = otr.compare(exp.where({"condition": "plain"}), exp.where({"condition": "fixed"}), estimand="mean")
print(result.summary())
