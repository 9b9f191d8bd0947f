"""`otel-research stop ID`: an experiment that another process records is stopped, and that process notices."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import otel_research as otr
from otel_research.cli import main
from otel_research.experiments import ExperimentRecord
from otel_research.store.library import Library
from otel_research.testing import recording

PROGRAM = """
import itertools, sys, time
import otel_research as otr
otr.configure(store=sys.argv[1])
begun = otr.start_experiment("endless")
try:
    with begun.trial(item="open"):
        print("begun", flush=True)
        sys.stdin.readline()
    for item in itertools.count():
        with begun.trial(item=item):
            time.sleep(0.01)
except otr.ExperimentStopped as error:
    print("refused", item, error, flush=True)
sys.stdin.readline()
"""
Stop = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"disk:{tmp_path / 'store'}"


@pytest.fixture
def program(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process with an experiment that would never end, in a trial that waits for a line."""
    run = subprocess.Popen([sys.executable, "-c", PROGRAM, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        yield run
    finally:
        run.kill()
        run.communicate()


@pytest.fixture
def stop(url: str) -> Stop:
    return lambda *words: CliRunner().invoke(main, ["stop", *words, "--store", url], catch_exceptions=False)


def stopped(url: str, *, until: Callable[[ExperimentRecord], bool] = lambda _: True) -> ExperimentRecord:
    """The one experiment's record, as soon as that is true of it."""
    deadline = time.monotonic() + 30
    while not until(found := Library(url).find()[0]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_run_of_another_process_is_stopped_and_keeps_the_trial_that_was_open(
    program: subprocess.Popen[str], stop: Stop, url: str
) -> None:
    """What was open at the stop and ends in time is kept; the next trial is refused; the process seals at its end."""
    result = stop("endless", "--timeout", "0")
    assert (result.exit_code, "is stopped" in result.stdout, "still runs" in result.stdout) == (0, True, True)
    record = stopped(url)
    assert (record.state, record.ended_by, record.content_hash) == ("stopped", "user", None)
    time.sleep(1.5)  # the process looks once a second
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("\n")
    program.stdin.flush()
    told = program.stdout.readline()
    assert told.startswith("refused 0 "), "no trial began that would have been lost"
    _, err = program.communicate("\n", timeout=30)
    assert "was stopped from outside" in err
    whole = stopped(url, until=lambda found: found.content_hash is not None)
    assert whole.stopped_ns == record.stopped_ns
    found = otr.Experiment(whole, Library(url))
    assert found.trials().collect()["item_id"].to_list() == ["open"]
    ledger = found.ledger()
    assert (ledger.stored, ledger.late, ledger.is_balanced) == (1, 0, True)


def test_the_command_returns_when_the_process_has_taken_note(
    program: subprocess.Popen[str], stop: Stop, url: str
) -> None:
    """It waits for the open trial to end, and says as JSON what is stopped."""
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()
    told = json.loads(stop("endless", "--json").stdout)
    assert (told["name"], told["state"], told["ended_by"], told["is_sealed"]) == ("endless", "stopped", "user", False)
    (counts,) = Library(url).ledgers(told["id"])
    assert counts["is_final"]


def test_unknown_and_stopped_experiments_are_clear_errors(stop: Stop, url: str) -> None:
    with recording(url), otr.experiment("done") as exp:
        pass
    again = stop(exp.id)
    assert again.exit_code == 2
    assert f"experiment 'done' ({exp.id}) is stopped already" in again.stderr
    unknown = stop("nothing")
    assert unknown.exit_code == 2
    assert "no experiment 'nothing'" in unknown.stderr


def test_one_whose_processes_cannot_be_asked_is_stopped_and_sealed_at_once(stop: Stop, url: str) -> None:
    """A record that nothing writes to (its node is gone, nobody knows) would run for ever."""
    library = Library(url)
    library.catalogue.put_experiment(ExperimentRecord(id="a" * 32, name="orphan", started_ns=1))
    assert json.loads(stop("orphan", "--json").stdout)["is_sealed"]
    record = library.get("a" * 32)
    assert (record.state, record.content_hash is not None) == ("stopped", True)
