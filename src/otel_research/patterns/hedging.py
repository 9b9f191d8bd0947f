"""Ask again when an answer is late, and take whichever comes first.

    hedged = Hedge(ask, delay=Percentile(95))
    answer = await hedged("What is 12 * 34?")

After Dean and Barroso, "The Tail at Scale" (2013). Only for requests that may be sent
twice. The spans `hedging.request`, `hedging.primary` and `hedging.hedge` carry what
`HedgingMetrics` needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from opentelemetry.trace import Span, Status, StatusCode, Tracer, TracerProvider, get_tracer

from otel_research.errors import ConfigurationError
from otel_research.patterns.delays import Delay, Fixed

Answer = TypeVar("Answer")

SCOPE = "otel_research.patterns"


class Hedge(Generic[Answer]):
    """A callable with hedged requests. Reusable and safe to use from many tasks at once.

    `delay` is a number of seconds or a strategy: `Fixed`, `Percentile`, `Adaptive`.
    At most `max_hedges` more requests are sent, each after a further delay. Losers are
    cancelled; `cancel_losers=False` lets them finish, so that the latency saved is
    measured and not estimated. An attempt that fails does not end the request while
    another one is under way; if all fail, the first attempt's error is raised.
    Spans go to `tracer_provider`, by default to the global one.
    """

    def __init__(
        self,
        call: Callable[..., Awaitable[Answer]],
        *,
        delay: float | Delay = 1.0,
        max_hedges: int = 1,
        cancel_losers: bool = True,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        if max_hedges < 1:
            raise ConfigurationError(f"max_hedges is {max_hedges}; use at least 1, or call without `Hedge`.")
        self.delay: Delay = Fixed(delay) if isinstance(delay, int | float) else delay
        self._call = call
        self._max_hedges = max_hedges
        self._cancel_losers = cancel_losers
        self._provider = tracer_provider
        self._stragglers: set[asyncio.Task[Answer]] = set()

    @property
    def _tracer(self) -> Tracer:
        # Asked for at every call: the global provider may be set after the hedge is made.
        return get_tracer(SCOPE, tracer_provider=self._provider)

    def __repr__(self) -> str:
        return f"<Hedge {self.delay.name}, {self.delay.seconds() * 1000:.0f} ms, at most {self._max_hedges}>"

    async def __call__(self, *args: Any, **kwargs: Any) -> Answer:
        """Ask, and ask again when it takes too long; the first answer wins."""
        seconds = self.delay.seconds()
        attributes: dict[str, str | float] = {"hedging.strategy": self.delay.name, "hedging.delay_ms": seconds * 1000}
        with self._tracer.start_as_current_span("hedging.request", attributes=attributes) as span:
            race = _Race(self, args, kwargs, seconds)
            try:
                winner = await race.run()
            finally:
                await self._finish(race)
                _describe(span, race)
            return winner.result()

    async def join(self) -> None:
        """Wait for losers that were left running (`cancel_losers=False`)."""
        while self._stragglers:
            await asyncio.gather(*self._stragglers, return_exceptions=True)

    async def _finish(self, race: _Race[Answer]) -> None:
        if self._cancel_losers or race.winner is None:
            for task in race.tasks:
                task.cancel()
            await asyncio.gather(*race.tasks, return_exceptions=True)
        else:
            self._keep({task for task in race.tasks if not task.done()})
        if race.winner is not None and not race.primary_failed:
            self.delay.observe(race.primary_seconds, race.fired)

    def _keep(self, tasks: set[asyncio.Task[Answer]]) -> None:
        self._stragglers |= tasks
        for task in tasks:
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._stragglers.discard(task)
        # Retrieved, or asyncio would warn about an exception that nobody waits for.
        if not task.cancelled():
            task.exception()


class _Race(Generic[Answer]):
    """The attempts of one request."""

    def __init__(self, hedge: Hedge[Answer], args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float) -> None:
        self._hedge = hedge
        self._arguments = args, kwargs
        self._seconds = seconds
        self._started = time.perf_counter()
        self._primary_ended: float | None = None
        self.tasks: list[asyncio.Task[Answer]] = []
        self.winner: asyncio.Task[Answer] | None = None

    @property
    def fired(self) -> bool:
        """At least one hedge was sent."""
        return len(self.tasks) > 1

    @property
    def won(self) -> bool:
        """A hedge, not the first attempt, gave the answer."""
        return self.winner is not None and self.winner is not self.tasks[0]

    @property
    def primary_failed(self) -> bool:
        """The first attempt raised: how long that took says nothing about answers."""
        first = self.tasks[0]
        return first.done() and not first.cancelled() and first.exception() is not None

    @property
    def primary_seconds(self) -> float:
        """How long the first attempt took; if it is still running, how long so far."""
        ended = self._primary_ended if self._primary_ended is not None else time.perf_counter()
        return ended - self._started

    async def run(self) -> asyncio.Task[Answer]:
        """The task that answered first, or the first attempt if all failed."""
        self._send()
        while True:
            pending = {task for task in self.tasks if not task.done()}
            may_hedge = len(self.tasks) <= self._hedge._max_hedges
            if not pending:
                return self.tasks[0]
            # A failure with nothing else under way ends the request: hedging is not retrying.
            done, _ = await asyncio.wait(
                pending, timeout=self._seconds if may_hedge else None, return_when=asyncio.FIRST_COMPLETED
            )
            answered = [
                task for task in self.tasks if task in done and not task.cancelled() and task.exception() is None
            ]
            if answered:
                self.winner = answered[0]
                return self.winner
            if not done:
                self._send()

    def _send(self) -> None:
        self.tasks.append(asyncio.create_task(self._attempt(len(self.tasks))))

    async def _attempt(self, number: int) -> Answer:
        name = "hedging.primary" if number == 0 else "hedging.hedge"
        attributes: dict[str, str | float] = {"hedging.strategy": self._hedge.delay.name, "hedging.attempt": number}
        args, kwargs = self._arguments
        with self._hedge._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                answer = await self._hedge._call(*args, **kwargs)
            except asyncio.CancelledError:
                span.set_attribute("hedging.outcome", "cancelled")
                raise
            except Exception as error:
                _mark_failed(span, error)
                raise
            finally:
                if number == 0:
                    self._primary_ended = time.perf_counter()
            span.set_attribute("hedging.outcome", "answered")
            return answer


def _mark_failed(span: Span, error: Exception) -> None:
    span.set_attribute("hedging.outcome", "failed")
    span.set_attribute("error.type", type(error).__qualname__)
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def _describe(span: Span, race: _Race[Any]) -> None:
    span.set_attribute("hedging.fired", race.fired)
    span.set_attribute("hedging.won", race.won)
    span.set_attribute("hedging.attempts", len(race.tasks))
    if race.winner is not None:
        span.set_attribute("hedging.winner", race.tasks.index(race.winner))
