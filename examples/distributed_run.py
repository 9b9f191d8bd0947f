"""One experiment over several processes: subprocesses, a pool, and a node that shares no storage.

Every process writes files of its own; the numbers are those of all spans in one place, and every
process keeps its ledger.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

from opentelemetry import trace

import otel_research as otr

tracer = trace.get_tracer("my-app")


def answer(question: str) -> str:
    """What is measured: any instrumented code."""
    usage = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": len(question)}
    named = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    with tracer.start_as_current_span("chat", attributes={**named, **usage}):
        return question.upper()


def as_a_job() -> None:
    """A job of its own: the environment says which experiment, condition and trial it is part of."""
    otr.configure()
    answer("in a job")


def main() -> None:
    """Start the experiment, hand it to processes of three kinds, and look at all of it."""
    exp = otr.start_experiment("distributed", tags=["example"])
    this_file = [sys.executable, __file__, "job"]

    # A subprocess: its environment carries the trial.
    with exp.arm("subprocess"), exp.trial(item="q1"):
        subprocess.run(this_file, env={**os.environ, **otr.child_env()}, check=True)

    # A pool of spawned workers, which outlive a trial: each task is carried to them with its own.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        waiting = []
        for number in range(4):
            with exp.arm("pool"), exp.trial(item=f"q{number}"):
                waiting.append(pool.submit(otr.carry(answer), f"question {number}"))
                waiting[-1].result()

    # A node without the shared folder: told id and name, it begins its part there; merged afterwards.
    elsewhere = {
        "OTEL_RESEARCH_STORE": "disk:other-node",
        "OTEL_RESEARCH_EXPERIMENT_ID": exp.id,
        "OTEL_RESEARCH_EXPERIMENT": exp.name,
        "OTEL_RESEARCH_CONDITION": "other node",
    }
    subprocess.run(this_file, env={**os.environ, **elsewhere}, check=True)
    otr.stop_experiment(exp)
    (merged,) = otr.import_spans("other-node")

    for condition, metrics in otr.metrics_by(merged, "condition").items():
        print(f"{condition}: {metrics.reliability.total_requests} calls, {metrics.tokens.total} tokens")
    for process, ledger in merged.ledgers().items():
        print(f"{process}: {ledger}")
    print(f"all of it: {merged.ledger()}, balanced: {merged.ledger().is_balanced}")


if __name__ == "__main__":
    as_a_job() if sys.argv[1:] == ["job"] else main()
