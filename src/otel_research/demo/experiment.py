"""The demonstration: can three small models that vote replace one large one?

A real experiment on a bundled model server: about 200 trials over shared items, two
conditions interleaved in a seeded random order, every span captured, numbers computed
from the spans alone and checked against the server's own ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from otel_research.demo.client import ask, connect, instrumented, need_demo
from otel_research.demo.questions import Question, questions
from otel_research.demo.server import ModelServer
from otel_research.errors import ConfigurationError, NotEnoughData

if TYPE_CHECKING:
    import openai

    import otel_research as otr

NAME = "demo-ensemble-vs-single"
BASELINE, CANDIDATE = "single", "ensemble"
SINGLE = "gpt-4o"
VOTERS = ("gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1-nano")
FORMATS = ("csv", "jsonl", "parquet")

Ask = Callable[[Question], Awaitable[int | None]]


class DemoResult(TypedDict):
    """What the demonstration found, as JSON data."""

    ledger: dict[str, Any]
    """What became of every span: captured and lost."""
    experiment: dict[str, Any]
    conditions: dict[str, Any]
    """Condition -> its metrics, unit trial."""
    comparison: dict[str, Any]
    """Ensemble against single, unit trial."""
    files: dict[str, str]
    """Format -> path of the export; "store": where the experiment itself lies."""
    check: dict[str, Any]
    """The server's own count beside the experiment's, and whether they agree."""


def run_demo(out: Path, *, trials: int = 200, seed: int = 0, progress: bool = True) -> DemoResult:
    """Run the demonstration experiment and export it into the folder `out`.

    `trials` is the number over both conditions (an odd one is rounded down). Needs the extra
    `demo`, no network, and under a minute. A configured recorder is refused: close it first.
    """
    import otel_research as otr

    if trials < 4:
        raise ConfigurationError(f"the demo needs at least 4 trials (2 items under 2 conditions), got {trials}.")
    need_demo()
    count = trials // 2
    out = Path(out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    recorder = otr.configure(store=f"disk:{out / 'store'}")
    try:
        with ModelServer(seed=seed) as server, instrumented() as instrumentation:
            experiment = _start(count, seed, instrumentation)
            try:
                asyncio.run(_run(experiment, count, server.base_url, seed, progress))
            finally:
                experiment = otr.stop_experiment(experiment.id)
            server.ledger.drain()
            return _result(experiment, server, out)
    finally:
        recorder.close()


def _start(count: int, seed: int, instrumentation: str) -> otr.Experiment:
    import otel_research as otr
    from otel_research.patterns import EnsembleMetrics

    return otr.start_experiment(
        NAME,
        hypothesis=f"{len(VOTERS)} small models that vote are as accurate as {SINGLE}, and cheaper.",
        tags=("demo", "pattern:ensemble"),
        sample_size=count,
        metadata={
            "baseline": SINGLE,
            "voters": list(VOTERS),
            "server": "otel_research.demo, loopback",
            "instrumentation": instrumentation,
        },
        metrics={"latency": True, "cost": True, "tokens": True, "success_rate": True, "custom": ["accuracy"]},
        custom_metrics=(EnsembleMetrics(),),
        seed=seed,
    )


async def _run(experiment: otr.Experiment, count: int, base_url: str, seed: int, progress: bool) -> None:
    """Every question once under each condition, a few at a time; a trial that fails is data, not an end."""
    import otel_research as otr

    async with connect(base_url) as client:
        asks = _conditions(client, seed)

        async def answer(question: Question, condition: otr.Condition) -> None:
            given = await asks[condition](question)
            # A wrong answer is a score of 0, not a failure.
            otr.score("accuracy", float(given == question.answer))

        await experiment.arun_trials(
            answer, questions(count, seed), conditions=(BASELINE, CANDIDATE), concurrency=8, progress=progress
        )


def _conditions(client: openai.AsyncOpenAI, seed: int) -> dict[str, Ask]:
    from otel_research.patterns import majority

    def voter(model: str) -> Ask:
        async def vote(question: Question) -> int | None:
            return await ask(client, model, question, seed)

        return vote

    ensemble = majority({model: voter(model) for model in VOTERS})

    async def by_vote(question: Question) -> int | None:
        return (await ensemble.predict(question)).answer

    return {BASELINE: voter(SINGLE), CANDIDATE: by_vote}


def _result(experiment: otr.Experiment, server: ModelServer, out: Path) -> DemoResult:
    import otel_research as otr

    arms = {name: experiment.where({"condition": name}) for name in (BASELINE, CANDIDATE)}
    metrics = otr.metrics_by(experiment, "condition", unit="trial")
    missing = sorted(set(arms) - set(metrics))
    if missing:
        raise NotEnoughData(
            f"no span of the condition {' nor of '.join(missing)} was captured; "
            "the log above says why, and `otel-research doctor` looks at the set-up."
        )
    files = {kind: str(otr.export(experiment, kind, out / f"{NAME}.{kind}")) for kind in FORMATS}
    return DemoResult(
        ledger=experiment.ledger().to_dict(),
        experiment=msgspec.to_builtins(experiment.record),
        conditions={name: metrics[name].to_dict() for name in arms},
        comparison=otr.compare(arms[BASELINE], arms[CANDIDATE]).to_dict(),
        files={**files, "store": str(out / "store")},
        check=check(experiment, server),
    )


def check(experiment: otr.Experiment, server: ModelServer) -> dict[str, Any]:
    """What the server says it did beside what the experiment's metrics say, quantity by quantity."""
    import otel_research as otr

    found = otr.calculate_metrics(experiment, unit="call", ci=False).to_dict()
    truth, calls, tokens = server.ledger, found["reliability"], found["tokens"]
    models = truth.by_model.values()
    pairs = {
        "calls": (truth.calls, calls["total_requests"]),
        "failures": (truth.calls - truth.answered, calls["failures"]),
        "input_tokens": (sum(one.input_tokens for one in models), tokens["total_input"]),
        "output_tokens": (sum(one.output_tokens for one in models), tokens["total_output"]),
        # Instrumentations leave out a count of 0, so there 0 and unknown look the same.
        "cached_tokens": (sum(one.cached_tokens for one in models) or None, tokens["cached"] or None),
        "tokens_by_model": (
            {name: {"input": one.input_tokens, "output": one.output_tokens} for name, one in truth.by_model.items()},
            {name: {kind: one[kind] for kind in ("input", "output")} for name, one in tokens["by_model"].items()},
        ),
    }
    return {
        "agrees": all(server_says == ours for server_says, ours in pairs.values()),
        **{name: {"server": server_says, "experiment": ours} for name, (server_says, ours) in pairs.items()},
    }
