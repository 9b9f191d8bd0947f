from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import openai
import polars as pl
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_research.demo.profiles import NO_FAULTS, PROFILES, ModelProfile
from otel_research.demo.questions import questions, read_answer
from otel_research.demo.server import ModelServer
from otel_research.patterns import EnsembleMetrics, Fixed, Hedge, HedgingMetrics, majority

# Two clearly separate speeds, so that which request is late does not depend on this machine's load.
BIMODAL = ModelProfile(
    name="gpt-4o-mini", served="gpt-4o-mini", accuracy=0.8, median_ms=20, sigma=0.05, tail=0.1, tail_factor=75
)
DELAY = 0.5

Call = Callable[[str], Awaitable[Any]]


def drive(server: ModelServer, model: str, wrap: Callable[[Call], Call], asked: list[str]) -> list[Any]:
    """Ask every question through the real client, four at a time."""

    async def main() -> list[Any]:
        places = asyncio.Semaphore(4)
        plain = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(
            base_url=server.base_url, api_key="unused", max_retries=0, http_client=plain
        ) as client:

            async def ask(question: str, model: str = model) -> int | None:
                answer = await client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": question}]
                )
                return read_answer(answer.choices[0].message.content)

            call = wrap(ask)

            async def one(question: str) -> Any:
                async with places:
                    return await call(question)

            answers = await asyncio.gather(*(one(question) for question in asked))
            if isinstance(call, Hedge):
                await call.join()
            return answers

    answers = asyncio.run(main())
    assert server.ledger.drain()
    return answers


class Spans:
    """A provider of its own and its spans as a frame."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def frame(self) -> pl.LazyFrame:
        return pl.LazyFrame(
            [
                {
                    "name": span.name,
                    "trace_id": f"{span.context.trace_id:032x}",
                    "span_id": f"{span.context.span_id:016x}",
                    "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
                    "start_ns": span.start_time,
                    "end_ns": span.end_time,
                    "attributes": json.dumps(dict(span.attributes or {})),
                }
                for span in self._exporter.get_finished_spans()
            ],
            infer_schema_length=None,
        )


def unhedged(asked: list[str]) -> pl.Series:
    """The latencies (ms) that the server drew when nothing was hedged, in the order of the questions."""
    with ModelServer(seed=4, models=(BIMODAL,), faults=NO_FAULTS) as server:
        drive(server, "gpt-4o-mini", lambda call: call, asked)
        return pl.Series([one.delay_ms for one in server.ledger.exchanges])


@pytest.mark.parametrize("cancel", [True, False])
def test_hedging_cuts_the_tail_at_a_counted_price(cancel: bool) -> None:
    """The tail gets thinner; hedges, wins, cancellations and the saving are those that the server knows of."""
    asked, spans = [f"What is {number} + 7?" for number in range(60)], Spans()
    drawn = unhedged(asked)
    late = int((drawn > DELAY * 1000).sum())

    def wrap(call: Call) -> Call:
        return Hedge(call, delay=Fixed(DELAY), cancel_losers=cancel, tracer_provider=spans.provider)

    with ModelServer(seed=4, models=(BIMODAL,), faults=NO_FAULTS) as server:
        drive(server, "gpt-4o-mini", wrap, asked)
        ledger = server.ledger
    found = HedgingMetrics().calculate(spans.frame())
    assert late > 3
    sent = len(ledger) - len(asked)
    assert found["hedged"] == found["hedges"] == sent >= late
    assert found["hedge_rate"] == found["extra_requests_per_request"] == sent / len(asked)
    assert found["cancelled"] == ledger.abandoned
    if cancel:
        assert found["won"] == sum(one.attempt > 0 and one.outcome == "answered" for one in ledger.exchanges)
    durations = spans.frame().filter(pl.col("name") == "hedging.request").collect()
    took = (durations["end_ns"] - durations["start_ns"]) / 1e6
    # Of so few requests the last percentile is the worst one, which may be slow twice: count the slow ones.
    is_slow = DELAY * 1000 + 700  # what a busy machine takes for a hedge does not make it slow
    assert (took > is_slow).sum() < (drawn > is_slow).sum()
    if not cancel:
        truth = (float(drawn.sum()) - float(drawn.clip(upper_bound=DELAY * 1000 + BIMODAL.median_ms).sum())) / len(
            asked
        )
        assert found["latency_saved_method"] == "observed"
        assert found["latency_saved_ms"] == pytest.approx(truth, rel=0.3)


def test_an_ensemble_beats_its_voters_and_its_votes_add_up() -> None:
    """The majority is right more often than its mean voter; votes per model equal the server's count."""
    voters = ("gpt-4o-mini", "gpt-4.1-mini", "claude-haiku-4-5")
    models = tuple(msgspec.structs.replace(one, accuracy=0.75) for one in PROFILES if one.name in voters)
    asked, spans = questions(150, seed=8), Spans()
    alone: dict[str, float] = {}
    with ModelServer(seed=4, models=models, faults=NO_FAULTS, latency_scale=0) as server:

        def vote(call: Any) -> Call:
            members = {name: lambda question, name=name: call(question, name) for name in voters}
            return majority(members, tracer_provider=spans.provider).predict

        decisions = drive(server, "", vote, [one.text for one in asked])
        together = sum(decision.answer == one.answer for decision, one in zip(decisions, asked, strict=True))
        for place, name in enumerate(voters):
            alone[name] = sum(
                decision.votes[place].answer == one.answer for decision, one in zip(decisions, asked, strict=True)
            )
        found = EnsembleMetrics().calculate(spans.frame())
        assert {name: sums["answered_votes"] for name, sums in found["by_voter"].items()} == {
            name: totals.answered for name, totals in server.ledger.by_model.items()
        }
    assert together > sum(alone.values()) / len(alone)
    assert found["predictions"] == found["decided"] == 150
    assert found["mean_agreement"] == pytest.approx(sum(one.agreement for one in decisions) / 150)
    assert found["consensus_rate"] == sum(one.consensus for one in decisions) / 150
