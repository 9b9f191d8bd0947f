"""Threads and executors: the process-wide fallback, and the opt-in that carries more."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.context import Context

import otel_research as otr
from otel_research.testing import recording


def rows(exp: otr.Experiment, *columns: str) -> list[tuple[Any, ...]]:
    return exp.where({"scope": "app"}).spans().sort("name").select(*columns).collect().rows()


def in_thread(function: Any, *args: Any) -> None:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def test_without_the_opt_in_threads_have_the_process_wide_experiment() -> None:
    """It is there, with its own labels; arms and scoped experiments are not. Nothing of `threading` is touched."""
    before = threading.Thread.start, ThreadPoolExecutor.submit
    with recording("memory:") as (_, provider):
        tracer = provider.get_tracer("app")
        assert (threading.Thread.start, ThreadPoolExecutor.submit) == before
        wide = otr.start_experiment("wide")
        with wide.arm("a"), otr.experiment("scoped") as scoped:
            in_thread(lambda: tracer.start_span("1").end())
        otr.stop_experiment(wide)
        assert rows(wide, "name", "condition", "experiment_source") == [("1", None, "process")]
        assert rows(scoped, "name") == []


def test_everything_started_in_an_arm_is_in_it() -> None:
    """Threads, subclasses, timers, pools and `run_in_executor`: arm and trial of the place of submission."""

    class Own(threading.Thread):
        def run(self) -> None:
            span("subclass")

    with recording("memory:", threads=True) as (_, provider):
        tracer = provider.get_tracer("app")

        def span(name: str, *, again: bool = False) -> str:
            tracer.start_span(name).end()
            if again:
                in_thread(span, name + " nested")
            return name

        async def in_executor() -> str:
            return await asyncio.get_running_loop().run_in_executor(None, span, "run_in_executor")

        with otr.experiment("scoped") as exp, exp.arm("x"), exp.trial(item="i") as trial:
            in_thread(lambda: span("thread", again=True))
            own, timer = Own(), threading.Timer(0.0, span, ["timer"])
            for thread in (own, timer):
                thread.start()
                thread.join()
            with ThreadPoolExecutor(2) as pool:
                assert pool.submit(span, "submit").result() == "submit"
                assert list(pool.map(span, ["map"])) == ["map"]
            assert asyncio.run(in_executor()) == "run_in_executor"
        found = rows(exp, "name", "condition", "trial_id", "experiment_source", "parent_span_id")
    names = ["map", "run_in_executor", "subclass", "submit", "thread", "thread nested", "timer"]
    # The parent stays what it was without us: a thread begins a trace of its own.
    assert found == [(name, "x", trial.id, "thread", None) for name in names]


def test_a_pool_serves_each_submitter_in_its_own_scope() -> None:
    """One worker thread, made in one experiment, never takes its spans into that one for another submitter."""
    with recording("memory:", threads=True) as (recorder, provider), ThreadPoolExecutor(1) as pool:
        tracer = provider.get_tracer("app")

        def span(name: str) -> None:
            tracer.start_span(name).end()

        with otr.experiment("first") as first:
            pool.submit(span, "first").result()
        pool.submit(span, "outside").result()
        wide = otr.start_experiment("wide")
        pool.submit(span, "wide").result()
        with otr.experiment("second") as second:
            pool.submit(span, "second").result()
        otr.stop_experiment(wide)
        assert [rows(exp, "name", "experiment_source") for exp in (first, wide, second)] == [
            [("first", "thread")], [("wide", "process")], [("second", "thread")],
        ]  # fmt: skip
        assert recorder.ledger().outside == 1


def test_the_experiment_of_a_span_is_carried_too() -> None:
    """Where only the current span tells the experiment, a thread started inside it belongs to that one."""
    with recording("memory:", threads=True) as (_, provider), otr.experiment("of the parent") as exp:
        tracer = provider.get_tracer("app")
        with exp.arm("x"):
            parent = tracer.start_span("1 parent")
        token = context.attach(trace.set_span_in_context(parent, Context()))
        in_thread(lambda: tracer.start_span("2 child").end())
        context.detach(token)
        parent.end()
    assert rows(exp, "name", "condition", "experiment_source") == [
        ("1 parent", "x", "context"),
        ("2 child", "x", "thread"),
    ]


def test_closing_puts_everything_back() -> None:
    """After `close()` threads are the standard library's own; a foreign wrapper around ours is left in place."""
    before = threading.Thread.start, ThreadPoolExecutor.submit
    with recording("memory:", threads=True):
        assert threading.Thread.start is not before[0]
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before
    with recording("memory:", threads=True):
        ours = threading.Thread.start
        threading.Thread.start = lambda thread: ours(thread)  # type: ignore[method-assign, misc]
    try:
        ran: list[int] = []
        in_thread(ran.append, 1)
        assert ran == [1]
    finally:
        threading.Thread.start = before[0]  # type: ignore[method-assign]


def test_the_opt_in_is_a_yes_or_no() -> None:
    """Anything but True or False is refused by name."""
    with pytest.raises(otr.ConfigurationError, match="threads"):
        otr.configure(store="memory:", threads="yes")  # type: ignore[arg-type]
