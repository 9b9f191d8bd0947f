from __future__ import annotations

import asyncio
import itertools
import threading
import time
from typing import Any

import polars as pl
import pytest
from opentelemetry import trace

import otel_research as otr
from conftest import call_model
from otel_research.errors import BudgetExceeded, ConfigurationError, ExperimentStopped

tracer = trace.get_tracer("runner-tests")


def order_of(exp: otr.Experiment) -> list[tuple[str, str]]:
    return list(exp.trials().select("item_id", "condition").collect().rows())


def answer(item: Any, condition: Any) -> str:
    return f"{item}/{condition}"


def test_every_item_runs_once_under_each_condition_and_repetition(exp: otr.Experiment) -> None:
    """The trials carry item, condition, repetition and factor levels, and what was returned comes back."""
    trials = exp.run_trials(answer, ["q1", "q2"], conditions={"a": {"p": 1}, "b": {"p": 2}}, repetitions=3)
    rows = exp.trials().collect()
    assert trials.counts == {"ok": 12, "failed": 0, "timeout": 0}
    assert rows.unique(["condition", "item_id", "repetition"]).height == rows.height == 12
    assert set(rows.filter(pl.col("condition") == "a")["factors"]) == {'{"p":1}'}
    assert {one.value for one in trials} == {"q1/a", "q1/b", "q2/a", "q2/b"}
    assert trials.to_polars()["position"].to_list() == list(range(12))
    assert trials.left == 0


def test_the_order_is_random_by_the_seed_and_recorded(exp: otr.Experiment) -> None:
    """Interleaved: an item's conditions lie side by side in random order; the plan and positions are kept."""
    exp.run_trials(answer, range(30), conditions=["a", "b"])
    rows = order_of(exp)
    assert all(rows[at][0] == rows[at + 1][0] for at in range(0, 60, 2))
    assert [item for item, _ in rows[::2]] != sorted((item for item, _ in rows[::2]), key=int)
    assert 5 < sum(rows[at][1] == "a" for at in range(0, 60, 2)) < 25
    note = exp.annotations()[0]
    assert (note["kind"], note["plan"]["seed"], note["plan"]["order"]) == ("plan", 11, "interleaved")
    assert note["author"]
    assert note["time_ns"] > 0


def test_the_same_seed_gives_the_same_order() -> None:
    """And another seed another one."""
    found = []
    for seed in (1, 1, 2):
        with otr.experiment("order", seed=seed, store="memory:") as exp:
            exp.run_trials(answer, range(10), conditions=["a", "b"])
            found.append(order_of(exp))
    otr.configure().close()
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(("order", "least", "most"), [("sequential", 1, 1), ("random", 8, 32)])
def test_other_orders(exp: otr.Experiment, order: str, least: int, most: int) -> None:
    """Sequential runs one condition after the other, random shuffles all."""
    exp.run_trials(answer, range(20), conditions=["a", "b"], order=order)
    conditions = [condition for _, condition in order_of(exp)]
    assert least <= sum(x != y for x, y in itertools.pairwise(conditions)) <= most


def test_an_error_marks_its_trial_and_the_run_goes_on(exp: otr.Experiment) -> None:
    """A failed trial is data: it says why, and is not run again."""

    def fragile(item: int, condition: str) -> int:
        if item == 1:
            raise ValueError("no answer")
        return item

    trials = exp.run_trials(fragile, range(3))
    assert trials.counts == {"ok": 2, "failed": 1, "timeout": 0}
    assert [one.error for one in trials if one.outcome == "failed"] == ["ValueError: no answer"]
    assert exp.trials().filter(pl.col("outcome") == "failed").collect()["failure_reason"].to_list() == [
        "ValueError: no answer"
    ]
    assert len(exp.run_trials(fragile, range(3))) == 0


