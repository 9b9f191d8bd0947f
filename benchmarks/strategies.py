"""Which way of hedging, which way of voting? Each strategy on the same questions, and counted twice.

    python benchmarks/strategies.py [--questions 400]

A real client asks bundled model servers, one per strategy, with a heavy tail: one answer in twenty takes 6 to 60
times as long. Prints the tables of docs/patterns.md. Fails where a calculator's number is not the server's, or where
hedging does not lower the 99th percentile. `nox -s strategies` runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import openai
import polars as pl
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

import otel_research as otr
from otel_research import patterns, pricing
from otel_research.demo.ledger import Exchange
from otel_research.demo.profiles import NO_FAULTS, PROFILES
from otel_research.demo.questions import Question, questions, read_answer
from otel_research.demo.server import ModelServer

MINI, NANO, OTHER, LARGE = "gpt-4o-mini", "gpt-4.1-nano", "gpt-4.1-mini", "gpt-4o"
HEAVY = tuple(msgspec.structs.replace(one, median_ms=100, tail=0.05, tail_factor=6) for one in PROFILES)
Ask = Callable[..., Awaitable[Any]]
Strategies = dict[str, Callable[[Ask], Any]]


class Said(NamedTuple):
    """An answer and what was asked, for a judge."""

    question: str
    number: int | None


def by_nines(said: Said) -> float:
    """Casting out nines, a judge that costs nothing: it finds most wrong sums without knowing the right ones."""
    found = re.search(r"(\d+) ([-+*]) (\d+)", said.question)
    if found is None or said.number is None:
        return 0.0
    left, sign, right = int(found[1]) % 9, found[2], int(found[3]) % 9
    expected = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return float((expected - said.number) % 9 == 0)


def number_of(said: Said) -> int | None:
    return said.number


HEDGING: Strategies = {
    "plain": lambda ask: ask,
    "fixed": lambda ask: patterns.Hedge(ask, delay=0.25, cancel_losers=False),
    "percentile": lambda ask: patterns.Hedge(ask, delay=patterns.Percentile(95, initial=0.25), cancel_losers=False),
    "adaptive": lambda ask: patterns.Hedge(ask, delay=patterns.Adaptive(0.05, initial=0.25), cancel_losers=False),
    "fixed, cancelling": lambda ask: patterns.Hedge(ask, delay=0.25),
}
"""`cancel_losers=False`: late answers come in, so that what they cost and would have taken is known and not estimated."""


def voters(ask: Ask) -> dict[str, Ask]:
    return {model: lambda text, model=model: ask(text, model) for model in (MINI, OTHER, NANO)}


VOTING: Strategies = {
    "single": lambda ask: lambda text: ask(text, LARGE),
    "majority": lambda ask: patterns.majority(voters(ask), key=number_of),
    # The log odds of being right: a voter that is right more often counts more.
    "weighted": lambda ask: patterns.weighted(voters(ask), {MINI: 1.5, OTHER: 1.7, NANO: 1.0}, key=number_of),
    "best of 3": lambda ask: patterns.best_of_n(lambda text: ask(text, NANO), 3, by_nines, key=number_of),
}


async def run(name: str, strategies: Strategies, servers: dict[str, ModelServer], n: int) -> Any:
    """Every question once under every strategy, in a random order, each strategy at a server of its own."""
    async with contextlib.AsyncExitStack() as stack:
        calls = {}
        for condition, strategy in strategies.items():
            client = await stack.enter_async_context(
                openai.AsyncOpenAI(base_url=servers[condition].base_url, api_key="unused", max_retries=0)
            )

            # Answers are cut to the same length, so a second answer to a question costs what the first one does.
            async def ask(
                text: str, model: str = MINI, client: Any = client, cut: bool = strategies is HEDGING
            ) -> Said:
                answer = await client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": text}], max_tokens=8 if cut else 100
                )
                return Said(text, read_answer(answer.choices[0].message.content))

            calls[condition] = strategy(ask)

        async def trial(question: Question, condition: otr.Condition) -> None:
            said = await calls[condition](f"{question.id}: {question.text}")
            said = getattr(said, "answer", said)
            otr.score("right", float(said.number == question.answer))

        async with otr.experiment(name, primary="latency", sample_size=n, seed=5) as exp:
            await exp.arun_trials(trial, questions(n, seed=5), conditions=list(strategies), concurrency=4)
            for call in calls.values():
                if isinstance(call, patterns.Hedge):
                    await call.join()
    return exp


def paid(exchanges: Iterable[Exchange]) -> float:
    """US dollars for the answers that a server gave, by the tokens that it counted."""
    rows: list[dict[str, Any]] = [
        {**msgspec.structs.asdict(one), "is_call": True, "provider": "openai"} for one in exchanges
    ]
    if not rows:
        return 0.0
    frame = pl.LazyFrame(rows).rename({"model": "request_model", "cached_tokens": "cache_read_tokens"})
    now = frame.with_columns(start_ns=pl.lit(time.time_ns()))
    return float(pricing.price(now).collect()["cost_usd"].sum())


class Row(NamedTuple):
    """A strategy's line of the table, and what is counted of it: by our calculators and by the server."""

    cells: tuple[str, ...]
    counted: dict[str, tuple[float, float]]


def times(arm: Any) -> otr.Metrics:
    return otr.calculate_metrics(arm, unit="trial", ci=False)


