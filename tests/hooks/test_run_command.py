"""`otel-research run -- CMD…`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hooks.conftest import SPANS, Run, Stored, received, whole

from otel_research.hooks import backend

ALONE = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
"""No backend: OpenTelemetry's own default is one on this machine, which is not there and is waited for at the end."""


def test_every_span_of_the_command(otel_research: Run, app: Path, store: str, stored: Stored) -> None:
    """6,000 of 6,000 beside a slow exporter, with name, condition, tags and session; the block comes at the end."""
    told = ["--name", "nightly", "--condition", "b", "--tag", "a", "--tag", "dataset:mmlu", "--session", "s1"]
    done = otel_research("run", *told, "--store", store, "--", sys.executable, app, SPANS, **ALONE)
    assert received(done) < SPANS
    exp = stored()
    assert (exp.name, exp.condition, exp.tags, exp.session_id) == ("nightly", "b", ("a", "dataset:mmlu"), "s1")
    assert (exp.state, exp.ended_by) == ("stopped", "user")
    assert whole(exp) == (SPANS, 0)
    assert f"captured {SPANS:,} spans · lost 0" in done.stderr


def test_children_and_other_programs(otel_research: Run, app: Path, store: str, stored: Stored) -> None:
    """A shell that starts Python twice: both are in the experiment, which is called after the command."""
    script = f"'{sys.executable}' '{app}' 20 && '{sys.executable}' '{app}' 30"
    done = otel_research("run", "--store", store, "--", "sh", "-c", script, **ALONE)
    assert done.returncode == 0, done.stderr
    exp = stored()
    assert whole(exp) == (30, 0)  # their spans have the same names
    assert exp.ledger().stored == 50


def test_the_exit_code_is_the_commands(otel_research: Run, store: str) -> None:
    """A number as it is, a signal as 128 and its number, a command that is not there as 127."""
    command = ["run", "--store", store, "--", sys.executable, "-c"]
    assert otel_research(*command, "raise SystemExit(7)", **ALONE).returncode == 7
    killed = otel_research(*command, "import os; os.kill(os.getpid(), 9)", **ALONE)
    assert killed.returncode == 128 + signal.SIGKILL
    missing = otel_research("run", "--store", store, "--", "no-such-command")
    assert (missing.returncode, "no-such-command" in missing.stderr) == (127, True)


def test_json_is_alone_on_standard_output(otel_research: Run, store: str) -> None:
    """--json: one document; the command's own output is on standard error, an empty run says so by its zeros."""
    done = otel_research("run", "--json", "--store", store, "--", sys.executable, "-c", "print('mine')", **ALONE)
    told = json.loads(done.stdout)
    assert (told["exit_code"], told["ledger"]["stored"], told["conditions"]) == (0, 0, {})
    assert told["experiment"]["name"] == "python -c" or told["experiment"]["name"].startswith("python")
    assert "mine" in done.stderr


def test_a_backend_that_nobody_chose_is_not_waited_for(
    otel_research: Run, app: Path, store: str, stored: Stored
) -> None:
    """Without a backend and without a word about one: that is said once, and the program does not complain about it."""
    done = otel_research("run", "--store", store, "--", sys.executable, app, 20)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("sent nowhere else") == 1
    assert "localhost:431" not in done.stderr  # what an exporter complains about
    assert stored().ledger().stored == 20


@pytest.mark.parametrize(
    "chosen",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"},
        {"OTEL_CONFIG_FILE": "otel.yaml"},
        {"OTEL_PYTHON_DISTRO": "vendor"},
        ALONE,
    ],
    ids=lambda chosen: next(iter(chosen)),
)
def test_a_backend_that_somebody_chose_is_left_alone(chosen: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "PORTS", (1,))
    assert backend.spared(chosen) == {}


def test_a_signal_that_is_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "PORTS", (1,))
    told = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}
    assert backend.spared(told) == {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


def test_a_backend_that_listens_where_it_is_expected_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with nothing said: only whether somebody listens decides."""
    with socket.create_server(("localhost", 0)) as there:
        monkeypatch.setattr(backend, "PORTS", (there.getsockname()[1],))
        assert backend.spared({}) == {}
    assert set(backend.spared({})) == set(ALONE)


def test_nothing_captured_is_said(otel_research: Run, store: str) -> None:
    """A command without a span ends with what to look at."""
    done = otel_research("run", "--store", store, "--", "true")
    assert done.returncode == 0, done.stderr
    assert "No span was captured" in done.stderr


def test_the_programs_own_experiment_nests(otel_research: Run, tmp_path: Path, store: str) -> None:
    """A program that starts an experiment of its own has it in the same store, inside the run's, and the run names it."""
    program = tmp_path / "own.py"
    program.write_text(
        "import otel_research as otr\n"
        "from opentelemetry import trace\n"
        "with otr.experiment('own') as exp, exp.trial(item='q'):\n"
        "    with trace.get_tracer('app').start_as_current_span('inside'): pass\n"
        "with trace.get_tracer('app').start_as_current_span('after'): pass\n"
    )
    done = otel_research("run", "--name", "around", "--store", store, "--", sys.executable, program, **ALONE)
    assert done.returncode == 0, done.stderr
    from otel_research.store.library import Library

    library = Library(store)
    counts = {one.name: library.scan(one.id).select("name").collect().height for one in library.find()}
    assert counts == {"own": 2, "around": 1}
    assert "its own experiments: own (" in done.stderr


def test_a_store_that_cannot_be_shared(otel_research: Run) -> None:
    """Memory is of one process: a clear refusal, exit 2, and the command is not run."""
    done = otel_research("run", "--store", "memory:", "--", sys.executable, "-c", "print('ran')")
    assert done.returncode == 2
    assert "cannot reach" in done.stderr
    assert "ran" not in done.stdout


def test_a_signal_reaches_the_command(store: str, tmp_path: Path, run: Run) -> None:
    """SIGTERM to us is SIGTERM to the command; we stay until it has ended and its experiment is stopped."""
    import os

    program = (
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(5))\nprint('up', flush=True)\ntime.sleep(60)"
    )
    command = [sys.executable, "-c", "from otel_research.cli import main; main()", "run", "--store", store, "--"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    kept |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **ALONE}
    process = subprocess.Popen(
        [*command, sys.executable, "-c", program],
        env=kept,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 5
    process.stdout.close()
