from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest
from captured_spans import Captured
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

from otel_research.errors import ConfigurationError
from otel_research.patterns import Adaptive, Fixed, Hedge, HedgingMetrics, Percentile
from otel_research.patterns.hedging_metrics import restricted_mean


class Backend:
    """Answers each request after the next of the given seconds; an exception is raised instead."""

    def __init__(self, *script: float | Exception, on_answer: Callable[[], None] = lambda: None) -> None:
        self._script: Iterator[float | Exception] = iter(script)
        self._on_answer = on_answer
        self.requests = 0
        self.answered = 0

    async def __call__(self) -> int:
        self.requests += 1
        number, step = self.requests, next(self._script)
        if isinstance(step, Exception):
            raise step
        await asyncio.sleep(step)
        self._on_answer()
        self.answered += 1
        return number


def test_a_quick_answer_sends_one_request(captured: Captured) -> None:
    """Nothing is hedged when the answer comes before the delay."""
    backend = Backend(0.0)
    assert asyncio.run(Hedge(backend, delay=5.0, tracer_provider=captured.provider)()) == 1
    attributes = dict(captured.one("hedging.request").attributes or {})
    assert backend.requests == 1
    assert (attributes["hedging.fired"], attributes["hedging.won"]) == (False, False)
    assert captured.named("hedging.hedge") == []


def test_a_late_answer_is_overtaken(captured: Captured) -> None:
    """The hedge is sent after the delay, wins, and the first attempt is cancelled."""
    backend = Backend(10.0, 0.0)
    assert asyncio.run(Hedge(backend, delay=0.02, tracer_provider=captured.provider)()) == 2
    request, primary, hedge = (captured.one(f"hedging.{name}") for name in ("request", "primary", "hedge"))
    attributes = dict(request.attributes or {})
    assert attributes["hedging.strategy"] == "fixed"
    assert (attributes["hedging.fired"], attributes["hedging.won"], attributes["hedging.attempts"]) == (True, True, 2)
    assert dict(primary.attributes or {})["hedging.outcome"] == "cancelled"
    assert dict(hedge.attributes or {})["hedging.outcome"] == "answered"
    # The delay counts from the request; the first attempt is a task, which begins a little later.
    assert (hedge.start_time or 0) - (request.start_time or 0) >= 0.02e9
    assert primary.parent == hedge.parent == request.context


def test_a_hedge_can_lose(captured: Captured) -> None:
    """Fired is not won: the first attempt may still be first."""
    backend = Backend(0.06, 10.0)
    assert asyncio.run(Hedge(backend, delay=0.02, tracer_provider=captured.provider)()) == 1
    attributes = dict(captured.one("hedging.request").attributes or {})
    assert (attributes["hedging.fired"], attributes["hedging.won"]) == (True, False)
    assert captured.values("hedging.hedge", "hedging.outcome") == ["cancelled"]


def test_a_failed_attempt_does_not_end_the_race(captured: Captured) -> None:
    """While one attempt is under way, the failure of the other is not the request's."""
    backend = Backend(0.06, ValueError("refused"))
    assert asyncio.run(Hedge(backend, delay=0.02, tracer_provider=captured.provider)()) == 1
    assert captured.values("hedging.hedge", "hedging.outcome") == ["failed"]
    assert captured.one("hedging.request").status.status_code is StatusCode.UNSET


def test_hedging_is_not_retrying(captured: Captured) -> None:
    """An attempt that fails before any hedge was sent fails the request with its own error."""
    backend = Backend(ValueError("refused"), 0.0)
    with pytest.raises(ValueError, match="refused"):
        asyncio.run(Hedge(backend, delay=0.02, tracer_provider=captured.provider)())
    assert backend.requests == 1
    assert captured.one("hedging.request").status.status_code is StatusCode.ERROR


def test_at_most_so_many_hedges(captured: Captured) -> None:
    """`max_hedges` bounds the requests sent, each one delay after the last."""
    backend = Backend(10.0, 10.0, 0.0)
    assert asyncio.run(Hedge(backend, delay=0.01, max_hedges=2, tracer_provider=captured.provider)()) == 3
    assert backend.requests == 3
    backend = Backend(0.1, 10.0, 0.0)
    assert asyncio.run(Hedge(backend, delay=0.01, max_hedges=1, tracer_provider=captured.provider)()) == 1
    assert backend.requests == 2


def test_a_cancelled_request_leaves_nothing_running(captured: Captured) -> None:
    """Cancelling the caller cancels every attempt and ends every span."""

    async def main() -> int:
        request = asyncio.ensure_future(Hedge(Backend(10.0, 10.0), delay=0.01, tracer_provider=captured.provider)())
        await asyncio.sleep(0.05)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert captured.values("hedging.primary", "hedging.outcome") == ["cancelled"]
    assert captured.values("hedging.hedge", "hedging.outcome") == ["cancelled"]
    assert len(captured.named("hedging.request")) == 1


def test_losers_may_finish(captured: Captured) -> None:
    """With `cancel_losers=False` the first attempt runs to its end, so the saving is observed."""
    backend = Backend(0.2, 0.0)
    hedge = Hedge(backend, delay=0.02, cancel_losers=False, tracer_provider=captured.provider)

    async def main() -> int:
        answer = await hedge()
        await hedge.join()
        return answer

    assert asyncio.run(main()) == 2
    assert backend.answered == 2
    frame = captured.frame()
    found = HedgingMetrics().calculate(frame)
    assert found["latency_saved_method"] == "observed"
    first = (
        frame.filter(pl.col("name") == "hedging.primary").select(pl.col("end_ns") - pl.col("start_ns")).collect().item()
        / 1e6
    )
    assert 100 < found["latency_saved_ms"] < first


