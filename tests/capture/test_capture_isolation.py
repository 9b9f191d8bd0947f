"""Every span in the right experiment, none in two, none orphaned: threads, tasks, executors, forks."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

import otel_research as otr


def names(exp: otr.Experiment) -> list[str]:
    return exp.library.scan(exp.id).sort("start_ns").collect()["name"].to_list()


def sources(exp: otr.Experiment) -> dict[str, str]:
    return dict(exp.library.scan(exp.id).select("name", "experiment_source").collect().iter_rows())


def work(host: Any, who: str, spans: int) -> None:
    """Nested spans that say whose they are."""
    for number in range(spans):
        with (
            host.tracer.start_as_current_span(f"{who} outer", attributes={"who": who, "number": number}),
            host.tracer.start_as_current_span(f"{who} inner", attributes={"who": who}),
        ):
            pass


def test_two_experiments_over_sixteen_threads_and_a_hundred_tasks(host: Any) -> None:
    """Each span is in its own experiment, with its own condition, its parent in the same one; the ledgers balance."""
    with otr.experiment("one") as one, otr.experiment("two") as two:
        barrier = threading.Barrier(16)

        def in_thread(exp: otr.Experiment, who: str) -> None:
            barrier.wait()
            with exp.activate(), exp.arm(who):
                work(host, f"{exp.name} {who}", 25)

        async def in_task(exp: otr.Experiment, who: str) -> None:
            with exp.activate(), exp.arm(who):
                for number in range(5):
                    with host.tracer.start_as_current_span(f"{exp.name} {who}", attributes={"number": number}):
                        await asyncio.sleep(0)
                        host.tracer.start_span(f"{exp.name} {who}").end()
                        await asyncio.sleep(0)

        async def all_tasks() -> None:
            await asyncio.gather(*(in_task((one, two)[n % 2], f"task{n}") for n in range(100)))

        threads = [threading.Thread(target=in_thread, args=((one, two)[n % 2], f"thread{n}")) for n in range(16)]
        for thread in threads:
            thread.start()
        asyncio.run(all_tasks())
        for thread in threads:
            thread.join()

    seen: dict[str, set[str]] = {}
    for exp in (one, two):
        rows = exp.spans().collect()
        assert rows.height == 8 * 25 * 2 + 50 * 5 * 2
        assert rows["name"].str.starts_with(f"{exp.name} ").all()
        whose = rows["name"].str.split(" ").list.get(1)
        assert (rows["condition"] == whose).all()
        seen[exp.name] = set(rows["span_id"])
        parents = set(rows["parent_span_id"].drop_nulls())
        assert parents <= seen[exp.name]
        assert exp.ledger().is_balanced
        assert (exp.ledger().stored, exp.ledger().open, exp.ledger().lost_total) == (rows.height, 0, 0)
    assert seen["one"].isdisjoint(seen["two"])
    assert host.recorder.ledger().outside == 0


def test_the_process_wide_experiment_reaches_plain_threads_and_executors(host: Any) -> None:
    """Where contexts do not go, the process-wide experiment answers, and the source says so."""
    exp = otr.start_experiment("process")
    thread = threading.Thread(target=work, args=(host, "thread", 1))
    thread.start()
    thread.join()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: work(host, f"pool{n}", 1), range(4)))

    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work, host, "executor", 1)
        await asyncio.to_thread(work, host, "to_thread", 1)

    asyncio.run(main())
    work(host, "main", 1)
    otr.stop_experiment(exp.id)
    assert exp.spans().collect().height == 2 * (1 + 4 + 1 + 1 + 1)
    assert set(sources(exp).values()) == {"process", "parent"} or set(sources(exp).values()) == {"process"}
    assert sources(exp)["thread outer"] == "process"


def test_a_scoped_experiment_does_not_reach_plain_threads(host: Any) -> None:
    """A thread started inside a scoped block is outside it, and counted; `activate` brings it in."""
    with otr.experiment("scoped") as exp:
        outside = threading.Thread(target=lambda: host.tracer.start_span("outside").end())

        def inside_work() -> None:
            with exp.activate():
                host.tracer.start_span("inside").end()

        inside = threading.Thread(target=inside_work)
        for thread in (outside, inside):
            thread.start()
            thread.join()
    assert names(exp) == ["inside"]
    assert host.recorder.ledger().outside == 1


def test_contexts_carry_a_scoped_experiment(host: Any) -> None:
    """Tasks, `to_thread` and a copied context inherit the block they were made in."""

    async def main() -> None:
        task = asyncio.create_task(asyncio.to_thread(lambda: host.tracer.start_span("to_thread").end()))
        await task
        host.tracer.start_span("task").end()

    with otr.experiment("contexts") as exp:
        asyncio.run(main())
        copied = contextvars.copy_context()
        thread = threading.Thread(target=copied.run, args=(lambda: host.tracer.start_span("copied").end(),))
        thread.start()
        thread.join()
    assert names(exp) == ["to_thread", "task", "copied"]


def test_scoped_beats_process_wide(host: Any) -> None:
    """Inside a scoped block only that experiment gets the spans; around it the process-wide one does."""
    wide = otr.start_experiment("wide")
    host.tracer.start_span("before").end()
    with otr.experiment("scoped") as scoped:
        host.tracer.start_span("inside").end()
        assert otr.current_experiment() is scoped
    host.tracer.start_span("after").end()
    assert otr.current_experiment() is wide
    otr.stop_experiment(wide)
    assert names(wide) == ["before", "after"]
    assert names(scoped) == ["inside"]
    assert otr.current_experiment() is None


def test_nested_scopes(host: Any) -> None:
    """The innermost block answers; leaving it, the outer one again, its condition too."""
    with otr.experiment("outer") as outer, outer.arm("a"):
        host.tracer.start_span("outer 1").end()
        with otr.experiment("inner") as inner:
            host.tracer.start_span("inner").end()
            with outer.activate():
                host.tracer.start_span("outer again").end()
        host.tracer.start_span("outer 2").end()
    assert names(inner) == ["inner"]
    rows = outer.spans().sort("start_ns").collect()
    assert rows.select("name", "condition").rows() == [("outer 1", "a"), ("outer again", None), ("outer 2", "a")]
    assert inner.spans().collect()["condition"].to_list() == [None]


def test_a_context_without_a_scope_follows_its_open_parent(host: Any) -> None:
    """A callback that only carries the parent span lands in the parent's experiment, condition and trial."""
    exp = otr.start_experiment("parent")
    try:
        with otr.experiment("other") as other, other.arm("a"), other.trial(item="q1") as trial:
            parent = host.tracer.start_span("parent")
            bare = trace.set_span_in_context(parent, otel_context.Context())
            host.tracer.start_span("child", context=bare).end()
            parent.end()
            host.tracer.start_span("late child", context=bare).end()
    finally:
        otr.stop_experiment(exp)
    assert names(exp) == []
    rows = other.spans().filter(pl.col("name").str.contains("child")).sort("start_ns").collect()
    assert rows.select("name", "experiment_source", "condition", "trial_id", "item_id").rows() == [
        ("child", "parent", "a", trial.id, "q1"),
        ("late child", "parent", "a", trial.id, "q1"),
    ]


