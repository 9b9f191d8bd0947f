"""Ask several models and let them vote.

    ensemble = majority({"mini": ask_mini, "nano": ask_nano, "large": ask_large})
    decision = await ensemble.predict("What is 12 * 34?")
    decision.answer, decision.consensus, decision.agreement

Voters are async callables of any kind; the spans `ensemble.predict` and `ensemble.vote`
around their own carry what `EnsembleMetrics` needs.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast

from opentelemetry.trace import Span, Status, StatusCode, Tracer, TracerProvider, get_tracer

from otel_research.errors import ConfigurationError, ResearchError
from otel_research.patterns.voting import Tally, Vote, best, count, default_key, digest, is_decided

Answer = TypeVar("Answer")
Strategy = Literal["majority", "weighted", "best_of_n"]
Voter = Callable[..., Awaitable[Answer]]
Judge = Callable[[Answer], float | Awaitable[float]]

SCOPE = "otel_research.patterns"


class NoQuorum(ResearchError):
    """Fewer voters answered than the quorum asks for; `votes` says what became of each."""

    def __init__(self, message: str, votes: Sequence[Vote[Any]]) -> None:
        super().__init__(message)
        self.votes = tuple(votes)


@dataclass(frozen=True)
class Decision(Generic[Answer]):
    """What an ensemble decided and how."""

    answer: Answer
    consensus: bool
    """The answer has more than the threshold of the weight of all voters asked."""
    agreement: float
    """Share of the weight cast (0 to 1) that agrees with the answer."""
    is_tie: bool
    strategy: Strategy
    votes: tuple[Vote[Answer], ...]
    """In the voters' declared order."""


