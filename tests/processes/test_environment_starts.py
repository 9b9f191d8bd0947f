"""What the environment says before the program says anything."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

import otel_research as otr
from otel_research.processes.carrier import Carried
from otel_research.processes.starting import start_quietly
from otel_research.testing import recording

Run = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]
Stored = Callable[[str], otr.Experiment]


def rows(exp: otr.Experiment, *columns: str) -> list[tuple[Any, ...]]:
    return exp.spans().sort("start_ns").select(*columns).collect().rows()


def test_a_name_starts_an_experiment_for_the_whole_process(run: Run, stored: Stored) -> None:
    """With condition, tags and session; every span of the process is in it and says so; the exit stops it."""
    run(
        """
        otr.configure()
        call()
        import threading
        thread = threading.Thread(target=call); thread.start(); thread.join()
        """,
        OTEL_RESEARCH_EXPERIMENT="nightly",
        OTEL_RESEARCH_CONDITION="b",
        OTEL_RESEARCH_TAGS="team:search, dataset:mmlu",
        OTEL_RESEARCH_SESSION="s1",
    )
    exp = stored("nightly")
    assert (exp.state, exp.ended_by, exp.condition, exp.session_id) == ("stopped", "user", "b", "s1")
    assert exp.tags == ("team:search", "dataset:mmlu")
    assert rows(exp, "condition", "session_id", "experiment_source") == [("b", "s1", "environment")] * 2
    assert '"experiment.tags":["team:search","dataset:mmlu"]' in rows(exp, "attributes")[0][0]


def test_the_programs_own_experiments_nest(run: Run, stored: Stored) -> None:
    """While one runs spans are its own, before and after the environment's; it says inside which it ran."""
    run(
        """
        otr.configure()
        call("before")
        own = otr.start_experiment("own", condition="mine")
        call("inside")
        try:
            otr.start_experiment("second")
        except otr.ExperimentRunning as error:
            print(error)
        with otr.experiment("scoped"):
            call("scoped")
        otr.stop_experiment(own)
        call("after")
        """,
        OTEL_RESEARCH_EXPERIMENT="around",
        OTEL_RESEARCH_CONDITION="told",
    )
    around, own, scoped = stored("around"), stored("own"), stored("scoped")
    assert rows(around, "name", "experiment_source") == [("before", "environment"), ("after", "environment")]
    assert rows(own, "name", "experiment_source", "condition") == [("inside", "process", "mine")]
    assert rows(scoped, "name", "experiment_source", "condition") == [("scoped", "context", "told")]
    assert own.environment["inside"] == around.id
    assert "inside" not in around.environment


def test_an_own_experiment_without_configure(run: Run, stored: Stored) -> None:
    """The first call that sets up recording starts the environment's experiment too, and nests in it."""
    run('with otr.experiment("own"): call()\ncall("after")', OTEL_RESEARCH_EXPERIMENT="around")
    assert rows(stored("own"), "name") == [("chat",)]
    assert rows(stored("around"), "name") == [("after",)]


def test_what_code_passes_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Condition, tags, session and store from the environment are for what code leaves out."""
    for name, value in {"CONDITION": "env", "TAGS": "env", "SESSION": "env", "STORE": "disk:/nowhere"}.items():
        monkeypatch.setenv(f"OTEL_RESEARCH_{name}", value)
    with recording("memory:"):
        with otr.experiment("said", condition="code", tags=["code"], session_id="code") as said:
            pass
        with otr.experiment("left out") as left_out:
            pass
    assert (said.condition, said.tags, said.session_id) == ("code", ("code",), "code")
    assert (left_out.condition, left_out.tags, left_out.session_id) == ("env", ("env",), "env")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EXPERIMENT", "a/b"),
        ("EXPERIMENT_ID", "../../etc"),
        ("DISABLED", "perhaps"),
        ("STARTS", "2"),
        ("FACTORS", "size=7"),
        ("FACTORS", '{"size": [1]}'),
        ("REPETITION", "-1"),
    ],
)
def test_a_wrong_value_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and the value; nothing is set up, so a right value works right away."""
    monkeypatch.setenv(f"OTEL_RESEARCH_{variable}", value)
    with pytest.raises(otr.ConfigurationError) as told, recording("memory:"):
        pass
    assert f"OTEL_RESEARCH_{variable}={value!r}" in str(told.value)
    monkeypatch.delenv(f"OTEL_RESEARCH_{variable}")
    with recording("memory:"):
        pass


def test_a_hook_swallows_and_reports(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The function for zero-code hooks never raises: the program runs on, and the log says why unrecorded."""
    monkeypatch.setenv("OTEL_RESEARCH_EXPERIMENT_ID", "f" * 32)
    assert start_quietly(store="memory:") is None
    assert "no experiment ffff" in caplog.text
    assert "nothing is recorded" in caplog.text
    monkeypatch.delenv("OTEL_RESEARCH_EXPERIMENT_ID")
    made = start_quietly(store="memory:")
    assert made is not None
    made.close()


def test_empty_means_unset() -> None:
    """A variable that is there and empty says nothing."""
    assert Carried.read({"OTEL_RESEARCH_EXPERIMENT": "", "OTEL_RESEARCH_REPETITION": "  "}) == Carried()


def test_disabled_records_nothing_and_breaks_nothing(start: Start, store: str) -> None:
    """The same program runs: no file, no span touched, one line that says so; its numbers are None, not 0."""
    process = start(
        """
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        host = InMemorySpanExporter()
        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(host))
        before = trace.get_tracer_provider().sampler
        otr.configure()
        wide = otr.start_experiment("wide")
        call()
        otr.stop_experiment(wide)
        with otr.experiment("off") as exp:
            with exp.arm("a"), exp.trial(item="q") as trial:
                call()
                trial.score("accuracy", 1.0)
                otr.record("r", {"x": 1})
            work = otr.carry(call)
            work()
        assert trace.get_tracer_provider().sampler is before
        assert exp.spans().collect().height == 0 and exp.state == "stopped"
        assert otr.get_experiment(exp.id) is not None
        m = exp.metrics()
        assert m.latency.p50 is None and m.cost.total_usd is None
        assert len(host.get_finished_spans()) == 3
        assert not any(key.startswith("experiment.") for span in host.get_finished_spans() for key in span.attributes)
        assert otr.child_env() == {} if otr.current_experiment() else True
        otr.configure().close()
        otr.configure()
        """,
        OTEL_RESEARCH_DISABLED="1",
        OTEL_RESEARCH_EXPERIMENT="told",
        PYTHONWARNINGS="error",
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.count("OTEL_RESEARCH_DISABLED is set") == 1
    from pathlib import Path

    assert not Path(store.removeprefix("disk:")).exists()
