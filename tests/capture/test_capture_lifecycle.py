"""The life of an experiment: declared, started, found again, stopped, resumed, crashed, cleaned up."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import otel_research as otr
from otel_research.testing import SequentialIds, recording

Run = Callable[..., subprocess.CompletedProcess[str]]

DECLARED: dict[str, Any] = {
    "hypothesis": "chain of thought is more accurate",
    "condition": "baseline",
    "tags": ["dataset:mmlu:physics", "pilot"],
    "sample_size": 50,
    "metadata": {"lr": 0.1, "nested": {"a": [1, None, "x"]}},
    "primary": ["accuracy", "latency"],
    "direction": {"accuracy": "higher", "latency": "lower"},
    "margin": {"latency": 5.0},
    "metrics": {"cost": False, "custom": ["accuracy"]},
    "study": "study-1",
    "factors": {"prompt": "cot", "shots": 3},
    "seed": 42,
    "session_id": "s1",
}


def ids(found: list[otr.Experiment]) -> list[str]:
    return [exp.name for exp in found]


# -- what is declared, and where it is found again ------------------------------------


def test_everything_declared_is_kept(disk_host: Any, run_python: Run) -> None:
    """Each declaration is an attribute of the experiment here, after stopping, and in a new process."""
    before = datetime.now(UTC)
    exp = otr.start_experiment("declared", **DECLARED)
    host_call(disk_host)
    otr.stop_experiment(exp.id)
    root = disk_host.recorder.library.store.root

    def check(found: otr.Experiment) -> None:
        for name, value in DECLARED.items():
            kept = found.record.metrics if name == "metrics" else getattr(found, name)
            assert (list(kept) if isinstance(value, list) else kept) == value, name
        assert (found.name, found.state, found.ended_by) == ("declared", "stopped", "user")
        assert found.started_at <= (found.stopped_at or before)

    check(exp)
    assert before <= exp.started_at <= datetime.now(UTC)
    disk_host.recorder.close()
    with recording(f"disk:{root}"):
        check(otr.get_experiment(exp.id))
    run = run_python(
        """
