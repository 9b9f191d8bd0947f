"""The demonstration: can three small models that vote replace one large one?

A real experiment on a bundled model server: about 200 trials over shared items, two
conditions interleaved in a seeded random order, every span captured, numbers computed
from the spans alone and checked against the server's own ledger.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import msgspec

from otel_research.demo.client import ask, connect, instrumented
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


class Trial(NamedTuple):
    """One planned trial."""

    question: Question
    condition: str


def run_demo(out: Path, *, trials: int = 200, seed: int = 0, progress: bool = True) -> DemoResult:
    """Run the demonstration experiment and export it into the folder `out`.

    `trials` is the number over both conditions (an odd one is rounded down). Needs the extra
    `demo`, no network, and under a minute. A configured recorder is refused: close it first.
    """
    import otel_research as otr

    plan = plan_trials(trials, seed)
    out = Path(out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    recorder = otr.configure(store=f"disk:{out / 'store'}")
    try:
        with ModelServer(seed=seed) as server, instrumented() as instrumentation:
            experiment = _start(plan, seed, instrumentation)
            try:
                asyncio.run(_run(experiment, plan, server.base_url, seed, progress))
            finally:
                experiment = otr.stop_experiment(experiment.id)
            server.ledger.drain()
            return _result(experiment, server, out)
    finally:
        recorder.close()


def plan_trials(trials: int, seed: int) -> list[Trial]:
    """Every item once under each condition, in a seeded random order."""
    if trials < 4:
        raise ConfigurationError(f"the demo needs at least 4 trials (2 items under 2 conditions), got {trials}.")
    plan = [Trial(one, condition) for one in questions(trials // 2, seed) for condition in (BASELINE, CANDIDATE)]
    # Arms that run one after the other would confuse a drift of the server with an effect.
    random.Random(f"order|{seed}").shuffle(plan)
    return plan


def _start(plan: list[Trial], seed: int, instrumentation: str) -> otr.Experiment:
    import otel_research as otr
    from otel_research.patterns import EnsembleMetrics

    return otr.start_experiment(
        NAME,
        hypothesis=f"{len(VOTERS)} small models that vote are as accurate as {SINGLE}, and cheaper.",
        tags=("demo", "pattern:ensemble"),
        sample_size=len(plan) // 2,
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


async def _run(experiment: otr.Experiment, plan: list[Trial], base_url: str, seed: int, progress: bool) -> None:
    """All trials, a few at a time; a trial that fails is data, not an end."""
    import openai

    from otel_research.patterns import NoQuorum

    places = asyncio.Semaphore(8)
    async with connect(base_url) as client:
        asks = _conditions(client, seed)
        with _progress(len(plan), progress) as advance:

            async def one(trial: Trial) -> None:
                async with places:
                    # The trial's span has recorded it as failed by the time it gets here.
                    with suppress(openai.APIError, NoQuorum):
                        await _trial(experiment, trial, asks[trial.condition])
                    advance()

            async with asyncio.TaskGroup() as group:
                for trial in plan:
                    group.create_task(one(trial))


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


async def _trial(experiment: otr.Experiment, planned: Trial, answer: Ask) -> None:
    """One question under one condition. A wrong answer is a score of 0, not a failure."""
    question, condition = planned
    with experiment.activate(), experiment.arm(condition), experiment.trial(item=question.id) as trial:
        given = await answer(question)
        trial.score("accuracy", float(given == question.answer))


@contextmanager
def _progress(total: int, is_wanted: bool) -> Iterator[Callable[[], None]]:
    """A bar on the terminal; silent anywhere else, so that logs and pipes stay clean."""
    if not is_wanted or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("trials", total=total)
        yield lambda: bar.advance(task)


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
