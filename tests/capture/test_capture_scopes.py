"""Blocks and decorators: experiments, arms, sessions, asides, trials; sync, async and generators."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import polars as pl
import pytest
from opentelemetry import trace

import otel_research as otr
from otel_research import context


def rows(exp: otr.Experiment, *columns: str) -> list[tuple[Any, ...]]:
    return exp.spans().sort("start_ns").select(*columns).collect().rows()


def attributes(exp: otr.Experiment, name: str) -> dict[str, Any]:
    (text,) = exp.spans().filter(pl.col("name") == name).collect()["attributes"]
    return json.loads(text)


# -- experiments as blocks and decorators ---------------------------------------------


def test_a_block_stops_its_experiment_also_when_it_raises(host: Any) -> None:
    """The exception goes on to the caller; what was captured is sealed."""
    with pytest.raises(ZeroDivisionError), otr.experiment("raises") as exp:  # noqa: PT012 - the block is the point
        host.call()
        _ = 1 / 0
    assert (exp.state, exp.ended_by) == ("stopped", "user")
    assert exp.spans().collect().height == 1
    assert otr.current_experiment() is None


def test_a_block_may_be_stopped_inside(host: Any) -> None:
    """Stopping early is fine: the block's end does not stop it a second time."""
    with otr.experiment("early") as exp:
        host.call()
        otr.stop_experiment(exp.id)
        host.call()
    assert exp.spans().collect().height == 1


def test_a_block_says_what_threads_left_out_of_it(host: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Spans of a thread that nothing carries are in no experiment: told once, with the two ways to have them."""
    for _ in range(2):
        with otr.experiment("threads"):
            host.call()
            thread = threading.Thread(target=host.call)
            thread.start()
            thread.join()
    (told,) = [record.getMessage() for record in caplog.records]
    assert "'threads' was open, 1 span(s)" in told
    assert "configure(threads=True)" in told
    assert "start_experiment" in told


def test_a_block_with_carried_threads_has_nothing_to_say(host: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Neither spans that were carried nor those before and after the block are missing in it."""
    host.call()
    with otr.experiment("carried") as exp:
        thread = threading.Thread(target=otr.carry(host.call))
        thread.start()
        thread.join()
    host.call()
    assert caplog.records == []
    assert exp.spans().collect().height == 1


def test_one_block_object_gives_an_experiment_each_time(host: Any) -> None:
    """Entered again, nested or by two threads at once, every entry is an experiment of its own."""
    block = otr.experiment("again")
    with block as first, block as second:
        host.call()
    with block as third:
        host.call()
    assert len({first.id, second.id, third.id}) == 3
    assert [exp.spans().collect().height for exp in (first, second, third)] == [0, 1, 1]

    barrier = threading.Barrier(4)
    all_even_left = threading.Event()
    found: list[otr.Experiment] = []

    def enter(number: int) -> None:
        with block as exp:
            barrier.wait()
            host.tracer.start_span(str(number)).end()
            barrier.wait()
            # Half of them leave; the others' experiments must still be theirs.
            if number % 2:
                all_even_left.wait(10)
                host.tracer.start_span(str(number)).end()
        found.append(exp)
        if len(found) == 2:
            all_even_left.set()

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [exp.spans().collect().height for exp in found] == [1, 1, 2, 2]
    assert {exp.state for exp in found} == {"stopped"}


def test_async_with(host: Any) -> None:
    """`async with` gives the experiment; tasks made inside are in it."""

    async def main() -> otr.Experiment:
        async with otr.experiment("async") as exp:
            await asyncio.gather(*(asyncio.to_thread(host.call) for _ in range(5)))
        return exp

    assert asyncio.run(main()).spans().collect().height == 5


def test_leaving_an_async_block_lets_other_tasks_end_their_spans(host: Any) -> None:
    """The stop waits for open spans without holding up the event loop in which they end."""

    async def slow() -> None:
        with host.tracer.start_as_current_span("slow"):
            await asyncio.sleep(0.05)

    async def main() -> otr.Experiment:
        async with otr.experiment("waits") as exp:
            task = asyncio.create_task(slow())
            await asyncio.sleep(0)
        await task
        return exp

    began = time.monotonic()
    exp = asyncio.run(main())
    assert time.monotonic() - began < 10
    assert rows(exp, "name", "status") == [("slow", "unset")]
    assert exp.ledger().late == 0


def test_a_decorator_makes_an_experiment_of_every_call(host: Any) -> None:
    """Sync functions keep their arguments, result, name and docstring."""

    @otr.experiment("decorated", tags=["t"])
    def run(count: int, *, name: str) -> str:
        """Make calls."""
        for _ in range(count):
            host.call()
        return name

    assert run(2, name="x") == "x"
    assert run(3, name="y") == "y"
    assert (run.__name__, run.__doc__) == ("run", "Make calls.")
    assert [exp.spans().collect().height for exp in otr.list_experiments(tag="t")] == [2, 3]


def test_a_decorated_function_may_call_itself(host: Any) -> None:
    """Recursion: one experiment per call, each with its own span."""

    @otr.experiment("recursive")
    def down(level: int) -> None:
        host.tracer.start_span(str(level)).end()
        if level:
            down(level - 1)

    down(2)
    assert [[name for (name,) in rows(exp, "name")] for exp in otr.list_experiments(name="recursive")] == [
        ["2"], ["1"], ["0"],
    ]  # fmt: skip


def test_a_decorated_coroutine(host: Any) -> None:
    """Async functions: concurrent calls are separate experiments."""

    @otr.experiment("coroutine")
    async def run(number: int) -> int:
        for _ in range(3):
            host.tracer.start_span(str(number)).end()
            await asyncio.sleep(0)
        return number

    async def main() -> list[int]:
        return await asyncio.gather(*(run(number) for number in range(5)))

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]
    found = otr.list_experiments(name="coroutine")
    assert sorted(rows(exp, "name") for exp in found) == [[(str(n),)] * 3 for n in range(5)]