import json, sys
import otel_research as otr
exp = otr.get_experiment(sys.argv[1])
print(json.dumps([exp.hypothesis, exp.state, exp.spans().collect().height, exp.content_hash, exp.ledger().stored]))
""",
        exp.id,
        OTEL_RESEARCH_STORE=f"disk:{root}",
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [DECLARED["hypothesis"], "stopped", 1, exp.content_hash, 1]


def host_call(host: Any) -> None:
    host.tracer.start_span("chat").end()


def test_one_direction_and_margin_for_all_primary_outcomes(host: Any) -> None:
    """A single value stands for every primary outcome."""
    with otr.experiment("single", primary="accuracy", direction="higher", margin=0.02) as exp:
        pass
    assert (exp.primary, exp.direction, exp.margin) == (("accuracy",), {"accuracy": "higher"}, {"accuracy": 0.02})


def test_a_running_experiment_is_seen_from_another_process(disk_host: Any, run_python: Run) -> None:
    """A reader sees the running experiment, and spans that have ended, without disturbing the writer."""
    with otr.experiment("live") as exp:
        host_call(disk_host)
        run = run_python(
            "import sys, otel_research as otr\n"
            "exp = otr.get_experiment(sys.argv[1])\n"
            "print(exp.state, exp.is_recording, exp.spans().collect().height)",
            exp.id,
            OTEL_RESEARCH_STORE=f"disk:{disk_host.recorder.library.store.root}",
        )
        host_call(disk_host)
    assert run.stdout.split() == ["running", "False", "1"], run.stderr
    assert exp.spans().collect().height == 2


def test_list_and_its_filters(disk_host: Any) -> None:
    """State, name, study and tags select; everything given must match; the oldest comes first."""
    for name, tags, study in (
        ("a", ["dataset:mmlu", "pilot"], "one"),
        ("b", ["dataset:mmlu:physics"], "one"),
        ("c", ["dataset:gsm8k", "data"], "two"),
        ("a", [], None),
    ):
        with otr.experiment(name, tags=tags, study=study):
            pass
    with otr.experiment("running", tags=["dataset"]):
        assert ids(otr.list_experiments()) == ["a", "b", "c", "a", "running"]
        assert ids(otr.list_experiments(state="running")) == ["running"]
        assert ids(otr.list_experiments(state="stopped", name="a")) == ["a", "a"]
        assert ids(otr.list_experiments(tag="dataset")) == ["a", "b", "c", "running"]
        assert ids(otr.list_experiments(tag="dataset:mmlu")) == ["a", "b"]
        assert ids(otr.list_experiments(tag="dataset:mmlu:physics")) == ["b"]
        assert ids(otr.list_experiments(tag="dat")) == []
        assert ids(otr.list_experiments(tag="mmlu")) == []
        assert ids(otr.list_experiments(study="one", tag="pilot")) == ["a"]
        assert ids(otr.list_experiments(study="none")) == []


def test_get_gives_the_running_handle_itself(host: Any) -> None:
    """In its own process a running experiment is one object, whoever asks."""
    with otr.experiment("handle") as exp:
        assert otr.get_experiment(exp.id) is exp
        assert otr.list_experiments() == [exp]
        assert otr.current_experiment() is exp


def test_the_record_is_readable_without_us(disk_host: Any) -> None:
    """`experiment.json` is plain JSON with the declared names."""
    with otr.experiment("plain", **DECLARED) as exp:
        pass
    kept = json.loads((disk_host.recorder.library.store.root / exp.id / "experiment.json").read_text())
    assert {name: kept[name] for name in DECLARED} == DECLARED
    assert kept["state"] == "stopped"


def test_ids_are_hex_text_and_not_reused(host: Any) -> None:
    """Two experiments of one name are two experiments."""
    with otr.experiment("same") as first:
        pass
    with otr.experiment("same") as second:
        pass
    assert first.id != second.id
    assert all(len(exp.id) == 32 and int(exp.id, 16) >= 0 for exp in (first, second))


# -- stopping -------------------------------------------------------------------------


def test_stop_returns_the_experiment_sealed(disk_host: Any) -> None:
    """By id or handle; afterwards the spans are Parquet and no journal is left."""
    exp = otr.start_experiment("stop")
    for _ in range(10):
        host_call(disk_host)
    assert otr.stop_experiment(exp.id) is exp
    folder = disk_host.recorder.library.store.root / exp.id
    assert list((folder / "journal").glob("*.wal")) == []
    assert len(list((folder / "parquet").glob("*.parquet"))) == 1
    assert exp.spans().collect().height == 10
    assert not exp.is_recording


def test_stop_waits_for_spans_that_are_open(host: Any) -> None:
    """A span that another thread ends within the wait is kept."""
    exp = otr.start_experiment("waits")
    span = host.tracer.start_span("slow")
    timer = threading.Timer(0.05, span.end)
    timer.start()
    otr.stop_experiment(exp, timeout=10)
    timer.join()
    assert exp.spans().select("name", "status").collect().rows() == [("slow", "unset")]
    assert (exp.ledger().late, exp.ledger().interrupted) == (0, 0)


def test_a_span_that_starts_after_the_stop_has_begun_is_outside(host: Any) -> None:
    """While the stop waits, nothing new gets in."""
    exp = otr.start_experiment("closing")
    span = host.tracer.start_span("slow")
    stopper = threading.Thread(target=otr.stop_experiment, args=(exp,))
    stopper.start()
    deadline = time.monotonic() + 5
    while otr.current_experiment() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    host.tracer.start_span("new").end()
    span.end()
    stopper.join()
    assert exp.spans().collect()["name"].to_list() == ["slow"]
    assert host.recorder.ledger().outside == 1


def test_a_span_that_ends_too_late_is_quarantined_and_counted(disk_host: Any, caplog: pytest.LogCaptureFixture) -> None:
    """After the wait the experiment is complete: a late end is kept aside, counted, and said once."""
    exp = otr.start_experiment("late")
    host_call(disk_host)
    spans = [disk_host.tracer.start_span("late") for _ in range(3)]
    otr.stop_experiment(exp, timeout=0)
    sealed = exp.content_hash
    with caplog.at_level(logging.WARNING, logger="otel_research"):
        for span in spans:
            span.end()
    assert disk_host.recorder.ledger().late == 3
    assert len([record for record in caplog.records if "quarantined" in record.message]) == 1
    rows = exp.spans().collect()
    assert sorted(rows["status"]) == ["interrupted"] * 3 + ["unset"]
    assert otr.get_experiment(exp.id).content_hash == sealed
    late = disk_host.recorder.library.store.root / exp.id / "late"
    assert len(list(late.glob("*.wal"))) == 1
    assert disk_host.recorder.ledger().is_balanced


def test_the_stored_ledger_survives(disk_host: Any) -> None:
    """What became of every span is kept with the experiment."""
    with otr.experiment("ledger", event_filter=lambda span: span.name != "noise") as exp:
        for name in ("a", "noise", "b", "noise"):
            disk_host.tracer.start_span(name).end()
    root = disk_host.recorder.library.store.root
    disk_host.recorder.close()
    with recording(f"disk:{root}"):
        found = otr.get_experiment(exp.id)
        told = found.ledger()
        assert (told.started, told.ended, told.stored, told.filtered) == (4, 4, 2, 2)
        assert told.is_balanced
        assert found.record.ledger["filtered"] == 2


# -- crashes and resuming -------------------------------------------------------------

CRASHING = """
import os, sys, time
from opentelemetry import trace
import otel_research as otr
exp = otr.start_experiment("crashing", hypothesis="survives", sample_size=9)
tracer = trace.get_tracer("t")
for n in range(20):
    tracer.start_span(f"span {n}").end()
