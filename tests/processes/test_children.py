"""`child_env` and `carry`: a child's spans land where their parent was, in a process or a pool of any kind."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr
from otel_research import redaction
from otel_research.processes import children
from otel_research.testing import recording

Run = Callable[..., str]


def rows(exp: Any, *columns: str) -> list[tuple[Any, ...]]:
    return exp.spans().sort("start_ns").select(*columns).collect().rows()


def work(number: int) -> int:
    """What a worker does: in this module, so that it can be pickled."""
    with trace.get_tracer("worker").start_as_current_span(f"work {number}"):
        return os.getpid()


async def work_async(number: int) -> int:
    await asyncio.sleep(0)
    return work(number)


def fail(number: int) -> None:
    raise KeyError(number)


@pytest.fixture
def workers_see_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spawned worker imports this module by name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


def test_a_subprocess_lands_in_the_same_trial(owner: TracerProvider, run: Run) -> None:
    """Id, absolute store, condition, session, trial, item, repetition, factors and aside all arrive."""
    exp = otr.start_experiment("parent")
    block = exp.arm("b", factors={"size": 7, "name": "x,y"})
    with block, exp.session("s"), exp.trial(item="q1", repetition=2) as trial, exp.aside("judge"):
        run("otr.configure(); call()", **otr.child_env())
    otr.stop_experiment(exp)
    columns = ("condition", "trial_id", "item_id", "repetition", "session_id", "factors", "aside", "experiment_source")
    assert rows(exp.where({"name": "chat"}), *columns) == [
        ("b", trial.id, "q1", 2, "s", '{"size":7,"name":"x,y"}', "judge", "environment")
    ]


def test_a_trial_counts_the_calls_of_its_children(owner: TracerProvider, run: Run) -> None:
    """Tokens and calls of a trial include what a child process did for it."""
    exp = otr.start_experiment("sum")
    with exp.trial(item="q1"):
        run("otr.configure(); call(tokens=30)", **otr.child_env())
    otr.stop_experiment(exp)
    assert exp.trials().select("calls", "input_tokens").collect().rows() == [(1, 30)]


def test_labels_of_an_outer_environment_do_not_leak(owner: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Laid over the environment, a label that does not hold here unsets the one that is there."""
    monkeypatch.setenv("OTEL_RESEARCH_CONDITION", "outer")
    monkeypatch.setenv("OTEL_RESEARCH_EXPERIMENT", "outer")
    exp = otr.start_experiment("inner", condition="own")
    monkeypatch.setenv("OTEL_RESEARCH_SESSION", "outer")
    told = otr.child_env()
    otr.stop_experiment(exp)
    assert told["OTEL_RESEARCH_CONDITION"] == "own"
    assert (told["OTEL_RESEARCH_SESSION"], told["OTEL_RESEARCH_EXPERIMENT"]) == ("", "")
    assert told["OTEL_RESEARCH_EXPERIMENT_ID"] == exp.id


def test_what_cannot_be_carried() -> None:
    """Outside any experiment, and from a store in memory, there is nothing that a child could use."""
    with recording("memory:"):
        with pytest.raises(otr.ExperimentError):
            otr.child_env()
        with otr.experiment("memory"), pytest.raises(otr.ConfigurationError, match="another process cannot reach"):
            otr.child_env()
    assert otr.carry(work) is work


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:hunter2@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://host/db?user=me&password=hunter2&sslmode=require", "postgresql://host/db?user=me&sslmode=require"),
        ("postgresql://me@host/db?application_name=a%20b", "postgresql://me@host/db?application_name=a%20b"),
        ("postgresql://me:hun/ter2@host/db", "postgresql://me@host/db"),
        ("postgresql://me:hunter@2@host/db", "postgresql://me@host/db"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("disk:/a b/c", "disk:/a b/c"),
    ],
)  # fmt: skip
def test_a_password_stays_at_home(url: str, told: str) -> None:
    """A password that the program was given in code is not put into an environment that others can read."""
    assert redaction.without_password(url) == told