@pytest.mark.parametrize("concurrency", [1, 4])
def test_at_most_so_many_run_at_a_time(exp: otr.Experiment, concurrency: int) -> None:
    """The limit holds, and is used; one at a time runs in the caller's own thread."""
    running, most, threads, lock = 0, 0, set(), threading.Lock()

    def work(item: int, condition: str | None) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads.add(threading.current_thread())
        time.sleep(0.01)
        with lock:
            running -= 1

    exp.run_trials(work, range(12), concurrency=concurrency)
    assert most == concurrency
    assert (threads == {threading.current_thread()}) == (concurrency == 1)


@pytest.mark.parametrize("is_async", [False, True])
def test_spans_belong_to_their_trial(exp: otr.Experiment, is_async: bool) -> None:
    """Also those made at the same time in other threads or tasks."""

    def sync(item: int, condition: str) -> None:
        with tracer.start_as_current_span(f"work {item}"):
            time.sleep(0.002)

    async def asynchronous(item: int, condition: str) -> None:
        with tracer.start_as_current_span(f"work {item}"):
            await asyncio.sleep(0.002)

    exp.run_trials(asynchronous if is_async else sync, range(16), conditions=["a", "b"], concurrency=5)
    spans = exp.spans().filter(pl.col("name").str.starts_with("work")).collect()
    trials = exp.trials().collect().select("trial_id", of_item="item_id", of_condition="condition")
    joined = spans.join(trials, on="trial_id")
    assert joined.height == 32
    assert (joined["name"] == "work " + joined["of_item"]).all()
    assert (joined["condition"] == joined["of_condition"]).all()
    assert (joined["parent_span_id"] == joined["trial_id"]).all()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_trial_that_takes_too_long_is_censored_at_the_limit(exp: otr.Experiment, is_async: bool) -> None:
    """Its length is the limit; spans that end later are still its own."""
    release, loosened = threading.Event(), threading.Event()

    def slow(item: int, condition: str | None) -> None:
        with tracer.start_as_current_span("late"):
            if item == 0:
                release.wait(5)
        loosened.set()

    async def slow_async(item: int, condition: str | None) -> None:
        try:
            await asyncio.sleep(5 if item == 0 else 0)
        finally:
            with tracer.start_as_current_span("late"):
                pass
            loosened.set()

    trials = exp.run_trials(slow_async if is_async else slow, range(2), timeout=0.05)
    release.set()
    assert loosened.wait(5)
    assert trials.counts == {"ok": 1, "failed": 0, "timeout": 1}
    for _ in range(100):
        late = exp.spans().filter((pl.col("name") == "late") & (pl.col("item_id") == "0")).collect()
        if late.height and late["status"][0] != "interrupted":
            break
        time.sleep(0.01)
    cut = exp.spans().filter((pl.col("role") == "trial") & (pl.col("item_id") == "0")).collect()
    assert cut["duration_ms"].to_list() == [50.0]
    assert cut["error_kind"].to_list() == ["timeout"]
    assert late["trial_id"].to_list() == cut["trial_id"].to_list()
    assert otr.calculate_metrics(exp, unit="trial").latency.n_censored == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(("concurrency", "is_async"), [(1, False), (3, False), (3, True)])
def test_the_budget_ends_the_run(exp: otr.Experiment, concurrency: int, is_async: bool) -> None:
    """At most the calls in flight overshoot; with a higher budget the rest is run and nothing twice."""

    def work(item: int, condition: str | None) -> None:
        call_model()

    async def work_async(item: int, condition: str | None) -> None:
        await asyncio.sleep(0)
        call_model()

    fn = work_async if is_async else work
    with pytest.raises(BudgetExceeded, match=r"budget is 0\.6; .* trials are not run"):
        exp.run_trials(fn, range(20), budget=0.6, concurrency=concurrency)
    done = exp.trials().collect().height
    assert 4 <= done <= 4 + concurrency - 1
    trials = exp.run_trials(fn, range(20), budget=100.0, concurrency=concurrency)
    assert (trials.done_before, len(trials)) == (done, 20 - done)
    assert exp.trials().collect().height == 20
    assert trials.unpriced_calls == 0


