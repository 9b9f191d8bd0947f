from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from captured_spans import Captured
from opentelemetry.trace import StatusCode

from otel_research.errors import ConfigurationError
from otel_research.patterns import Ensemble, EnsembleMetrics, NoQuorum, best_of_n, majority, weighted


def says(answer: Any, before: Callable[[], None] = lambda: None) -> Callable[..., Awaitable[Any]]:
    async def voter(*args: Any) -> Any:
        await asyncio.sleep(0)
        before()
        return answer

    return voter


def raises(error: Exception) -> Callable[..., Awaitable[Any]]:
    async def voter(*args: Any) -> Any:
        raise error

    return voter


async def never(*args: Any) -> Any:
    await asyncio.Event().wait()


def test_majority_decides_and_the_spans_say_how(captured: Captured) -> None:
    """One `ensemble.predict` with a child `ensemble.vote` per voter carries strategy, consensus and agreement."""
    ensemble = majority({"a": says(1), "b": says(2), "c": says(1)}, tracer_provider=captured.provider)
    decision = asyncio.run(ensemble.predict("q"))
    assert (decision.answer, decision.consensus, decision.is_tie) == (1, True, False)
    assert decision.agreement == pytest.approx(2 / 3)
    predict = captured.one("ensemble.predict")
    attributes = dict(predict.attributes or {})
    assert attributes["ensemble.strategy"] == "majority"
    assert attributes["ensemble.consensus"] is True
    assert attributes["ensemble.agreement"] == pytest.approx(2 / 3)
    votes = captured.named("ensemble.vote")
    assert [vote.parent and vote.parent.span_id for vote in votes] == [predict.context.span_id] * 3
    assert sorted(map(str, captured.values("ensemble.vote", "ensemble.voter"))) == ["a", "b", "c"]


def test_voters_get_the_arguments_and_are_asked_at_once(captured: Captured) -> None:
    """All voters run concurrently, each with exactly the arguments of `predict`."""
    seen: list[tuple[Any, ...]] = []
    everyone = asyncio.Barrier(3)

    async def voter(question: str, *, hint: str) -> str:
        seen.append((question, hint))
        await everyone.wait()
        return "x"

    ensemble: Ensemble[str] = majority(dict.fromkeys("abc", voter), tracer_provider=captured.provider)

    async def main() -> None:
        async with asyncio.timeout(5):
            await ensemble.predict("q", hint="h")

    asyncio.run(main())
    assert seen == [("q", "h")] * 3


def test_the_heavier_vote_wins(captured: Captured) -> None:
    """Under weights, one voter can outvote two."""
    voters = {"expert": says("x"), "b": says("y"), "c": says("y")}
    ensemble = weighted(voters, {"expert": 3, "b": 1, "c": 1}, tracer_provider=captured.provider)
    decision = asyncio.run(ensemble.predict())
    assert (decision.answer, decision.agreement) == ("x", 0.6)


def test_best_of_n_takes_the_judges_favourite(captured: Captured) -> None:
    """The highest score wins however few voters agree; the judge has a span of its own."""
    answers = iter(["aa", "a", "aaaa", "aa"])

    async def sample() -> str:
        return next(answers)

    async def judge(answer: str) -> float:
        return len(answer)

    decision = asyncio.run(best_of_n(sample, 4, judge, tracer_provider=captured.provider).predict())
    assert (decision.answer, decision.agreement, decision.consensus) == ("aaaa", 0.25, False)
    assert sorted(captured.values("ensemble.judge", "ensemble.score")) == [1.0, 2.0, 2.0, 4.0]  # type: ignore[type-var]


def test_a_failed_voter_abstains(captured: Captured) -> None:
    """An error costs that vote only, stays on its span and in `votes`, and is no agreement."""
    problem = RuntimeError("down")
    voters = {"a": says(1), "b": raises(problem), "c": raises(problem), "d": says(1)}
    decision = asyncio.run(majority(voters, tracer_provider=captured.provider).predict())
    assert (decision.answer, decision.agreement, decision.consensus) == (1, 1.0, False)
    assert decision.votes[1].error is problem
    failed = [span for span in captured.named("ensemble.vote") if span.status.status_code is StatusCode.ERROR]
    assert [dict(span.attributes or {})["error.type"] for span in failed] == ["RuntimeError"] * 2
    assert captured.one("ensemble.predict").status.status_code is StatusCode.UNSET


def test_a_slow_voter_times_out(captured: Captured) -> None:
    """A voter past the timeout is a failed vote with a TimeoutError."""
    ensemble = majority({"a": says(1), "slow": never}, timeout=0.05, tracer_provider=captured.provider)
    decision = asyncio.run(ensemble.predict())
    assert isinstance(decision.votes[1].error, TimeoutError)


def test_below_the_quorum_there_is_no_answer(captured: Captured) -> None:
    """Too few votes raise an error that names the reasons and keeps the votes."""
    ensemble = majority(
        {"a": says(1), "b": raises(ValueError("b is down"))}, quorum=2, tracer_provider=captured.provider
    )
    with pytest.raises(NoQuorum, match=r"1 of 2 voters answered, the quorum is 2.*b is down") as caught:
        asyncio.run(ensemble.predict())
    assert [vote.outcome for vote in caught.value.votes] == ["answered", "failed"]
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert captured.one("ensemble.predict").status.status_code is StatusCode.ERROR


