"""Several processes, one experiment: joining, leaving, the owner's stop, ledgers."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from figures import figures
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr
from otel_research.store.library import Library

Run = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]

WORK = """
def work(tracer, exp, number):
    # Times of its own, so that latencies can be compared to the nanosecond.
    for index in range(50):
        start = 1_700_000_000_000_000_000 + (number * 50 + index) * 1_000_000
        with exp.arm("ab"[number % 2]):
            span = tracer.start_span("chat", start_time=start, attributes={
                "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 100 * number + index,
                "gen_ai.usage.output_tokens": 5 + index % 7,
            })
            if index % 10 == 9:
                span.set_status(trace.StatusCode.ERROR, "no")
                span.set_attribute("error.type", "timeout")
            span.end(start + 1000 * (number + 1) * (index + 1))
"""
WORKER = (
    WORK
    + """
exp = otr.join_experiment(sys.argv[1])
number = int(sys.argv[2])
work(tracer, exp, number)
if len(sys.argv) > 3:
    tracer.start_span("never ends")
    os.kill(os.getpid(), signal.SIGKILL)
"""
)


def rows(exp: Any, *columns: str) -> list[tuple[Any, ...]]:
    return exp.spans().sort("start_ns").select(*columns).collect().rows()


@pytest.fixture(params=["mapped", "appended"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Once where segments are mapped, once with plain appends only, as in a shared folder on NFS."""
    if request.param == "appended":
        monkeypatch.setattr("otel_research.journal.segment.MAPPABLE", frozenset())
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else tmp_path) as folder:
        yield f"disk:{folder}/store"


def test_eight_processes_of_which_one_is_killed(
    owner: TracerProvider, store: str, start: Start, request: pytest.FixtureRequest
) -> None:
    """Metrics of the joined experiment equal those of all spans in one place; every process has its ledger."""
    as_here = "import otel_research.journal.segment as s; s.MAPPABLE = frozenset()\n"
    is_appended = request.node.callspec.params["store"] == "appended"
    exp = otr.start_experiment("shared")
    workers = [
        start((as_here if is_appended else "") + WORKER, exp.id, str(number), *(["kill"] if number == 7 else []))
        for number in range(8)
    ]
    for number, worker in enumerate(workers):
        _, err = worker.communicate(timeout=60)
        assert worker.returncode == (-signal.SIGKILL if number == 7 else 0), err
    otr.stop_experiment(exp)

    alone = otr.start_experiment("alone")
    here: dict[str, Any] = {}
    exec("from opentelemetry import trace\n" + WORK, here)
    for number in range(8):
        here["work"](owner.get_tracer("app"), alone, number)
    otr.stop_experiment(alone)

    assert rows(exp.where({"status": "interrupted"}), "name") == [("never ends",)]
    for unit in ("call", "span"):
        joined, one_place = (otr.metrics_by(each, "condition", unit=unit) for each in (exp, alone))
        for arm in "ab":
            expected = figures({**one_place[arm].to_dict(), "estimand": None})
            assert figures({**joined[arm].to_dict(), "estimand": None}) == expected
            assert joined[arm].reliability.total_requests == 200
    ledger = exp.ledger()
    assert ledger.is_balanced
    assert (ledger.started, ledger.ended, ledger.interrupted, ledger.stored, ledger.lost_total) == (401, 400, 1, 400, 0)
    told = {name: one for name, one in exp.ledgers().items() if one.started}
    assert len(told) == 8
    assert sorted((one.ended, one.stored, one.interrupted) for one in told.values()) == [(50, 50, 0)] * 7 + [
        (50, 50, 1)
    ]
    assert all(one.is_balanced for one in told.values())


def test_leaving_stops_nothing_for_the_others(owner: TracerProvider, run: Run) -> None:
    """`stop_experiment` in a guest, and its exit, leave the experiment running; the process may join again."""
    exp = otr.start_experiment("goes on")
    said = run(
        """
        exp = otr.join_experiment(sys.argv[1])
        assert otr.join_experiment(exp.id) is exp
        call("first")
        otr.stop_experiment(exp)
        assert not exp.is_recording and otr.current_experiment() is None
        call("outside")
        again = otr.join_experiment(exp.id, condition="b", session_id="s", factors={"size": 7}, tags=["late"])
        call("second")
        with again.arm("c"):
            call("third")
        print(exp.state)
        """,
        exp.id,
    )
    assert said.split() == ["running"]
    assert exp.state == "running"
    owner.get_tracer("app").start_span("owner").end()
    assert otr.stop_experiment(exp).ended_by == "user"
    assert rows(exp, "name", "condition", "session_id", "experiment_source") == [
        ("first", None, None, "process"),
        ("second", "b", "s", "process"),
        ("third", "c", "s", "context"),
        ("owner", None, None, "process"),
    ]
    assert '"late"' in rows(exp, "attributes")[1][0]
    ledger = exp.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (4, 0, True)