def test_the_calculator_equals_the_backends_count(captured: Captured) -> None:
    """Hedge rate, win rate, extra requests and extra cost are those that the backend saw."""
    backend = Backend(0.0, 0.0, 5.0, 0.0, 0.1, 5.0, on_answer=captured.call(0.5))
    hedge = Hedge(backend, delay=0.03, tracer_provider=captured.provider)

    async def main() -> None:
        for _ in range(4):
            await hedge()

    asyncio.run(main())
    found = HedgingMetrics().calculate(captured.frame())
    assert backend.requests == found["requests"] + found["hedges"] == 6
    assert (found["requests"], found["hedged"], found["won"], found["cancelled"]) == (4, 2, 1, 2)
    assert (found["hedge_rate"], found["win_rate"]) == (0.5, 0.5)
    assert found["extra_requests_per_request"] == 0.5
    assert found["extra_cost_usd"] == 0.0
    assert found["latency_saved_method"] == "kaplan_meier_lower_bound"


def test_the_losers_cost_is_the_extra_cost(captured: Captured) -> None:
    """A loser that finished is paid for; what it cost is extra, the winner's is not."""
    backend = Backend(0.05, 0.0, on_answer=captured.call(0.5))
    hedge = Hedge(backend, delay=0.02, cancel_losers=False, tracer_provider=captured.provider)

    async def main() -> None:
        await hedge()
        await hedge.join()

    asyncio.run(main())
    found = HedgingMetrics().calculate(captured.frame())
    assert (found["extra_calls"], found["extra_cost_usd"], found["extra_unpriced_calls"]) == (1, 0.5, 0)


def test_nothing_there_is_none_not_zero() -> None:
    """Without a hedged request the rates are None and the reason stands beside."""
    frame = pl.LazyFrame(
        schema={
            **dict.fromkeys(["name", "trace_id", "span_id", "parent_span_id", "attributes"], pl.String),
            "start_ns": pl.Int64,
            "end_ns": pl.Int64,
        }
    )
    found = HedgingMetrics().calculate(frame)
    assert found["requests"] == 0
    assert (found["hedge_rate"], found["win_rate"], found["latency_saved_ms"]) == (None, None, None)
    assert found["latency_saved_method"] == "no_answered_requests"


def test_what_was_cut_off_before_it_could_be_seen_is_not_guessed(captured: Captured) -> None:
    """If no attempt that outlasted the delay was seen to its end, the saving is None with the reason."""
    hedge = Hedge(Backend(0.0, 5.0, 0.0), delay=0.03, tracer_provider=captured.provider)

    async def main() -> None:
        await hedge()
        await hedge()

    asyncio.run(main())
    found = HedgingMetrics().calculate(captured.frame())
    assert (found["won"], found["latency_saved_ms"], found["latency_saved_method"]) == (1, None, "not_identified")


def test_restricted_mean_of_a_published_sample() -> None:
    """Remission times under 6-MP (Freireich 1963, n = 21): restricted mean at 23 weeks by the curve's steps."""
    complete = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    cut = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    # Survival after each event as published (Collett, Modelling Survival Data, table 2.1).
    steps = [(0, 1.0), (6, 0.857), (7, 0.807), (10, 0.753), (13, 0.690), (16, 0.628), (22, 0.538), (23, 0.448)]
    area = sum(height * (later - since) for (since, height), (later, _) in itertools.pairwise(steps))
    durations = [float(one) for one in complete + cut]
    found = restricted_mean(durations, [True] * len(complete) + [False] * len(cut))
    assert found == pytest.approx(area, abs=0.02)


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=30))
def test_restricted_mean_without_censoring_is_the_mean(durations: list[float]) -> None:
    """With nothing cut off, the area under the curve is the plain mean."""
    found = restricted_mean(durations, [True] * len(durations))
    assert found == pytest.approx(sum(durations) / len(durations))


def test_percentile_is_the_type_7_quantile_of_what_was_seen() -> None:
    """The delay is the initial one until enough is known, then the window's percentile."""
    delay = Percentile(90, initial=3.0, minimum=5, window=50)
    for seconds in (0.1, 0.2, 0.3, 0.4):
        delay.observe(seconds, fired=False)
    assert delay.seconds() == 3.0
    delay.observe(0.5, fired=False)
    assert delay.seconds() == pytest.approx(pl.Series([0.1, 0.2, 0.3, 0.4, 0.5]).quantile(0.9, "linear"))
    for _ in range(50):
        delay.observe(1.0, fired=False)
    assert delay.seconds() == 1.0


@pytest.mark.parametrize("budget", [0.02, 0.1, 0.3])
def test_adaptive_keeps_to_its_budget_and_follows_drift(budget: float) -> None:
    """The share of hedged requests stays near the budget, also after latency trebles."""
    rng, delay = random.Random(7), Adaptive(budget, initial=1.0)
    for scale in (0.2, 0.6):
        fired = []
        for _ in range(6000):
            latency = scale * math.exp(rng.gauss(0, 0.5))
            fired.append(latency > delay.seconds())
            delay.observe(min(latency, delay.seconds()), fired[-1])
        assert sum(fired) / len(fired) == pytest.approx(budget, abs=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(0), "delay is 0"),
        (lambda: Percentile(100), "percentile is 100"),
        (lambda: Percentile(95, minimum=600), "minimum is 600"),
        (lambda: Adaptive(0), "budget is 0"),
        (lambda: Adaptive(0.1, initial=math.nan), "initial delay is nan"),
        (lambda: Hedge(Backend(), max_hedges=0), "max_hedges is 0"),
    ],
)
def test_a_wrong_set_up_is_refused(make: Callable[[], Any], message: str) -> None:
    """A setting that cannot work is named when it is made."""
    with pytest.raises(ConfigurationError, match=message):
        make()
