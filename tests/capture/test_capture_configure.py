"""`configure()`: what it builds or extends, what it refuses, and what it leaves behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

import otel_research as otr
from otel_research.capture import attach
from otel_research.capture.attach import processors_of
from otel_research.store.memory import MemoryStore
from otel_research.testing import recording

Run = Callable[..., CompletedProcess[str]]


def ok(run: CompletedProcess[str]) -> list[str]:
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_without_a_provider_one_is_built_and_made_global(run_python: Run) -> None:
    """A program without OpenTelemetry set-up: its tracers, also those taken before, are captured in full."""
    lines = ok(
        run_python("""
from opentelemetry import trace
early = trace.get_tracer("before configure")
import otel_research as otr
recorder = otr.configure(store="memory:")
with otr.experiment("fresh") as exp:
    early.start_span("early").end()
    trace.get_tracer("late").start_span("late", attributes={str(n): n for n in range(500)}).end()
rows = exp.spans().sort("start_ns").collect()
print(rows["name"].to_list(), rows["dropped_attributes"].to_list())
print(type(trace.get_tracer_provider()).__name__, recorder.is_own_provider)
""")
    )
    assert lines == ["['early', 'late'] [0, 0]", "TracerProvider True"]


@pytest.mark.parametrize(
    ("variable", "dropped"),
    [(None, (0, 0)), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", (292, 0)), ("OTEL_ATTRIBUTE_COUNT_LIMIT", (292, 0)),
     ("OTEL_SPAN_EVENT_COUNT_LIMIT", (0, 290))],
)  # fmt: skip
def test_limits_that_the_user_set_stay(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, dropped: tuple[int, int]
) -> None:
    """Where we build the provider there is no limit, except the one a standard variable sets; drops are counted."""
    if variable is not None:
        monkeypatch.setenv(variable, "10")
    provider = TracerProvider(span_limits=attach.unlimited(), shutdown_on_exit=False)
    with recording(provider=provider), otr.experiment("limits") as exp:
        tracer = provider.get_tracer("app")
        with tracer.start_as_current_span("s", attributes={str(n): n for n in range(300)}) as span:
            for n in range(300):
                span.add_event("e", {"n": n})
    row = exp.spans().collect().to_dicts()[0]
    assert (row["dropped_attributes"], row["dropped_events"]) == dropped
    assert row["experiment_id"] == exp.id


def test_a_refused_configure_sets_no_provider(run_python: Run) -> None:
    """A bad argument is found before a provider is built and made global."""
    lines = ok(
        run_python("""
from opentelemetry import trace
import otel_research as otr
for bad in ({"forward": "zipkin"}, {"store": "dsk:x"}, {"fsync": "2s"}):
    try:
        otr.configure(**bad)
    except otr.ConfigurationError:
        print(type(trace.get_tracer_provider()).__name__)
""")
    )
    assert lines == ["ProxyTracerProvider"] * 3


def test_the_global_sdk_provider_is_extended(run_python: Run) -> None:
    """A provider that the program has set is used as it is: its processors stay, in their order."""
    lines = ok(
        run_python("""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import otel_research as otr
provider = TracerProvider()
first = SimpleSpanProcessor(InMemorySpanExporter())
provider.add_span_processor(first)
trace.set_tracer_provider(provider)
recorder = otr.configure(store="memory:")
print(recorder.provider is provider, recorder.is_own_provider, provider._active_span_processor._span_processors[0] is first)
""")
    )
    assert lines == ["True False True"]


class Proxy:
    """What Logfire makes global: a provider that only holds the real one."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider


def test_a_proxy_around_an_sdk_provider_is_unwrapped() -> None:
    """Logfire's and Phoenix's providers are extended where the spans are made."""
    inner = TracerProvider(shutdown_on_exit=False)
    with recording(provider=Proxy(Proxy(inner))) as (recorder, _):  # type: ignore[arg-type]
        assert recorder.provider is inner


class Replacing(TracerProvider):
    """As Phoenix's: a processor that is added takes the place of the one that it was set up with."""

    def add_span_processor(self, span_processor: SpanProcessor, replaces: bool = True) -> None:
        if replaces:
            self._active_span_processor._span_processors = ()
        super().add_span_processor(span_processor)