class Ensemble(Generic[Answer]):
    """Voters under one strategy. Reusable and safe to use from many tasks at once.

    A voter that raises or exceeds `timeout` (seconds) abstains; `NoQuorum` is raised when
    fewer than `quorum` answer. `key` maps an answer to what is compared (say, the number in
    a sentence). `stop_early` cancels voters that can no longer change the winner.
    Ties go to the answer whose voter was declared first, never to the fastest.
    Spans go to `tracer_provider`, by default to the global one.
    """

    def __init__(
        self,
        voters: Mapping[str, Voter[Answer]],
        *,
        strategy: Strategy = "majority",
        weights: Mapping[str, float] | None = None,
        judge: Judge[Answer] | None = None,
        key: Callable[[Answer], Hashable] = default_key,
        threshold: float = 0.5,
        quorum: int = 1,
        timeout: float | None = None,
        stop_early: bool = False,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        _check(voters, strategy, weights, judge, threshold, quorum, stop_early)
        self.strategy: Strategy = strategy
        self._voters = dict(voters)
        self._weights = {name: float(weights[name]) if weights else 1.0 for name in voters}
        self._judge = judge
        self._key = key
        self._threshold = threshold
        self._quorum = quorum
        self._timeout = timeout
        self._stop_early = stop_early
        self._provider = tracer_provider

    @property
    def _tracer(self) -> Tracer:
        # Asked for at every call: the global provider may be set after the ensemble is made.
        return get_tracer(SCOPE, tracer_provider=self._provider)

    def __repr__(self) -> str:
        return f"<Ensemble {self.strategy} of {', '.join(self._voters)}>"

    async def predict(self, *args: Any, **kwargs: Any) -> Decision[Answer]:
        """Ask every voter with these arguments, at once, and count. Raises `NoQuorum`."""
        attributes: dict[str, str | float] = {"ensemble.strategy": self.strategy, "ensemble.voters": len(self._voters)}
        with self._tracer.start_as_current_span("ensemble.predict", attributes=attributes) as span:
            votes = await self._ask_all(args, kwargs)
            answered = sum(vote.is_cast for vote in votes)
            span.set_attribute("ensemble.votes", answered)
            span.set_attribute("ensemble.failed", sum(vote.outcome == "failed" for vote in votes))
            span.set_attribute("ensemble.cancelled", sum(vote.outcome == "cancelled" for vote in votes))
            tally = best(votes) if self.strategy == "best_of_n" else count(votes)
            if tally is None or answered < self._quorum:
                raise self._no_quorum(votes, answered)
            decision = self._decision(tally, votes)
            _describe(span, decision, tally)
            return decision

    __call__ = predict

    async def _ask_all(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Vote[Answer]]:
        tasks = {name: asyncio.create_task(self._ask(name, args, kwargs)) for name in self._voters}
        try:
            pending = set(tasks.values())
            while pending and not (self._stop_early and self._is_decided(tasks)):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks.values():
                task.cancel()
            # Waited for, so that no vote outlives the prediction and every span has ended.
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        return [self._outcome(name, task) for name, task in tasks.items()]

    def _outcome(self, name: str, task: asyncio.Task[Vote[Answer]]) -> Vote[Answer]:
        if task.cancelled():
            return Vote(name, "cancelled", weight=self._weights[name])
        return task.result()

    def _is_decided(self, tasks: Mapping[str, asyncio.Task[Vote[Answer]]]) -> bool:
        ended = [task.result() for task in tasks.values() if task.done() and not task.cancelled()]
        answered = [vote for vote in ended if vote.is_cast]
        outstanding = sum(self._weights[name] for name, task in tasks.items() if not task.done())
        return len(answered) >= self._quorum and is_decided(answered, outstanding)

    async def _ask(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Vote[Answer]:
        weight, started = self._weights[name], time.perf_counter()
        attributes: dict[str, str | float] = {
            "ensemble.strategy": self.strategy,
            "ensemble.voter": name,
            "ensemble.weight": weight,
        }
        with self._tracer.start_as_current_span(
            "ensemble.vote", attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._voters[name](*args, **kwargs)
                key = self._key(answer)
            except asyncio.CancelledError:
                span.set_attribute("ensemble.vote.outcome", "cancelled")
                raise
            except Exception as error:
                _mark_failed(span, error)
                return Vote(name, "failed", weight=weight, error=error, duration_ms=_since(started))
            span.set_attribute("ensemble.vote.outcome", "answered")
            span.set_attribute("ensemble.vote.answer_hash", digest(key))
        duration = _since(started)
        try:
            score = await self._score(name, answer)
        except Exception as error:
            return Vote(name, "failed", weight=weight, error=error, duration_ms=duration)
        return Vote(name, "answered", answer, key, weight, score, duration_ms=duration)

    async def _score(self, name: str, answer: Answer) -> float | None:
        """The judge's score, in a span of its own: judging is not answering."""
        if self._judge is None:
            return None
        with self._tracer.start_as_current_span("ensemble.judge", attributes={"ensemble.voter": name}) as span:
            given = self._judge(answer)
            score = float(await given if inspect.isawaitable(given) else given)
            if score != score:
                raise ValueError(f"the judge scored {name}'s answer NaN; return a number")
            span.set_attribute("ensemble.score", score)
            return score

    def _decision(self, tally: Tally[Answer], votes: list[Vote[Answer]]) -> Decision[Answer]:
        return Decision(
            answer=cast(Answer, tally.winner.answer),
            consensus=tally.support > self._threshold,
            agreement=tally.agreement,
            is_tie=tally.is_tie,
            strategy=self.strategy,
            votes=tuple(votes),
        )

    def _no_quorum(self, votes: list[Vote[Answer]], answered: int) -> NoQuorum:
        reasons = "; ".join(f"{vote.voter}: {vote.error!r}" for vote in votes if vote.error is not None)
        problem = NoQuorum(
            f"{answered} of {len(votes)} voters answered, the quorum is {self._quorum} ({reasons}). "
            "Lower `quorum`, raise `timeout`, or look at the voters' errors in `.votes`.",
            votes,
        )
        causes = [vote.error for vote in votes if vote.error is not None]
        if causes:
            problem.__cause__ = ExceptionGroup("the voters' errors", causes)
        return problem


def majority(voters: Mapping[str, Voter[Answer]], **options: Any) -> Ensemble[Answer]:
    """One voter, one vote; options as for `Ensemble`."""
    return Ensemble(voters, strategy="majority", **options)


def weighted(voters: Mapping[str, Voter[Answer]], weights: Mapping[str, float], **options: Any) -> Ensemble[Answer]:
    """Every vote counts as much as its voter's weight; options as for `Ensemble`."""
    return Ensemble(voters, strategy="weighted", weights=weights, **options)


def best_of_n(call: Voter[Answer], n: int, judge: Judge[Answer], **options: Any) -> Ensemble[Answer]:
    """Ask one callable `n` times and take the answer that `judge` (sync or async) scores highest."""
    if n < 1:
        raise ConfigurationError(f"best_of_n needs at least one sample, got n={n}.")
    voters = {f"sample-{number}": call for number in range(n)}
    return Ensemble(voters, strategy="best_of_n", judge=judge, **options)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _mark_failed(span: Span, error: Exception) -> None:
    span.set_attribute("ensemble.vote.outcome", "failed")
    span.set_attribute("error.type", type(error).__qualname__)
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def _describe(span: Span, decision: Decision[Any], tally: Tally[Any]) -> None:
    span.set_attribute("ensemble.consensus", decision.consensus)
    span.set_attribute("ensemble.agreement", decision.agreement)
    span.set_attribute("ensemble.tie", decision.is_tie)
    span.set_attribute("ensemble.winner", tally.winner.voter)
    span.set_attribute("ensemble.answer_hash", digest(tally.winner.key))


def _check(
    voters: Mapping[str, Any],
    strategy: str,
    weights: Mapping[str, float] | None,
    judge: object,
    threshold: float,
    quorum: int,
    stop_early: bool,
) -> None:
    if strategy not in ("majority", "weighted", "best_of_n"):
        raise ConfigurationError(f"unknown strategy {strategy!r}; use 'majority', 'weighted' or 'best_of_n'.")
    if not voters:
        raise ConfigurationError("an ensemble needs at least one voter, got none.")
    if (strategy == "weighted") != (weights is not None):
        raise ConfigurationError(
            f"weights belong to the strategy 'weighted' and to it alone; the strategy is {strategy!r}."
        )
    if weights is not None:
        _check_weights(voters, weights)
    if (strategy == "best_of_n") != (judge is not None):
        raise ConfigurationError(
            f"a judge belongs to the strategy 'best_of_n' and to it alone; the strategy is {strategy!r}."
        )
    if not 0 <= threshold < 1:
        raise ConfigurationError(
            f"threshold is a share from 0 to below 1, got {threshold!r}; 0.5 is a strict majority."
        )
    if not 1 <= quorum <= len(voters):
        raise ConfigurationError(f"quorum is {quorum}, but there are {len(voters)} voters; use 1 to {len(voters)}.")
    if stop_early and strategy == "best_of_n":
        raise ConfigurationError("stop_early cannot work with 'best_of_n': the last answer may be the best one.")


def _check_weights(voters: Mapping[str, Any], weights: Mapping[str, float]) -> None:
    if set(weights) != set(voters):
        odd = ", ".join(sorted(set(weights) ^ set(voters)))
        raise ConfigurationError(f"every voter needs a weight and every weight a voter; look at: {odd}.")
    for name, weight in weights.items():
        if not 0 < weight < float("inf"):
            raise ConfigurationError(f"the weight of {name!r} is {weight!r}; weights are positive, finite numbers.")