def test_an_open_parent_whose_tags_were_evicted_still_leads(host: Any) -> None:
    """Under a limit of one attribute the parent carries no tag; its child finds the experiment all the same."""
    narrow = TracerProvider(span_limits=SpanLimits(max_span_attributes=1), shutdown_on_exit=False)
    narrow.add_span_processor(otr.ExperimentSpanProcessor(host.recorder))
    with otr.experiment("evicted") as exp:
        with exp.arm("a"):
            parent = narrow.get_tracer("x").start_span("parent")
            parent.set_attribute("mine", 1)
        bare = trace.set_span_in_context(parent, otel_context.Context())
        host.tracer.start_span("child", context=bare).end()
        parent.end()
    rows = exp.spans().filter(pl.col("name") == "child").select("condition", "experiment_source").collect().rows()
    assert rows == [("a", "parent")]


def test_a_context_without_anything_falls_back_to_the_process(host: Any) -> None:
    """An empty context belongs to the process-wide experiment, and to none where there is none."""
    host.tracer.start_span("nowhere", context=otel_context.Context()).end()
    exp = otr.start_experiment("process")
    host.tracer.start_span("somewhere", context=otel_context.Context()).end()
    otr.stop_experiment(exp)
    assert names(exp) == ["somewhere"]
    assert host.recorder.ledger().outside == 1