def test_a_provider_that_replaces_its_exporter_keeps_it() -> None:
    """Phoenix's own exporter goes on receiving, also beside a `forward=` of ours."""
    theirs, ours = InMemorySpanExporter(), InMemorySpanExporter()
    provider = Replacing(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(theirs), replaces=False)
    with recording(provider=provider, forward=SimpleSpanProcessor(ours)), otr.experiment("beside") as exp:
        provider.get_tracer("app").start_span("s").end()
    assert [len(exp.spans().collect()), len(theirs.get_finished_spans()), len(ours.get_finished_spans())] == [1, 1, 1]


def test_configure_again_with_the_same_arguments_is_a_no_op(tmp_path: Path) -> None:
    """The same call gives the same recorder and hangs nothing on the provider a second time."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    arguments: dict[str, Any] = {"store": f"disk:{tmp_path}", "provider": provider, "forward": [exporter]}
    recorder = otr.configure(**arguments)
    hanging = processors_of(provider)
    assert otr.configure(**arguments) is recorder
    assert otr.configure(**{**arguments, "store": f"disk:{tmp_path}/../{tmp_path.name}"}) is recorder
    assert processors_of(provider) == hanging
    recorder.close()


@pytest.mark.parametrize(
    "other",
    [{"store": "memory:"}, {"fsync": "never"}, {"starts": False}, {"content": "drop"}, {"overload": "refuse"},
     {"forward_all": True}, {"forward": InMemorySpanExporter()}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_configure_again_with_others_is_an_error_until_closed(tmp_path: Path, other: dict[str, Any]) -> None:
    """A contradiction is refused with what to do, the running recorder stays; after `close()` it is welcome."""
    provider = TracerProvider(shutdown_on_exit=False)
    arguments: dict[str, Any] = {"store": f"disk:{tmp_path}", "provider": provider}
    recorder = otr.configure(**arguments)
    with pytest.raises(otr.ConfigurationError, match=r"configured already.*close\(\)"):
        otr.configure(**{**arguments, **other})
    assert otr.configure(**arguments) is recorder
    recorder.close()
    again = otr.configure(**{**arguments, **other})
    assert again is not recorder
    again.close()


def test_close_is_idempotent_and_lets_the_host_go(host: Any) -> None:
    """After `close()` the host's sampler is back, spans pass unseen, and closing again does nothing."""
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    host.recorder.close()
    recorder = otr.configure(store="memory:", provider=provider)
    assert isinstance(provider.sampler, otr.ExperimentSampler)
    recorder.close()
    recorder.close()
    assert provider.sampler is ALWAYS_OFF
    provider.get_tracer("app").start_span("s").end()
    assert recorder.ledger().outside == 0
    assert recorder.is_closed


def test_close_stops_what_still_runs() -> None:
    """An experiment that nobody stopped is stopped, sealed and complete."""
    with recording() as (recorder, provider):
        exp = otr.start_experiment("forgotten")
        provider.get_tracer("app").start_span("s").end()
        recorder.close()
    assert (exp.state, exp.ended_by) == ("stopped", "user")
    assert exp.spans().collect().height == 1
    assert exp.content_hash is not None


def test_the_end_of_the_program_stops_what_still_runs(run_python: Run, tmp_path: Path) -> None:
    """A script that ends without a word leaves a stopped, sealed experiment."""
    ok(
        run_python("""
from opentelemetry import trace
import otel_research as otr
otr.start_experiment("script")
trace.get_tracer("t").start_span("s").end()
""")
    )
    with recording(f"disk:{tmp_path}/.otel_research"):
        (exp,) = otr.list_experiments()
        assert (exp.name, exp.state, exp.ended_by) == ("script", "stopped", "user")
        assert exp.spans().collect()["name"].to_list() == ["s"]


def test_start_experiment_alone_configures_defaults(run_python: Run, tmp_path: Path) -> None:
    """Without `configure()` the store is `.otel_research` in the folder the program started in."""
    ok(
        run_python("""
import os, otel_research as otr
with otr.experiment("default"):
    os.makedirs("elsewhere"); os.chdir("elsewhere")
    otr.record("r", {"x": 1})
""")
    )
    assert len(list((tmp_path / ".otel_research").glob("*/experiment.json"))) == 1
    assert not (tmp_path / "elsewhere" / ".otel_research").exists()