def hedged(exp: otr.Experiment, condition: str, server: ModelServer) -> Row:
    arm = exp.where({"condition": condition})
    told, of = patterns.HedgingMetrics().calculate(arm.spans()), times(arm)
    again = [one for one in server.ledger.exchanges if one.attempt > 0]
    counted = {}
    if not server.ledger.abandoned:  # a call that is cancelled may never have arrived, or have been answered already
        counted["hedges"] = told["hedges"], len(again)
        counted["total USD"] = of.cost.total_usd, paid(server.ledger.exchanges)
        counted["extra calls"] = told["extra_calls"], len(again)
        counted["extra USD"] = told["extra_cost_usd"], paid(again)
    latency, saved = of.latency, told["latency_saved_ms"]
    cells = (
        *(f"{each:.0f}" for each in (latency.p50, latency.p95, latency.p99)),
        f"{told['hedges']}",
        f"{told['won']}",
    )
    change = "" if condition == "plain" else p99_gain(exp, condition)
    cost = extra_cost(told, of.cost.total_usd or 0.0)
    return Row((*cells, change, "" if saved is None else f"{saved:.0f}", cost), counted)


def p99_gain(exp: otr.Experiment, condition: str) -> str:
    """How far the 99th percentile is below that without hedging, question by question, with its interval."""
    plain, other = exp.where({"condition": "plain"}), exp.where({"condition": condition})
    effect = otr.compare(plain, other, metrics="latency", estimand="p99").effect("latency")
    if effect.improvement_pct is None or effect.improvement_ci is None:
        return "too few"
    return f"{effect.improvement_pct:.0f} % ({effect.improvement_ci})"


def extra_cost(told: Mapping[str, Any], total: float) -> str:
    """In percent of what the requests would have cost without hedges; a cancelled call does not say what it cost."""
    if not told["requests"]:
        return ""
    if told["extra_unpriced_calls"]:
        return f"unknown: {told['extra_unpriced_calls']} calls without usage"
    return f"{told['extra_cost_usd'] / (total - told['extra_cost_usd']):.1%}"


def voted(exp: otr.Experiment, condition: str, server: ModelServer) -> Row:
    arm = exp.where({"condition": condition})
    told, of = patterns.EnsembleMetrics().calculate(arm.spans()), times(arm)
    counted = {
        "calls": (otr.calculate_metrics(arm, unit="call", ci=False).reliability.total_requests, server.ledger.calls),
        "total USD": (of.cost.total_usd, paid(server.ledger.exchanges)),
    }
    if told["predictions"]:
        counted["vote calls"] = (told["vote_calls"], server.ledger.answered)
        counted["vote USD"] = (told["vote_cost_usd"], paid(server.ledger.exchanges))
    right, share = of.custom["right"]["mean"], of.cost.total_usd / of.n_units * 1000
    agreed = [f"{told[key]:.1%}" if told[key] is not None else "" for key in ("consensus_rate", "mean_agreement")]
    calls = f"{server.ledger.calls / of.n_units:.0f}"
    return Row(
        (f"{right:.1%}", *agreed, calls, f"{share:.3f}", f"{of.latency.p50:.0f}", f"{of.latency.p99:.0f}"), counted
    )


def compared(
    name: str, strategies: Strategies, row: Callable[[otr.Experiment, str, ModelServer], Row], count: int
) -> dict[str, Row]:
    """The rows of an experiment whose strategies have a server each."""
    with contextlib.ExitStack() as stack:
        servers = {one: stack.enter_context(ModelServer(seed=5, models=HEAVY, faults=NO_FAULTS)) for one in strategies}
        exp = asyncio.run(run(name, strategies, servers, count))
        assert all(server.ledger.drain() for server in servers.values())
        return {one: row(exp, one, servers[one]) for one in strategies}


def table(title: str, rows: dict[str, Row]) -> list[str]:
    """Print the rows in Markdown; what we and the server count differently."""
    print(f"\n| {title} |\n|{'---|' * (title.count('|') + 1)}")
    for name, row in rows.items():
        print(f"| {' | '.join((name, *row.cells))} |")
    return [
        f"{name}, {what}: we say {ours}, the server {theirs}"
        for name, row in rows.items()
        for what, (ours, theirs) in row.counted.items()
        if not math.isclose(ours, theirs, rel_tol=1e-9)
    ]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=400, help="a 99th percentile has an interval from 396 on")
    count = parser.parse_args().questions
    otr.configure(store="memory:")
    OpenAIInstrumentor().instrument()
    hedging, voting = compared("hedging", HEDGING, hedged, count), compared("voting", VOTING, voted, count)
    wrong = table(
        "hedging | p50 ms | p95 ms | p99 ms | hedges | won | p99 lower by (95 %) | saved ms a request | extra cost",
        hedging,
    )
    wrong += table("voting | right | consensus | agreement | calls | USD per 1,000 | p50 ms | p99 ms", voting)
    equal = sum(len(row.counted) for row in (*hedging.values(), *voting.values())) - len(wrong)
    print(f"\n{equal} numbers equal those counted at the servers")
    p99 = {name: float(row.cells[2]) for name, row in hedging.items()}
    wrong += [f"{name} does not lower p99" for name in p99 if name != "plain" and p99[name] >= p99["plain"]]
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