def test_a_decorated_object_with_an_async_call(host: Any) -> None:
    """A callable object is looked at too: its coroutine runs inside the experiment."""

    class Agent:
        async def __call__(self) -> str:
            await asyncio.sleep(0)
            host.call()
            return "done"

    Agent.__name__ = "Agent"
    agent = Agent()
    agent.__name__ = "agent"  # type: ignore[attr-defined]
    run = otr.experiment("object")(agent)
    assert asyncio.run(run()) == "done"
    (exp,) = otr.list_experiments(name="object")
    assert exp.spans().collect().height == 1


def test_a_decorated_generator(host: Any) -> None:
    """A generator's spans are in its experiment; what its consumer does between two values is not."""

    @otr.experiment("generator")
    def produce() -> Iterator[int]:
        with host.tracer.start_as_current_span("around"):
            for number in range(3):
                host.tracer.start_span(f"step {number}").end()
                got = yield number
                if got:
                    host.tracer.start_span(f"got {got}").end()

    generator = produce()
    values = [next(generator)]
    host.tracer.start_span("consumer").end()
    assert otr.current_experiment() is None
    values += [generator.send("mail"), *generator]  # type: ignore[attr-defined]
    assert values == [0, 1, 2]
    (exp,) = otr.list_experiments(name="generator")
    assert exp.state == "stopped"
    found = rows(exp, "name", "parent_span_id")
    assert [name for name, _ in found] == ["around", "step 0", "got mail", "step 1", "step 2"]
    (around,) = exp.spans().filter(pl.col("name") == "around").collect()["span_id"]
    assert {parent for _, parent in found[1:]} == {around}
    assert host.recorder.ledger().outside == 1


def test_a_decorated_generator_that_is_left_or_raises(host: Any) -> None:
    """Closing it early or an exception inside ends the experiment too."""

    @otr.experiment("left")
    def produce() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            host.tracer.start_span("cleaned up").end()

    generator = produce()
    next(generator)
    generator.close()  # type: ignore[attr-defined]
    thrown = produce()
    next(thrown)
    with pytest.raises(KeyError):
        thrown.throw(KeyError("x"))  # type: ignore[attr-defined]
    left = otr.list_experiments(name="left")
    assert [(exp.state, rows(exp, "name")) for exp in left] == [("stopped", [("cleaned up",)])] * 2


def test_a_decorated_async_generator(host: Any) -> None:
    """An async generator too: its own experiment, invisible to the consumer."""

    @otr.experiment("async generator")
    async def produce() -> AsyncIterator[int]:
        try:
            with host.tracer.start_as_current_span("around"):
                for number in range(3):
                    await asyncio.sleep(0)
                    host.tracer.start_span(f"step {number}").end()
                    yield number
        finally:
            await asyncio.sleep(0)
            host.tracer.start_span("cleaned up").end()

    async def main() -> list[int]:
        values = []
        async for number in produce():
            assert otr.current_experiment() is None
            host.tracer.start_span("consumer").end()
            values.append(number)
        left = produce()
        await left.__anext__()
        await left.aclose()  # type: ignore[attr-defined]
        return values

    assert asyncio.run(main()) == [0, 1, 2]
    whole, left = otr.list_experiments(name="async generator")
    steps = [name for (name,) in rows(whole, "name")]
    assert steps == ["around", "step 0", "step 1", "step 2", "cleaned up"]
    assert [name for (name,) in rows(left, "name")] == ["around", "step 0", "cleaned up"]
    assert (whole.state, left.state) == ("stopped", "stopped")