tracer.start_span("open")
print(exp.id, flush=True)
time.sleep(60)
"""


def crashed(folder: Path) -> str:
    """Run an experiment in a process and kill it; the experiment's id."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    kept |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OTEL_RESEARCH_STORE": f"disk:{folder}"}
    process = subprocess.Popen([sys.executable, "-c", CRASHING], stdout=subprocess.PIPE, text=True, env=kept)
    assert process.stdout is not None
    experiment_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return experiment_id


def test_a_killed_process_loses_nothing_and_its_experiment_is_marked(tmp_path: Path) -> None:
    """kill -9: every span that ended is there, the open one is interrupted, the experiment ended by crash; then resumed."""
    experiment_id = crashed(tmp_path)
    with recording(f"disk:{tmp_path}") as (_, provider):
        (exp,) = otr.list_experiments()
        assert exp.id == experiment_id
        assert (exp.state, exp.ended_by) == ("stopped", "crash")
        assert exp.stopped_at is not None
        rows = exp.spans().collect()
        assert sorted(rows.filter(rows["status"] == "unset")["name"]) == sorted(f"span {n}" for n in range(20))
        assert rows.filter(rows["status"] == "interrupted")["name"].to_list() == ["open"]
        assert (exp.ledger().stored, exp.ledger().interrupted, exp.ledger().lost_total) == (20, 1, 0)
        assert exp.ledger().is_balanced

        with otr.experiment("crashing", resume=True) as again:
            provider.get_tracer("t").start_span("after").end()
        assert (again.id, again.hypothesis, again.sample_size) == (exp.id, "survives", 9)
        assert (again.state, again.ended_by) == ("stopped", "user")
        assert again.spans().collect().height == 22
        assert len(again.environment["earlier"]) == 1
        assert again.environment["earlier"][0]["pid"] != os.getpid()
        assert again.ledger().is_balanced


def test_resume_goes_on_with_the_latest_of_the_name(disk_host: Any) -> None:
    """Same id, same declarations; a new label, tag or metadata is added; without an earlier one it just starts."""
    with otr.experiment(
        "resumable", resume=True, hypothesis="h", tags=["a"], metadata={"x": 1}, condition="one"
    ) as first:
        host_call(disk_host)
    sealed = first.content_hash
    with otr.experiment("resumable", resume=True, tags=["b"], metadata={"y": 2}, condition="two") as second:
        assert otr.get_experiment(first.id).state == "running"
        host_call(disk_host)
    assert second.id == first.id
    assert (second.hypothesis, second.tags, second.metadata) == ("h", ("a", "b"), {"x": 1, "y": 2})
    assert second.spans().sort("start_ns").collect()["condition"].to_list() == ["one", "two"]
    assert second.content_hash not in (None, sealed)
    with otr.experiment("resumable") as fresh:
        pass
    assert fresh.id != first.id
    with otr.experiment("resumable", resume=True) as latest:
        pass
    assert latest.id == fresh.id


def test_resume_cannot_change_what_was_declared(host: Any) -> None:
    """A hypothesis or sample size that was declared before the data came stays; the message names it."""
    with otr.experiment("declared", hypothesis="h", sample_size=10):
        pass
    with pytest.raises(otr.ConfigurationError, match=r"sample_size=10.*sample_size=20"):
        otr.start_experiment("declared", resume=True, sample_size=20)
    with otr.experiment("declared", resume=True, hypothesis="h") as exp:
        assert exp.sample_size == 10


