"""The place of the global provider: free until a span needs it, and given up when the program sets one of its own."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]

PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
import otel_research as otr

theirs = InMemorySpanExporter()
def vendor(**settings):
    provider = TracerProvider(**settings)
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    return provider
def received(): return [span.name for span in theirs.get_finished_spans()]
def stored(exp): return exp.spans().sort("start_ns").collect()["name"].to_list()
"""


def lines(done: CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_provider_that_the_program_sets_later_is_the_one(run_python: Run) -> None:
    """After `configure()` there is still no global provider; a vendor sets its own, and we are on it, unasked for more."""
    done = run_python(
        PROGRAM
        + """
early = trace.get_tracer("before configure")
recorder = otr.configure(store="memory:")
waiting = trace.get_tracer("before the vendor", "1.0")
provider = vendor()
print(isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider))
trace.set_tracer_provider(provider)
with otr.experiment("later") as exp:
    for tracer in (early, waiting, trace.get_tracer("late")):
        tracer.start_span(type(tracer).__name__).end()
print(recorder.provider is provider, recorder.is_own_provider, received() == stored(exp), len(received()))
"""
    )
    assert lines(done) == ["True", "True False True 3"]
    assert "Overriding" not in done.stderr


@pytest.mark.parametrize(
    "need",
    ["trace.get_tracer('probe').start_span('probe').is_recording() or 1/0",
     "trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(theirs))",
     "recorder.provider"],
    ids=["span", "processor", "recorder"],
)  # fmt: skip
def test_who_needs_a_provider_gets_ours(run_python: Run, need: str) -> None:
    """A library that looks whether spans are recorded, or a program that hangs a processor on the provider, finds it."""
    done = run_python(
        f"""{PROGRAM}
recorder = otr.configure(store="memory:")
{need}
print(type(trace.get_tracer_provider()).__name__, recorder.is_own_provider)
with otr.experiment("needed") as exp:
    trace.get_tracer("app").start_span("s").end()
print(stored(exp))
"""
    )
    assert lines(done) == ["TracerProvider True", "['s']"]


def test_ours_gives_way_while_an_experiment_runs(run_python: Run) -> None:
    """A vendor that is set up in the midst of it gets every span from then on, of tracers that were there before too."""
    done = run_python(
        PROGRAM
        + """
early = trace.get_tracer("before configure")
recorder = otr.configure(store="memory:", forward=SimpleSpanProcessor(InMemorySpanExporter()))
exp = otr.start_experiment("midst")
app = trace.get_tracer("app", attributes={"a": 1})
early.start_span("first").end()
with app.start_as_current_span("open"):
    trace.set_tracer_provider(vendor(sampler=ALWAYS_OFF))
    theirs.clear()
    for tracer in (early, app, trace.get_tracer("app")):
        tracer.start_span("unsampled").end()
print(received(), recorder.is_own_provider)
print(stored(otr.stop_experiment(exp)))
recorder.close()
print(app.start_span("after").is_recording())
"""
    )
    assert lines(done) == ["[] False", "['first', 'open', 'unsampled', 'unsampled', 'unsampled']", "False"]
    assert "Overriding" not in done.stderr


def test_ours_stays_where_others_hang_on_it(run_python: Run) -> None:
    """A vendor that has added its exporter to our provider keeps receiving: a second one is refused, as by any provider."""
    done = run_python(
        PROGRAM
        + """
recorder = otr.configure(store="memory:")
with otr.experiment("first come") as exp:
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(theirs))
    trace.set_tracer_provider(TracerProvider())
    trace.get_tracer("app").start_span("s").end()
print(received(), stored(exp))
"""
    )
    assert lines(done) == ["['s'] ['s']"]
    assert "Overriding" in done.stderr


def test_an_experiment_begins_where_the_program_is_by_then(run_python: Run) -> None:
    """MLflow puts its provider in the global place past OpenTelemetry's own way: the next experiment is on it."""
    done = run_python(
        PROGRAM
        + """
recorder = otr.configure(store="memory:")
with otr.experiment("one") as one:
    trace.get_tracer("app").start_span("s").end()
trace._TRACER_PROVIDER = vendor()
with otr.experiment("two") as two:
    trace.get_tracer("app").start_span("t").end()
print(stored(one), stored(two), received())
"""
    )
    assert lines(done) == ["['s'] ['t'] ['t']"]


def test_a_closed_recorder_leaves_the_place_as_it_was(run_python: Run) -> None:
    """Nothing of ours answers for the global provider any more, and the next recorder starts over."""
    done = run_python(
        PROGRAM
        + """
stock = trace.get_tracer_provider()
otr.configure(store="memory:").close()
print(trace.get_tracer_provider() is stock)
waiting = trace.get_tracer("app")
first = otr.configure(store="memory:")
held = trace.get_tracer("app")
first.close()
print(held.start_span("s").is_recording())
with otr.experiment("again", store="memory:") as exp:
    held.start_span("held").end()
second = otr.configure().close()
third = otr.configure(store="memory:")
with otr.experiment("third") as exp:
    provider = vendor()
    trace.set_tracer_provider(provider)
    held.start_span("held").end()
print(third.provider is provider, received(), stored(exp))
"""
    )
    assert lines(done) == ["True", "False", "True ['held'] ['held']"]