def test_a_stopped_block_does_not_spill_into_the_process_wide_one(host: Any) -> None:
    """A task that outlives its block is outside, not in whatever else runs."""
    wide = otr.start_experiment("wide")
    with otr.experiment("brief"):
        left = contextvars.copy_context()
    left.run(lambda: host.tracer.start_span("too late").end())
    otr.stop_experiment(wide)
    assert names(wide) == []
    assert host.recorder.ledger().outside == 1


def test_only_one_of_many_threads_starts_the_process_wide_experiment(host: Any) -> None:
    """A race for the process-wide place has one winner; the others are told who it is."""
    barrier, won, refused = threading.Barrier(8), [], []

    def start(number: int) -> None:
        barrier.wait()
        try:
            won.append(otr.start_experiment(f"racer {number}"))
        except otr.ExperimentRunning as error:
            refused.append(str(error))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(refused) == 7
    assert all(won[0].id in text for text in refused)
    otr.stop_experiment(won[0])


def test_only_one_of_many_threads_stops_it(host: Any) -> None:
    """A race for the stop has one winner too, and the experiment is sealed once."""
    exp = otr.start_experiment("stopped by many")
    host.call()
    barrier, stopped, refused = threading.Barrier(8), [], []

    def stop() -> None:
        barrier.wait()
        try:
            stopped.append(otr.stop_experiment(exp))
        except otr.ExperimentStopped as error:
            refused.append(error)

    threads = [threading.Thread(target=stop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stopped == [exp]
    assert len(refused) == 7
    assert exp.spans().collect().height == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("how", ["falls out of the block", "leaves at once", "ends normally"])
def test_a_forked_child_records_and_does_not_stop_its_parents_experiment(
    disk_host: Any, wait_for: Callable[[int], None], how: str
) -> None:
    """A child's spans are in the experiment; however it ends, the parent goes on and stops it."""
    child = None
    try:
        with otr.experiment("forked") as exp:
            disk_host.tracer.start_span("before").end()
            child = os.fork()
            if child == 0:
                disk_host.tracer.start_span("child").end()
                if how == "leaves at once":
                    os._exit(0)
            else:
                wait_for(child)
                assert otr.get_experiment(exp.id).state == "running"
                disk_host.tracer.start_span("after").end()
        if child == 0 and how == "ends normally":
            disk_host.recorder.close()
    finally:
        if child == 0:
            os._exit(0)
    assert names(exp) == ["before", "child", "after"]
    assert exp.state == "stopped"
    assert exp.ledger().is_balanced
    assert exp.ledger().stored == 3


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_span_open_across_a_fork_is_stored_once(disk_host: Any, wait_for: Callable[[int], None]) -> None:
    """Both processes end it; the experiment has it once and counts the copy as a duplicate."""
    exp = otr.start_experiment("open across")
    with disk_host.tracer.start_as_current_span("open"):
        child = os.fork()
    if child == 0:
        os._exit(0)
    wait_for(child)
    otr.stop_experiment(exp)
    assert names(exp) == ["open"]
    assert exp.ledger().duplicates == 1
    assert exp.ledger().is_balanced
