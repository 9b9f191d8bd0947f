"""Ray tasks and actors take part in an experiment: carried functions, `child_env()` as a runtime environment, a killed one.

python -m tests.cluster.on_ray
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import ray
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr


def work(number: int) -> int:
    """What a worker does: it knows nothing of the experiment."""
    with trace.get_tracer("worker").start_as_current_span(f"work {number}"):
        return os.getpid()


@ray.remote
def called(function: Callable[[int], int], number: int) -> int:
    """Ray makes tasks of plain functions only: this one is told what to call."""
    return function(number)


@ray.remote
def joined(number: int) -> int:
    """A task whose environment says what it belongs to."""
    _records()
    return work(number)


@ray.remote
class Actor:
    """One that outlives trials; it joins with its process."""

    def __init__(self) -> None:
        _records()

    def work(self, number: int) -> int:
        """One span."""
        return work(number)

    def die(self) -> None:
        """The end of its process, in the middle of a span."""
        trace.get_tracer("worker").start_span("cut off")
        os.kill(os.getpid(), 9)


def _records() -> None:
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    otr.configure()


def rows(exp: otr.Experiment, *columns: str) -> list[tuple[object, ...]]:
    """What workers recorded, in the order of their names."""
    found = exp.where({"scope": "worker"}).spans().select("name", *columns).collect()
    return sorted(found.rows())


def carried() -> None:
    """A carried function brings experiment, arm, trial and parent to whichever worker runs it."""
    exp = otr.start_experiment("carried")
    trials = []
    pids = set()
    for number in range(4):
        with exp.arm("ab"[number % 2]), exp.trial(item=f"q{number}") as trial:
            pids.add(ray.get(called.remote(otr.carry(work), number)))
            trials.append(trial.id)
    otr.stop_experiment(exp)
    assert os.getpid() not in pids
    assert rows(exp, "condition", "trial_id", "parent_span_id") == [
        (f"work {number}", "ab"[number % 2], trials[number], trials[number]) for number in range(4)
    ]
    _balanced(exp, 8)
    print(f"carried: 4 tasks on {len(pids)} workers, each in its trial")


def by_environment() -> None:
    """`child_env()` as `runtime_env`: tasks and an actor join; the actor is killed, and what it had recorded is kept."""
    exp = otr.start_experiment("by environment")
    with exp.arm("b"), exp.trial(item="q1") as trial:
        options = {"runtime_env": {"env_vars": otr.child_env()}}
        ray.get([joined.options(**options).remote(number) for number in range(3)])
        actor = Actor.options(**options).remote()
        ray.get([actor.work.remote(number) for number in range(3, 6)])
        try:
            ray.get(actor.die.remote())
        except ray.exceptions.RayError as error:
            print(f"by environment: the actor is dead ({type(error).__name__})")
        else:
            raise AssertionError("the actor lives")
    otr.stop_experiment(exp)
    ray.shutdown()  # its idle workers leave the experiment
    whole = [(f"work {number}", "b", trial.id, "environment") for number in range(6)]
    assert [row for row in rows(exp, "condition", "trial_id", "experiment_source") if row[0] != "cut off"] == whole
    assert rows(exp, "status")[0] == ("cut off", "interrupted"), rows(exp, "status")[0]
    assert exp.ledger().interrupted == 1
    _balanced(exp, 7)
    print(
        f"by environment: {len(exp.ledgers())} ledgers, the killed actor's spans are kept, its open one is interrupted"
    )


def _balanced(exp: otr.Experiment, stored: int) -> None:
    ledger = exp.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (stored, 0, True), ledger


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="otr-ray-") as folder:
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
        _begin(folder)
        carried()
        by_environment()


def _begin(folder: str) -> None:
    # Not in the environment: what a task is told has to be enough.
    trace.set_tracer_provider(TracerProvider())
    otr.configure(store=f"disk:{folder}")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)


if __name__ == "__main__":
    main()