def test_stopping_early_cancels_what_cannot_matter(captured: Captured) -> None:
    """With the outcome decided the remaining voter is cancelled, and its span says so."""
    voters = {"a": says(1), "b": says(1), "slow": never}
    ensemble = majority(voters, stop_early=True, tracer_provider=captured.provider)
    decision = asyncio.run(asyncio.wait_for(ensemble.predict(), 5))
    assert decision.answer == 1
    assert [vote.outcome for vote in decision.votes] == ["answered", "answered", "cancelled"]
    assert sorted(map(str, captured.values("ensemble.vote", "ensemble.vote.outcome"))) == [
        "answered",
        "answered",
        "cancelled",
    ]


def test_a_cancelled_prediction_leaves_nothing_running(captured: Captured) -> None:
    """Cancelling `predict` cancels every voter and ends every span."""

    async def main() -> int:
        prediction = asyncio.create_task(
            majority({"a": never, "b": never}, tracer_provider=captured.provider).predict()
        )
        await asyncio.sleep(0.01)
        prediction.cancel()
        with pytest.raises(asyncio.CancelledError):
            await prediction
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert len(captured.named("ensemble.vote")) == 2
    assert len(captured.named("ensemble.predict")) == 1


def test_the_winner_does_not_depend_on_speed(captured: Captured) -> None:
    """A tie goes to the voter declared first, though it answers last."""

    async def slow() -> str:
        await asyncio.sleep(0.02)
        return "slow"

    decision = asyncio.run(
        majority({"first": slow, "second": says("fast")}, tracer_provider=captured.provider).predict()
    )
    assert (decision.answer, decision.is_tie) == ("slow", True)


def test_a_key_says_what_agrees(captured: Captured) -> None:
    """Answers with equal keys are one answer."""
    voters = {"a": says("It is 4"), "b": says("4"), "c": says("5")}
    ensemble = majority(voters, key=lambda text: text[-1], tracer_provider=captured.provider)
    assert asyncio.run(ensemble.predict()).answer == "It is 4"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voters": {}}, "at least one voter"),
        ({"strategy": "random"}, "unknown strategy"),
        ({"strategy": "weighted"}, "weights belong"),
        ({"strategy": "weighted", "weights": {"a": 1}}, "look at: b"),
        ({"strategy": "weighted", "weights": {"a": 1, "b": 0}}, "'b' is 0"),
        ({"strategy": "best_of_n"}, "a judge belongs"),
        ({"quorum": 3}, "there are 2 voters"),
        ({"threshold": 1.0}, "threshold"),
        ({"strategy": "best_of_n", "judge": float, "stop_early": True}, "stop_early"),
    ],
)
def test_a_wrong_set_up_is_refused(options: dict[str, Any], message: str) -> None:
    """Settings that contradict each other are named when the ensemble is made, not when it votes."""
    with pytest.raises(ConfigurationError, match=message):
        Ensemble(**{"voters": {"a": says(1), "b": says(2)}, **options})


def test_the_calculator_counts_what_happened(captured: Captured) -> None:
    """Consensus, agreement and cost of the votes are computed from the spans, per voter too."""
    agreeing = majority(
        {"a": says(1, captured.call(0.5)), "b": says(1, captured.call(0.25)), "c": says(2, captured.call(None))},
        tracer_provider=captured.provider,
    )
    split = majority({"a": says(1, captured.call(0.5)), "b": raises(ValueError())}, tracer_provider=captured.provider)
    asyncio.run(agreeing.predict())
    asyncio.run(split.predict())
    captured.call(100.0)()
    found = EnsembleMetrics().calculate(captured.frame())
    assert (found["predictions"], found["votes"], found["failed_votes"]) == (2, 5, 1)
    assert found["consensus_rate"] == 0.5
    assert found["mean_agreement"] == pytest.approx((2 / 3 + 1) / 2)
    assert (found["vote_cost_usd"], found["vote_calls"], found["unpriced_calls"]) == (1.25, 4, 1)
    assert found["cost_per_prediction_usd"] == 0.625
    assert found["by_voter"]["a"]["agreement_rate"] == 1.0
    assert found["by_voter"]["c"]["agreement_rate"] == 0.0
    assert found["by_voter"]["c"]["vote_cost_usd"] is None


def test_a_call_belongs_to_the_nearest_vote(captured: Captured) -> None:
    """Calls count for the vote they were made in, through spans in between and through nested ensembles."""

    async def chain() -> int:
        with captured.provider.get_tracer("app").start_as_current_span("chain"):
            captured.call(1.0)()
        return 1

    inner = majority({"x": chain}, tracer_provider=captured.provider)
    outer = majority({"nested": inner.predict, "y": chain}, key=str, tracer_provider=captured.provider)
    asyncio.run(outer.predict())
    by_voter = EnsembleMetrics().calculate(captured.frame())["by_voter"]
    assert {name: sums["vote_cost_usd"] for name, sums in by_voter.items()} == {"nested": None, "x": 1.0, "y": 1.0}


def test_nothing_there_is_none_not_zero(captured: Captured) -> None:
    """Without a prediction the rates are None."""
    captured.call(1.0)()
    found = EnsembleMetrics().calculate(captured.frame())
    assert found["predictions"] == 0
    assert found["consensus_rate"] is None
    assert found["mean_agreement"] is None
    assert found["vote_cost_usd"] is None