def test_resume_of_one_that_runs_is_refused(host: Any) -> None:
    """Two recordings of one experiment in a process would count twice."""
    with otr.experiment("running") as exp:
        with pytest.raises(otr.ExperimentRunning, match=rf"{exp.id}.*this process"):
            otr.start_experiment("running", resume=True)
        host_call(host)
    assert exp.spans().collect().height == 1


# -- cleaning up, hashing -------------------------------------------------------------


def test_cleanup_hides_or_deletes(disk_host: Any) -> None:
    """keep_data=True only hides; False deletes rows and record, and needs force without an archive."""
    with otr.experiment("hidden") as hidden:
        host_call(disk_host)
    hidden.cleanup(keep_data=True)
    assert otr.list_experiments() == []
    assert ids(otr.list_experiments(include_hidden=True)) == ["hidden"]
    assert otr.get_experiment(hidden.id).spans().collect().height == 1

    with otr.experiment("deleted") as deleted:
        host_call(disk_host)
    with pytest.raises(otr.ExperimentError, match="force=True"):
        deleted.cleanup(keep_data=False)
    assert deleted.spans().collect().height == 1
    deleted.cleanup(keep_data=False, force=True)
    with pytest.raises(otr.UnknownExperiment):
        otr.get_experiment(deleted.id)
    with pytest.raises(otr.UnknownExperiment, match="deleted"):
        deleted.spans()
    assert not (disk_host.recorder.library.store.root / deleted.id).exists()
    assert otr.get_experiment(hidden.id).spans().collect().height == 1


def test_cleanup_has_to_be_asked_for_exactly(host: Any) -> None:
    """keep_data is required; a running experiment is refused."""
    with otr.experiment("careful") as exp:
        with pytest.raises(TypeError):
            exp.cleanup()  # type: ignore[call-arg]
        with pytest.raises(otr.ExperimentRunning):
            exp.cleanup(keep_data=False, force=True)
        with pytest.raises(otr.ConfigurationError):
            exp.cleanup(keep_data="no")  # type: ignore[arg-type]


def hash_of(store: str, *, second_name: str = "b", reverse: bool = False) -> str:
    """The content hash of an experiment with the same ids and times in every run."""
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(id_generator=SequentialIds(), shutdown_on_exit=False)
    with recording(store, provider=provider), otr.experiment("hash") as exp:
        tracer = provider.get_tracer("t")
        made = [
            tracer.start_span(name, start_time=1000 + number, attributes={"n": number})
            for number, name in enumerate(("a", second_name, "c"))
        ]
        for number, span in sorted(enumerate(made), reverse=reverse):
            span.end(end_time=2000 + number)
    assert exp.content_hash is not None
    return exp.content_hash


def test_equal_data_have_an_equal_hash(tmp_path: Path) -> None:
    """Whatever the store, the experiment's id or the order in which spans ended."""
    reference = hash_of("memory:")
    assert hash_of(f"disk:{tmp_path}") == reference
    assert hash_of("memory:", reverse=True) == reference
    assert hash_of("memory:", second_name="other") != reference


def test_an_experiment_without_spans_is_complete(disk_host: Any) -> None:
    """Nothing captured is a valid, empty experiment with all columns."""
    with otr.experiment("empty") as exp:
        pass
    rows = exp.spans().collect()
    assert rows.height == 0
    assert {"experiment_id", "latency_ms", "is_call", "cost_usd"} - set(rows.columns) == {"latency_ms"}
    assert exp.content_hash is not None
    ledger = exp.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (0, 0, True)


def test_what_fails_in_the_background_for_one_experiment_is_done_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Counts of the second are kept beside its frames although those of the first cannot be; the error is said once."""
    caplog.set_level("WARNING", logger="otel_research")
    with recording(f"disk:{tmp_path}", fsync="0.1s") as (recorder, _):
        with otr.experiment("broken") as broken, otr.experiment("sound") as sound:
            kept = recorder.library.journal.put_ledger

            def refuse(experiment_id: str, *rest: Any) -> None:
                if experiment_id == broken.id:
                    raise OSError("quota")
                kept(experiment_id, *rest)

            monkeypatch.setattr(recorder.library.journal, "put_ledger", refuse)
            for exp in (broken, sound):
                assert exp._capture is not None
                exp._capture.tally.add("error:made")
            deadline = time.monotonic() + 20
            while recorder.tally["error:background"] < 3 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert [path.parents[1].name for path in tmp_path.glob("*/ledger/*.json")] == [sound.id]
            assert recorder.tally["error:background"] >= 3
            monkeypatch.undo()
        assert len([record for record in caplog.records if "quota" in record.getMessage()]) == 1
