"""A `ProcessPoolExecutor` of spawned workers, which inherit nothing."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from opentelemetry import trace

from otel_research.selftest.scenario import Host, Scenario, ended_call

WORKERS = 4
TASKS = 80
SPANS = 10


def _task(task: int) -> list[int]:
    """In a worker, which has joined: the ids of its spans."""
    tracer = trace.get_tracer("otel_research.selftest")
    return [ended_call(tracer, task) for _ in range(SPANS)]


def program(host: Host) -> None:
    """Workers join through what `child_env()` says; `multiprocessing` ends them without their exit handlers."""
    import otel_research as otr

    with host.recording():
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(WORKERS, spawned, otr.join_experiment, (otr.child_env(),)) as pool:
            for span_ids in pool.map(_task, range(TASKS)):
                host.say(*span_ids)


SCENARIO = Scenario(
    name="spawn",
    says=f"{TASKS} tasks on {WORKERS} spawned workers that join the experiment",
    program=program,
    expected=TASKS * SPANS,
)