def test_what_ends_after_the_owners_stop_is_late(owner: TracerProvider, start: Start) -> None:
    """A guest notices the stop within a second: what it ends then is counted as late, beside the experiment."""
    exp = otr.start_experiment("stopped elsewhere")
    guest = start(
        """
        exp = otr.join_experiment(sys.argv[1])
        call("in time")
        span = tracer.start_span("too late")
        print("ready", flush=True)
        sys.stdin.readline()
        span.end()
        call("outside")
        print(exp.state, exp.is_recording)
        """,
        exp.id,
    )
    assert guest.stdout is not None
    assert guest.stdout.readline() == "ready\n"
    otr.stop_experiment(exp)
    time.sleep(1.5)
    out, err = guest.communicate("\n", timeout=30)
    assert out.split() == ["stopped", "False"], err
    # Its start was in time, so it is there as a span that was cut off by the stop.
    assert rows(exp, "name", "status") == [("in time", "unset"), ("too late", "interrupted")]
    ledger = exp.ledger()
    assert (ledger.late, ledger.stored, ledger.interrupted, ledger.is_balanced) == (1, 1, 0, True)


@pytest.mark.parametrize("how", ["unknown", "stopped", "archived", "no id"])
def test_what_cannot_be_joined(how: str, owner: TracerProvider, store: str) -> None:
    """Unknown, stopped or archived: a clear error, and nothing runs afterwards."""
    with otr.experiment("over") as exp:
        pass
    if how == "archived":
        exp._replace(state="archived")
    wanted = {"unknown": "f" * 32, "no id": "over"}.get(how, exp.id)
    error, words = {
        "unknown": (otr.UnknownExperiment, "join"),
        "no id": (otr.UnknownExperiment, "not an experiment id"),
    }.get(how, (otr.ExperimentStopped, f"is {how} and takes no more spans"))
    with pytest.raises(error, match=words):
        otr.join_experiment(wanted)
    assert otr.current_experiment() is None
    with pytest.raises(otr.UnknownExperiment, match="child_env"):
        otr.join_experiment({})


def test_joining_beside_an_own_experiment(owner: TracerProvider, start: Start) -> None:
    """Two process-wide experiments in one process are refused, by name."""
    mine = otr.start_experiment("mine")
    with pytest.raises(otr.ExperimentRunning, match="mine"):
        otr.join_experiment("e" * 32)
    assert otr.join_experiment(mine.id) is mine
    otr.stop_experiment(mine)


def test_the_environment_joins_by_id(owner: TracerProvider, run: Run) -> None:
    """`OTEL_RESEARCH_EXPERIMENT_ID` joins at `configure()`; the program's own experiment nests."""
    exp = otr.start_experiment("joined", condition="base")
    run(
        'otr.configure(); call("in")\nwith otr.experiment("own"): call("nested")',
        OTEL_RESEARCH_EXPERIMENT_ID=exp.id,
        OTEL_RESEARCH_CONDITION="env",
    )
    otr.stop_experiment(exp)
    assert rows(exp, "name", "condition", "experiment_source") == [("in", "env", "environment")]
    (own,) = otr.list_experiments(name="own")
    assert (own.state, own.environment["inside"]) == ("stopped", exp.id)


def test_the_owners_rules_hold_for_guests(store: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampling rate and content policy travel: a guest writes no content that the owner would not."""
    from otel_research.testing import recording

    with recording(store, content="drop") as (_, _provider):
        exp = otr.start_experiment("strict", sampling_rate=0.5)
        run(
            'otr.join_experiment(sys.argv[1])\nfor n in range(200): call(**{"gen_ai.input.messages": "secret"})', exp.id
        )
        otr.stop_experiment(exp)
        found = rows(exp, "attributes", "sample_weight")
        ledger = exp.ledger()
    assert 50 < len(found) < 150
    assert len(found) + ledger.sampled_out == 200
    assert {weight for _, weight in found} == {2.0}
    assert not any("secret" in attributes for attributes, _ in found)


def test_an_array_without_a_coordinator(run: Run, store: str) -> None:
    """An id and a name are enough: the first begins it, the others join, and it is over with the last."""
    chosen = "0123456789abcdef" * 2
    told = {"OTEL_RESEARCH_EXPERIMENT_ID": chosen, "OTEL_RESEARCH_EXPERIMENT": "array"}
    library = Library(store)
    for task in range(3):
        run("otr.configure(); call()", OTEL_RESEARCH_CONDITION=f"task {task}", **told)
        assert library.get(chosen).state == "stopped"
    record = library.get(chosen)
    assert (record.name, record.ended_by) == ("array", "user")
    exp = otr.handle.Experiment(record, library)  # type: ignore[attr-defined]
    assert rows(exp, "condition") == [(f"task {task}",) for task in range(3)]
    ledger = exp.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (3, 0, True)