def test_the_environment_gives_what_code_leaves_out(run_python: Run, tmp_path: Path) -> None:
    """`OTEL_RESEARCH_*` fills in; what code passes explicitly wins; an empty variable says nothing."""
    code = """
import sys, otel_research as otr
recorder = otr.configure(**eval(sys.argv[1]))
s = recorder.settings
print(recorder.library.url, s.fsync, s.overload, s.starts, s.content, sep=" ")
"""
    said = {
        "OTEL_RESEARCH_STORE": "memory:",
        "OTEL_RESEARCH_FSYNC": "never",
        "OTEL_RESEARCH_OVERLOAD": "refuse",
        "OTEL_RESEARCH_STARTS": "false",
        "OTEL_RESEARCH_CONTENT": "hash",
    }
    assert ok(run_python(code, "{}", **said)) == ["memory: never refuse False hash"]
    explicit = "dict(store='disk:here', fsync='span', overload='raise', starts=True, content='full')"
    assert ok(run_python(code, explicit, **said)) == [f"disk:{tmp_path}/here span raise True full"]
    default = [f"disk:{tmp_path}/.otel_research 1s block True full"]
    assert ok(run_python(code, "{}", **dict.fromkeys(said, ""))) == ok(run_python(code, "{}")) == default


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("STORE", "postgres", "postgres"),
        ("FSYNC", "2s", "2s"),
        ("OVERLOAD", "drop", "drop"),
        ("CONTENT", "none", "none"),
    ],
)
def test_a_wrong_variable_is_named(run_python: Run, variable: str, value: str, named: str) -> None:
    """A bad setting from the environment is a ConfigurationError that shows the value."""
    run = run_python("import otel_research as otr; otr.configure()", **{f"OTEL_RESEARCH_{variable}": value})
    assert run.returncode == 1
    assert "ConfigurationError" in run.stderr
    assert named in run.stderr.splitlines()[-1]


def test_a_disabled_sdk_is_said_and_harms_nothing(run_python: Run) -> None:
    """OTEL_SDK_DISABLED: the program runs on, nothing is captured, and a warning says why."""
    run = run_python(
        """
import otel_research as otr
from opentelemetry import trace
recorder = otr.configure(store="memory:")
with otr.experiment("disabled") as exp:
    with exp.arm("a"), exp.trial(item="q") as trial:
        trial.score("accuracy", 1.0)
        trial.fail("no reason")
    with trace.get_tracer("t").start_as_current_span("s"):
        otr.record("r", {"x": 1})
print(exp.spans().collect().height, exp.state, trial.id, recorder.ledger().is_balanced)
""",
        OTEL_SDK_DISABLED="true",
    )
    assert ok(run) == ["0 stopped None True"]
    assert "OTEL_SDK_DISABLED" in run.stderr


class Closing(InMemorySpanExporter):
    """Notes whether it was shut down."""

    def __init__(self) -> None:
        super().__init__()
        self.shutdowns = 0

    def shutdown(self) -> None:
        self.shutdowns += 1


def test_forward_sends_a_copy_to_exporters_and_processors() -> None:
    """An exporter, a processor and a list of both get what the host's sampler sampled."""
    exporter, behind = Closing(), Closing()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    with recording(provider=provider, forward=[exporter, SimpleSpanProcessor(behind)]), otr.experiment("forwarded"):
        provider.get_tracer("app").start_span("s").end()
        provider.force_flush()
        assert [span.name for span in exporter.get_finished_spans()] == ["s"]
        assert [span.name for span in behind.get_finished_spans()] == ["s"]


def test_forwarding_follows_the_sampling_decision() -> None:
    """What the provider does not sample is not forwarded either, not even to a processor that ignores the flag."""

    class Careless(SpanProcessor):
        seen = 0

        def on_end(self, span: ReadableSpan) -> None:
            self.seen += 1

    exporter, careless = Closing(), Careless()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    with recording(provider=provider, forward=[exporter, careless]), otr.experiment("unsampled") as exp:
        provider.get_tracer("app").start_span("s").end()
    assert exporter.get_finished_spans() == ()
    assert careless.seen == 0
    assert exp.spans().collect().height == 1


def test_a_new_recorder_forwards_once() -> None:
    """Closing ends the forwarding: a second recorder on the provider does not send everything twice."""
    exporter = Closing()
    provider = TracerProvider(shutdown_on_exit=False)
    for _ in range(3):
        with recording(provider=provider, forward=exporter), otr.experiment("again"):
            provider.get_tracer("app").start_span("s").end()
    provider.get_tracer("app").start_span("after").end()
    provider.force_flush()
    assert [span.name for span in exporter.get_finished_spans()] == ["s", "s", "s"]
    assert exporter.shutdowns == 0