def test_topping_up_runs_only_what_is_missing(exp: otr.Experiment) -> None:
    """More repetitions, items or conditions; each change leaves an amendment with author and time."""
    exp.run_trials(answer, ["q1", "q2"], conditions=["a", "b"])
    more = exp.run_trials(answer, ["q1", "q2", "q3"], conditions=["a", "b"], repetitions=2)
    again = exp.run_trials(answer, ["q1", "q2", "q3"], conditions=["a", "b"], repetitions=2)
    assert (more.done_before, len(more), len(again)) == (4, 8, 0)
    kinds = [note["kind"] for note in exp.annotations()]
    assert kinds == ["plan", "amendment", "resumption"]
    amended = exp.annotations()[1]
    assert amended["changes"]["repetitions"] == [1, 2]
    assert amended["changes"]["items"] == [2, 3]
    assert amended["done"] == 4
    assert "items_hash" in amended["changes"]


def test_an_excluded_trial_is_run_again(exp: otr.Experiment) -> None:
    """What was taken out of the numbers is missing from the plan."""
    first = exp.run_trials(answer, ["q1"])
    exp.exclude(first.ran[0].trial_id or "", reason="the cable was loose")
    assert len(exp.run_trials(answer, ["q1"])) == 1


def test_without_resume_the_plan_runs_anew(exp: otr.Experiment) -> None:
    """Its repetitions are numbered after those that are there."""
    exp.run_trials(answer, ["q1"], repetitions=2)
    exp.run_trials(answer, ["q1"], repetitions=2, resume=False)
    assert exp.trials().collect()["repetition"].sort().to_list() == [0, 1, 2, 3]


def test_warm_up_trials_are_kept_apart(exp: otr.Experiment) -> None:
    """They are captured, come first, and are no trial of the experiment."""
    trials = exp.run_trials(lambda item, condition: call_model(10), ["q1", "q2"], conditions=["a", "b"], warmup=3)
    own = exp.spans().filter(pl.col("role") == "trial").sort("start_ns").collect()
    assert own["aside"].to_list() == ["warmup"] * 6 + [None] * 4
    assert trials.warmups == 6
    assert len(trials) == 4
    assert exp.trials().collect().height == 4
    assert otr.calculate_metrics(exp).n == 4


@pytest.mark.parametrize("is_async", [False, True])
def test_what_ends_a_program_ends_the_run(exp: otr.Experiment, is_async: bool) -> None:
    """The trial that it cut off is taken out with the reason, and runs again next time."""

    def stopped(item: int, condition: str | None) -> None:
        if item == 1:
            raise KeyboardInterrupt

    async def stopped_async(item: int, condition: str | None) -> None:
        stopped(item, condition)

    with pytest.raises(KeyboardInterrupt):
        exp.run_trials(stopped_async if is_async else stopped, range(3), order="sequential")
    assert exp.trials().collect()["outcome"].to_list() == ["ok", "excluded"]
    assert len(exp.run_trials(answer, range(3), order="sequential")) == 2


def test_a_cancelled_run_stops_and_can_go_on(exp: otr.Experiment) -> None:
    """Cancelling the task that runs the trials takes out those in flight."""

    async def wait(item: int, condition: str | None) -> None:
        await asyncio.sleep(30)

    async def main() -> None:
        task = asyncio.create_task(exp.arun_trials(wait, range(4), concurrency=2))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = await exp.arun_trials(answer, range(4), concurrency=2)
        assert len(again) == 4

    asyncio.run(main())


def test_a_function_that_cancels_itself_only_fails_its_trial(exp: otr.Experiment) -> None:
    """A library's own cancellation is no wish to end the run."""

    async def cancels(item: int, condition: str | None) -> None:
        raise asyncio.CancelledError

    trials = exp.run_trials(cancels, range(2))
    assert trials.counts == {"ok": 0, "failed": 2, "timeout": 0}


def test_async_functions_run_in_the_loop_that_is_there(exp: otr.Experiment) -> None:
    """`run_trials` refuses where a loop runs, and names `arun_trials`; that takes sync functions too."""

    async def work(item: int, condition: str | None) -> int:
        await asyncio.sleep(0)
        return item

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"await exp\.arun_trials"):
            exp.run_trials(work, range(2))
        trials = await exp.arun_trials(work, range(4), concurrency=2)
        assert sorted(one.value for one in trials) == [0, 1, 2, 3]

    asyncio.run(main())