# -- labels ---------------------------------------------------------------------------


def test_arms_sessions_and_asides_label_what_is_inside(host: Any) -> None:
    """Each block adds its label and takes it away again; factors of inner arms are added to outer ones."""
    with otr.experiment("labels", factors={"dataset": "mmlu"}, condition="default") as exp:
        host.tracer.start_span("plain").end()
        with exp.arm("treatment", factors={"prompt": "cot", "shots": 3}):
            host.tracer.start_span("arm").end()
            with exp.session("user-42"), exp.aside("judge"):
                host.tracer.start_span("deep").end()
            with exp.arm("nested", factors={"shots": 5}):
                host.tracer.start_span("nested").end()
        host.tracer.start_span("after").end()
    found = rows(exp, "name", "condition", "session_id", "aside", "factors")
    cot3 = '{"dataset":"mmlu","prompt":"cot","shots":3}'
    assert found == [
        ("plain", "default", None, None, '{"dataset":"mmlu"}'),
        ("arm", "treatment", None, None, cot3),
        ("deep", "treatment", "user-42", "judge", cot3),
        ("nested", "nested", None, None, '{"dataset":"mmlu","prompt":"cot","shots":5}'),
        ("after", "default", None, None, '{"dataset":"mmlu"}'),
    ]


def test_a_session_that_the_instrumentation_names_is_kept_on_the_span(host: Any) -> None:
    """Our session label does not overwrite an attribute of the program's; the column says ours."""
    with otr.experiment("session") as exp, exp.session("ours"):
        host.tracer.start_span("s", attributes={"session.id": "theirs"}).end()
    assert attributes(exp, "s")["session.id"] == "theirs"
    assert rows(exp, "session_id") == [("ours",)]


def test_an_arm_of_one_experiment_inside_another(host: Any) -> None:
    """A block of an experiment enters it, wherever it is opened."""
    with otr.experiment("first") as first, otr.experiment("second"), first.arm("a"):
        host.tracer.start_span("s").end()
    assert rows(first, "name", "condition") == [("s", "a")]


# -- trials ---------------------------------------------------------------------------


def test_a_trial_is_a_span_and_labels_what_is_inside(host: Any) -> None:
    """The trial's id is its span's id; everything inside carries id, item and repetition."""
    with otr.experiment("trials") as exp, exp.arm("a"):
        with exp.trial(item=17, repetition=1, difficulty="hard") as trial:
            host.call("inside")
            trial.set_attribute("tokens_left", 5)
        host.call("outside")
    assert rows(exp, "name", "trial_id", "item_id", "repetition", "condition", "status") == [
        ("trial", trial.id, "17", 1, "a", "unset"),
        ("inside", trial.id, "17", 1, "a", "unset"),
        ("outside", None, None, None, "a", "unset"),
    ]
    assert exp.spans().filter(pl.col("name") == "trial").collect()["span_id"].to_list() == [trial.id]
    assert (trial.item, trial.condition) == ("17", "a")
    of_trial = attributes(exp, "trial")
    assert (of_trial["difficulty"], of_trial["tokens_left"], of_trial["experiment.trial.id"]) == ("hard", 5, trial.id)


def test_an_exception_makes_a_failed_trial_and_goes_on(host: Any) -> None:
    """The trial is failed with the exception's name and message; the exception reaches the caller."""
    with otr.experiment("fails") as exp:
        with pytest.raises(TimeoutError), exp.trial(item="q1"):
            raise TimeoutError("too slow")
        with exp.trial(item="q2"):
            pass
    assert exp.trials().select("item_id", "outcome", "failure_reason").collect().rows() == [
        ("q1", "failed", "TimeoutError: too slow"), ("q2", "ok", None),
    ]  # fmt: skip
    assert rows(exp, "status", "status_message", "error_type") == [
        ("error", "TimeoutError: too slow", "TimeoutError"), ("unset", None, None),
    ]  # fmt: skip
    assert "too slow" in exp.spans().collect()["events"][0]


def test_a_cancelled_trial_is_a_failed_trial(host: Any) -> None:
    """Cancellation is no answer: the trial did not work."""

    async def main(exp: otr.Experiment) -> None:
        async with exp.trial(item="q"):
            await asyncio.sleep(60)

    async def cancelled() -> otr.Experiment:
        async with otr.experiment("cancelled") as exp:
            task = asyncio.create_task(main(exp))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return exp

    exp = asyncio.run(cancelled())
    assert rows(exp, "status", "error_type") == [("error", "asyncio.exceptions.CancelledError")]