def test_what_is_queued_for_forwarding_is_sent_before_close_returns() -> None:
    """The batch that waits is not dropped, and the batch's thread is gone."""
    exporter = Closing()
    provider = TracerProvider(shutdown_on_exit=False)
    before = threading.active_count()
    with recording(provider=provider, forward=exporter), otr.experiment("queued"):
        for _ in range(100):
            provider.get_tracer("app").start_span("s").end()
    assert len(exporter.get_finished_spans()) == 100
    assert threading.active_count() <= before + 1  # our own thread may still be ending


def test_the_end_of_the_provider_ends_what_is_forwarded_to() -> None:
    """`provider.shutdown()` reaches a forwarded exporter, as it reaches the host's own."""
    exporter = Closing()
    provider = TracerProvider(shutdown_on_exit=False)
    with recording(provider=provider, forward=exporter):
        provider.shutdown()
        assert exporter.shutdowns == 1


class Failing(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise ConnectionError("backend down")


def test_a_backend_that_is_down_costs_nothing_here(caplog: pytest.LogCaptureFixture) -> None:
    """The forwarded copy fails; every span is captured and `flush()` says so."""
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")
    with (
        recording(forward=Failing()) as (recorder, provider),
        otr.experiment("down") as exp,
    ):
        for _ in range(10):
            provider.get_tracer("app").start_span("s").end()
        assert recorder.flush() == (10, 0, 0)
    assert exp.spans().collect().height == 10


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_forward_otlp_follows_the_standard_variables(run_python: Run, protocol: str) -> None:
    """`forward="otlp"` uses the exporter, endpoint and headers that OTEL_EXPORTER_OTLP_* name."""
    lines = ok(
        run_python(
            """
from opentelemetry.sdk.trace import TracerProvider
import otel_research as otr
from otel_research.capture import forward
(processor,) = forward.processors("otlp")
exporter = processor.span_exporter
print(type(exporter).__module__, getattr(exporter, "_endpoint"))
processor.shutdown()
""",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        )
    )
    assert protocol.split("/")[0] in lines[0]
    assert "127.0.0.1:9" in lines[0]


def test_flush_and_ledger_tell_the_truth(host: Any) -> None:
    """Kept, lost and pending are counts of spans; the ledger balances while spans are still open."""
    with otr.experiment("counted") as exp:
        for _ in range(5):
            host.call()
        with host.tracer.start_as_current_span("open"):
            told = host.recorder.ledger()
            assert (told.started, told.ended, told.open, told.stored) == (6, 5, 1, 5)
            assert told.is_balanced
            assert host.recorder.flush() == otr.Flushed(kept=5, lost=0, pending=0)
            assert exp.ledger().open == 1
    assert host.recorder.flush() == otr.Flushed(kept=6, lost=0, pending=0)
    assert exp.ledger().is_balanced
    assert exp.ledger().stored == 6


def test_a_store_object_is_used_as_it_is() -> None:
    """A `Store` of the caller's is the one that receives the spans."""
    store = MemoryStore()
    with recording(store) as (_, provider), otr.experiment("object"):
        provider.get_tracer("app").start_span("s").end()
    assert store.scan().collect()["name"].to_list() == ["s"]


def test_an_experiment_may_have_a_store_of_its_own(tmp_path: Path, host: Any) -> None:
    """`start_experiment(store=...)` goes elsewhere than the recorder's, and is found from here."""
    with otr.experiment("elsewhere", store=f"disk:{tmp_path}") as exp:
        host.call()
    assert exp.spans().collect().height == 1
    assert [found.id for found in otr.list_experiments(name="elsewhere")] == [exp.id]
    assert (tmp_path / exp.id / "experiment.json").exists()


def test_the_host_may_wrap_our_sampler_meanwhile() -> None:
    """A sampler that the host puts around ours stays when the recorder closes."""
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    with recording(provider=provider):
        theirs = otr.ExperimentSampler(provider.sampler)
        provider.sampler = theirs
    assert provider.sampler is theirs
    provider.get_tracer("app").start_span("still works").end()


def test_a_batch_processor_of_the_users_is_flushed_not_ended() -> None:
    """A processor that the user passes is theirs: closing sends what it holds and leaves it open."""
    exporter = Closing()
    theirs = BatchSpanProcessor(exporter)
    provider = TracerProvider(shutdown_on_exit=False)
    with recording(provider=provider, forward=theirs), otr.experiment("lent"):
        provider.get_tracer("app").start_span("s").end()
    assert len(exporter.get_finished_spans()) == 1
    assert exporter.shutdowns == 0
    theirs.shutdown()
    assert exporter.shutdowns == 1