def test_scores_inside_the_function_are_the_trials(exp: otr.Experiment) -> None:
    """`otr.score` finds the trial that runs."""
    exp.run_trials(lambda item, condition: otr.score("accuracy", item), [0, 1], conditions=["a", "b"])
    assert exp.trials().collect()["scores"].sort().to_list() == ['{"accuracy":0.0}'] * 2 + ['{"accuracy":1.0}'] * 2


def test_what_names_an_item() -> None:
    """Text, numbers, "id", a field, a function, a mapping's keys, the rows of a frame."""
    from otel_research.runner.plan import identified

    rows = [{"id": "x", "k": 1}, {"id": "y", "k": 2}]
    assert list(identified(["a", 3], None)) == ["a", "3"]
    assert list(identified(rows, None)) == ["x", "y"]
    assert list(identified(rows, "k")) == ["1", "2"]
    assert list(identified(rows, lambda row: row["id"] * 2)) == ["xx", "yy"]
    assert list(identified({"n": object()}, None)) == ["n"]
    assert list(identified(pl.DataFrame(rows), "k")) == ["1", "2"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"items": []}, "items is empty"),
        ({"items": "text"}, "items is a list"),
        ({"items": ["a", "a"]}, "two items have the id 'a'"),
        ({"items": [{"q": 1}]}, "has no 'id'"),
        ({"fn": 5}, "not callable"),
        ({"order": "alphabetic"}, "order='alphabetic'"),
        ({"repetitions": 0}, "repetitions is a whole number from 1"),
        ({"concurrency": 1.5}, "concurrency is a whole number"),
        ({"timeout": -1}, "timeout is a number above 0"),
        ({"budget": float("nan")}, "budget is a number above 0"),
        ({"conditions": []}, "conditions is empty"),
        ({"warmup": -1}, "warmup is a whole number from 0"),
        ({"fn": lambda item, condition: asyncio.sleep(0)}, "returned a coroutine"),
    ],
)
def test_wrong_arguments_are_refused(exp: otr.Experiment, wrong: dict[str, Any], says: str) -> None:
    """The message names the argument; no trial enters the numbers."""
    given: dict[str, Any] = {"fn": answer, "items": ["a"], **wrong}
    with pytest.raises(ConfigurationError, match=says):
        exp.run_trials(given.pop("fn"), given.pop("items"), **given)
    assert exp.trials().filter(pl.col("outcome") == "ok").collect().is_empty()


def test_a_stopped_experiment_takes_no_trials(exp: otr.Experiment) -> None:
    """It says so before anything is planned."""
    otr.stop_experiment(exp.id)
    with pytest.raises(ExperimentStopped):
        exp.run_trials(answer, ["a"])
    assert exp.annotations() == []


def test_a_result_is_data(exp: otr.Experiment) -> None:
    """As JSON data it has everything but the returned objects."""
    import json

    trials = exp.run_trials(lambda item, condition: object(), ["a"])
    plain = json.loads(json.dumps(trials.to_dict()))
    assert plain["ran"][0]["item_id"] == "a"
    assert "value" not in plain["ran"][0]
    assert "1 run (1 ok)" in str(trials)


def test_progress_is_for_terminals_only(exp: otr.Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    """Pipes and logs stay clean."""
    exp.run_trials(answer, range(3))
    assert capsys.readouterr() == ("", "")


def test_the_same_call_inside_an_arm_makes_no_trial_twice(exp: otr.Experiment) -> None:
    """A trial is stored under the arm around the run, so that is what it is known by."""
    for arm in ("a", "b"):
        with exp.arm(arm):
            first = exp.run_trials(lambda item, _: item, ["q1", "q2"], progress=False)
            again = exp.run_trials(lambda item, _: item, ["q1", "q2"], progress=False)
        assert (len(first.ran), len(again.ran), again.done_before) == (2, 0, 2)
    assert sorted(exp.trials().collect()["condition"]) == ["a", "a", "b", "b"]
