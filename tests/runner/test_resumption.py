from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import otel_research as otr
from otel_research.handle import Experiment
from otel_research.store.library import Library
from otel_research.testing import recording

ITEMS, CONDITIONS, REPETITIONS = 12, 2, 3
SCRIPT = f"""
import sys, time
import otel_research as otr
otr.configure(store=sys.argv[1])
exp = otr.start_experiment("crash", seed=5, resume=True)
def work(item, condition):
    with open(sys.argv[2], "a") as log:
        log.write(f"{{item}} {{condition}}\\n")
    time.sleep(0.02)
trials = exp.run_trials(work, range({ITEMS}), conditions=["a", "b"], repetitions={REPETITIONS}, concurrency=3)
print(trials.done_before, len(trials), trials.left)
otr.stop_experiment(exp.id)
"""


def run(store: Path, log: Path, *, kill_after: int | None) -> str:
    """The script in a process of its own; killed outright once the log has so many lines."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"disk:{store}", str(log)], stdout=subprocess.PIPE, text=True
    )
    if kill_after is not None:
        deadline = time.monotonic() + 30
        while not (log.exists() and len(log.read_text().splitlines()) >= kill_after):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode == 0) == (kill_after is None)
    return out


def test_after_a_kill_done_trials_are_not_repeated(tmp_path: Path) -> None:
    """Killed twice, the plan is still done exactly once; what was cut off is kept as interrupted."""
    store, log = tmp_path / "store", tmp_path / "log"
    run(store, log, kill_after=15)
    run(store, log, kill_after=40)
    out = run(store, log, kill_after=None)
    done_before, ran, left = map(int, out.split())
    total = ITEMS * CONDITIONS * REPETITIONS
    assert left == 0
    assert done_before + ran == total
    assert done_before >= 30

    library = Library(f"disk:{store}")
    exp = Experiment(library.find(name="crash")[0], library)
    trials = exp.trials().collect()
    ok = trials.filter(pl.col("outcome") == "ok")
    assert ok.height == ok.unique(["condition", "item_id", "repetition"]).height == total
    cut_off = trials.filter(pl.col("outcome") == "interrupted")
    assert 1 <= cut_off.height <= 6
    assert len(log.read_text().splitlines()) <= total + 6
    assert [note["kind"] for note in exp.annotations()] == ["plan", "resumption", "resumption"]


def test_what_was_cut_off_is_no_duplicate_in_the_analyses(tmp_path: Path) -> None:
    """A trial that was run again after a crash raises no finding about repeated trials."""
    store, log = tmp_path / "store", tmp_path / "log"
    run(store, log, kill_after=15)
    run(store, log, kill_after=None)
    library = Library(f"disk:{store}")
    exp = Experiment(library.find(name="crash")[0], library)
    compared = otr.compare(exp.where({"condition": "a"}), exp.where({"condition": "b"}))
    assert {check.name: check.passed for check in compared.checks}["duplicates"]
    assert not {"duplicates", "duplicate_trials"} & {finding.code for finding in otr.validate(exp).findings}


def test_another_function_is_told_which_trials_are_there_already(caplog: pytest.LogCaptureFixture) -> None:
    """The same plan with another function runs nothing, and says what stands in its way; a larger one says whose the rest is."""

    def first(item: int, condition: str) -> None: ...

    def second(item: int, condition: str) -> None: ...

    with recording("memory:"), otr.experiment("twice", seed=1) as exp:
        assert len(exp.run_trials(first, [1, 2], conditions=["a", "b"])) == 4
        assert not caplog.messages
        assert len(exp.run_trials(second, [1, 2], conditions=["a", "b"])) == 0
        (told,) = caplog.messages
        assert "second) goes on with experiment 'twice'" in told
        assert "4 of 4 trials are there already, made by" in told
        assert "first, and are not run again; so nothing is run" in told
        caplog.clear()
        assert len(exp.run_trials(first, [1, 2, 3], conditions=["a", "b"])) == 2
        assert not caplog.messages, "the same function goes on with its own plan"
        assert len(exp.run_trials(second, [1, 2, 3, 4], conditions=["a", "b"])) == 2
        assert "6 of 8 trials are there already, made by" in caplog.messages[0]
        notes = [note for note in exp.annotations() if note["kind"] == "amendment"]
        assert "second" in notes[0]["changes"]["function"][1]