def test_fail_marks_a_trial_and_a_score_does_not(host: Any) -> None:
    """Wrong is not the same as broken: a bad score is no failure."""
    with otr.experiment("verdicts") as exp:
        with exp.trial(item="broken") as broken:
            broken.fail("no JSON in the answer")
        with exp.trial(item="wrong") as wrong:
            wrong.score("accuracy", 0.0, explanation="said 5")
    assert exp.trials().select("item_id", "outcome", "scores").collect().rows() == [
        ("broken", "failed", None), ("wrong", "ok", '{"accuracy":0.0}'),
    ]  # fmt: skip
    assert rows(exp, "name", "status", "status_message")[0] == ("trial", "error", "no JSON in the answer")


def test_nested_trials(host: Any) -> None:
    """Spans belong to the innermost trial; the inner trial is a child of the outer one."""
    with otr.experiment("nested") as exp, exp.trial(item="outer") as outer:
        with exp.trial(item="inner") as inner:
            host.call("in inner")
        host.call("in outer")
    assert rows(exp, "name", "trial_id", "item_id", "parent_span_id") == [
        ("trial", outer.id, "outer", None),
        ("trial", inner.id, "inner", outer.id),
        ("in inner", inner.id, "inner", inner.id),
        ("in outer", outer.id, "outer", outer.id),
    ]


def test_concurrent_trials(host: Any) -> None:
    """Trials in tasks and in threads do not mix: every span is in the trial that made it."""

    async def one(exp: otr.Experiment, number: int) -> None:
        async with exp.trial(item=number, repetition=number % 3):
            for _ in range(3):
                await asyncio.sleep(0)
                host.tracer.start_span(str(number)).end()

    def in_thread(exp: otr.Experiment, number: int) -> None:
        with exp.trial(item=number):
            for _ in range(3):
                host.tracer.start_span(str(number)).end()

    async def main(exp: otr.Experiment) -> None:
        await asyncio.gather(*(one(exp, number) for number in range(50)))

    with otr.experiment("concurrent") as exp:
        asyncio.run(main(exp))
        threads = [threading.Thread(target=in_thread, args=(exp, number)) for number in range(50, 60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = exp.spans().filter(pl.col("name") != "trial").collect()
    assert found.height == 180
    assert (found["name"] == found["item_id"]).all()
    assert found["trial_id"].n_unique() == 60
    assert exp.trials().collect().height == 60


def test_a_trial_under_a_span_of_the_hosts(host: Any) -> None:
    """A trial inside the host's own span is its child; the span around it is in no trial."""
    with otr.experiment("under") as exp, host.tracer.start_as_current_span("request") as request:
        with exp.trial(item="q") as trial:
            assert trace.get_current_span() is trial.span
        assert trace.get_current_span() is request
    request_id = f"{request.get_span_context().span_id:016x}"
    assert rows(exp, "name", "trial_id", "parent_span_id") == [
        ("request", None, None), ("trial", trial.id, request_id),
    ]  # fmt: skip


def test_a_decorated_async_generator_takes_what_is_sent_and_thrown(host: Any) -> None:
    """`asend` and `athrow` reach the function, inside its experiment; what it answers comes back."""

    @otr.experiment("conversation")
    async def converse() -> AsyncGenerator[str, str]:
        heard = ""
        while heard != "stop":
            host.call()
            try:
                heard = yield f"heard {heard!r}"
            except KeyError as error:
                heard = f"error {error}"

    async def main() -> list[str]:
        talk = converse()
        said = [await anext(talk), await talk.asend("a"), await talk.athrow(KeyError("b")), await talk.asend("c")]
        with pytest.raises(StopAsyncIteration):
            await talk.asend("stop")
        assert context.context_scope() is None
        return said

    assert asyncio.run(main()) == ["heard ''", "heard 'a'", "heard \"error 'b'\"", "heard 'c'"]
    (exp,) = otr.list_experiments(name="conversation")
    assert (exp.state, exp.ledger().stored) == ("stopped", 4)


def test_an_error_thrown_into_a_decorated_async_generator_leaves_it(host: Any) -> None:
    """One that the function does not catch goes to the caller, and the experiment is stopped."""

    @otr.experiment("thrown")
    async def numbers() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    async def main() -> None:
        made = numbers()
        await anext(made)
        await made.athrow(ValueError("mine"))

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(main())
    assert [exp.state for exp in otr.list_experiments(name="thrown")] == ["stopped"]


def test_a_trial_whose_error_cannot_be_told_fails_as_any_other(host: Any) -> None:
    """The program gets its own error back, and the trial's span ends with the error's type."""

    class Untold(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with otr.experiment("untold") as exp:
        with pytest.raises(Untold), exp.trial(item="q"):
            raise Untold
        assert exp.ledger().open == 0
    said = attributes(exp, "trial")
    assert said["experiment.trial.outcome"] == "failed"
    assert said["experiment.trial.failure_reason"].endswith("Untold: (its text cannot be told: RuntimeError)")
    assert said["error.type"].endswith("Untold")