def test_a_password_that_the_environment_has_goes_along(
    owner: TracerProvider, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store URL that is in the environment already is passed on as it is; the same URL from code is not."""
    secret = "postgresql://me:hunter2@host/db"
    with otr.experiment("secret") as exp:
        monkeypatch.setattr(children, "_url", lambda experiment: secret)
        assert otr.child_env()["OTEL_RESEARCH_STORE"] == "postgresql://me@host/db"
        assert "hunter2" not in str(pickle.loads(pickle.dumps(otr.carry(work))).variables)
        monkeypatch.setenv("OTEL_RESEARCH_STORE", secret)
        assert otr.child_env()["OTEL_RESEARCH_STORE"] == secret
    assert exp.state == "stopped"


@pytest.mark.usefixtures("workers_see_tests")
def test_a_pool_of_spawned_processes(owner: TracerProvider) -> None:
    """Workers join by their initializer, or by the first function that is carried to them; each call in its trial."""
    from test_children import work as by_name

    exp = otr.start_experiment("pool")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, otr.join_experiment, (otr.child_env(),)) as pool:
        pids = {pool.submit(by_name, 0).result()}
    trials = []
    with ProcessPoolExecutor(1, spawn) as pool:
        for number in (1, 2):
            with exp.arm(f"arm {number}"), exp.trial(item=f"q{number}") as trial:
                trials.append(trial.id)
                pids.add(pool.submit(otr.carry(by_name), number).result())
    otr.stop_experiment(exp)
    assert len(pids) == 2
    assert os.getpid() not in pids
    found = rows(exp.where({"scope": "worker"}), "name", "condition", "trial_id", "parent_span_id", "experiment_source")
    assert found == [
        ("work 0", None, None, None, "process"),
        ("work 1", "arm 1", trials[0], trials[0], "context"),
        ("work 2", "arm 2", trials[1], trials[1], "context"),
    ]
    ledger = exp.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (5, 0, True)
    assert len(exp.ledgers()) == 3


@pytest.mark.usefixtures("workers_see_tests")
def test_joblib_with_loky(owner: TracerProvider) -> None:
    """joblib's default backend: workers that outlive the call and are told nothing of the experiment but the function."""
    from test_children import work as by_name

    exp = otr.start_experiment("joblib")
    with exp.arm("j"), exp.trial(item="all") as trial:
        # Once, here: joblib asks for later items in a thread of its own, where no arm holds.
        carried = otr.carry(by_name)
        pids = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(carried)(n) for n in range(6))
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    otr.stop_experiment(exp)
    assert os.getpid() not in pids
    found = rows(exp.where({"scope": "worker"}), "name", "condition", "trial_id")
    assert sorted(found) == [(f"work {n}", "j", trial.id) for n in range(6)]
    ledger = exp.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (7, 0, True)


def test_carried_to_threads_and_tasks() -> None:
    """In the same process too, a store in memory included: arm, trial and parent are those of the submitter."""
    with recording("memory:") as (_, provider):
        tracer = provider.get_tracer("threads")

        def inside(number: int) -> None:
            tracer.start_span(f"{number}").end()

        async def inside_async(number: int) -> None:
            await asyncio.sleep(0)
            inside(number)

        with otr.experiment("threads") as exp, ThreadPoolExecutor(1) as pool:
            pool.submit(inside, 0).result()
            with exp.arm("x"), exp.trial(item="i") as trial:
                pool.submit(otr.carry(inside), 1).result()
                pool.submit(asyncio.run, otr.carry(inside_async)(2)).result()
            pool.submit(inside, 3).result()
        assert rows(exp.where({"scope": "threads"}), "name", "condition", "trial_id", "parent_span_id") == [
            ("1", "x", trial.id, trial.id), ("2", "x", trial.id, trial.id),
        ]  # fmt: skip


def test_what_is_carried_never_breaks(owner: TracerProvider, caplog: pytest.LogCaptureFixture) -> None:
    """Its own errors pass; an experiment that is over by then costs the recording, not the work."""
    with otr.experiment("short") as exp:
        late, failing = otr.carry(work), otr.carry(fail)
        with pytest.raises(KeyError):
            failing(1)
    assert late(1) == os.getpid()
    assert "runs unrecorded" in caplog.text
    assert exp.spans().collect().height == 0


def test_many_threads_join_once(owner: TracerProvider, start: Callable[..., subprocess.Popen[str]]) -> None:
    """Threads of one process that are handed carried work at once make one member of it."""
    exp = otr.start_experiment("once")
    said = start(
        """
        import threading
        from otel_research.processes.children import Carry
        env = {key: value for key, value in os.environ.items() if key.startswith("OTEL_RESEARCH_")}
        work = Carry(call, {"OTEL_RESEARCH_EXPERIMENT_ID": sys.argv[1], **env}, {})
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
        exp.id,
    )
    _, err = said.communicate(timeout=60)
    assert said.returncode == 0, err
    otr.stop_experiment(exp)
    assert exp.spans().collect().height == 16
    assert [one.stored for one in exp.ledgers().values() if one.started] == [16]
