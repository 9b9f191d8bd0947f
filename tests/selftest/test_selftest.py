"""`otel-research selftest`: all is well on this machine, and a loss does not pass."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from otel_research import selftest
from otel_research.cli import main
from otel_research.selftest import outcome
from otel_research.selftest.process import Ran, run
from otel_research.selftest.scenario import Scenario


def command(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["selftest", "--store", f"disk:{folder}", *words], catch_exceptions=False)


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(selftest, "SCENARIOS", tuple(selftest.named(name) for name in names))


@pytest.mark.once  # its parts run in tests/crash on every Python
def test_nothing_is_lost_on_this_machine(tmp_path: Path) -> None:
    """Every scenario runs as it says, loses nothing and leaves a balanced ledger."""
    done = command(tmp_path, "--json")
    told = json.loads(done.stdout)
    assert [row for row in told["scenarios"] if not row["ok"]] == []
    assert (done.exit_code, told["ok"], told["lost"], told["ledger"]["lost"]) == (0, True, 0, {})
    assert [row["name"] for row in told["scenarios"]] == [scenario.name for scenario in selftest.SCENARIOS]
    by_name = {row["name"]: row for row in told["scenarios"]}
    assert (by_name["burst"]["stored"], by_name["slow backend"]["stored"]) == (50_000, 50_000)
    assert [by_name[name]["stored"] for name in ("fork", "spawn", "pool", "disk full")] == [800, 800, 800, 7_000]
    assert by_name["kill -9"]["ended"] >= 5_000
    assert list(tmp_path.iterdir()) == [], "the temporary store is gone"


def test_the_text_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table, the ledger and the verdict."""
    only(monkeypatch, "fork")
    done = command(tmp_path)
    assert done.exit_code == 0
    for part in ("fork: 8 forked workers", "800", "captured 800 spans · lost 0", "Nothing was lost on this machine."):
        assert part in " ".join(done.stdout.split())


def losing(scenario: Scenario, folder: Path) -> Ran:
    """Runs the program, then does what a bad disk does: the second half of its largest segment is zeros."""
    ran = run(scenario, folder)
    segment = max(folder.glob("*/journal/*.wal"), key=lambda path: len(path.read_bytes().rstrip(b"\0")))
    data = segment.read_bytes()
    used = len(data.rstrip(b"\0"))
    segment.write_bytes(data[: used // 2] + bytes(len(data) - used // 2))
    return ran


def test_a_loss_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that the disk did not keep are found by their ids, counted, and end the command with 1."""
    only(monkeypatch, "kill -9")
    judge = outcome.judge
    monkeypatch.setattr(outcome, "judge", lambda scenario, folder: judge(scenario, folder, runs=losing))
    done = command(tmp_path, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert told["ok"] is False
    assert 1_000 < told["lost"] < told["scenarios"][0]["ended"]
    assert command(tmp_path).exit_code == 1
    assert "spans were lost" in command(tmp_path).stdout


@pytest.mark.parametrize(
    ("ran", "told"),
    [
        (Ran([], 1, "Traceback\nValueError: no"), "the program ended with 1, 0 of 800 spans made: ValueError: no"),
        (Ran([1, 1], 0, ""), "the program gave two spans one id"),
    ],
)
def test_a_scenario_that_did_not_run_is_not_ok(tmp_path: Path, ran: Ran, told: str) -> None:
    """No spans, none lost: that must not look like success."""
    found = outcome.judge(selftest.named("fork"), tmp_path / "none", runs=lambda scenario, folder: ran)
    assert not found.is_ok
    assert found.trouble == told


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    """The command never hangs with it."""
    scenario = Scenario(
        name="fork",
        says="",
        program=lambda host: None,
        expected=800,
        wrap=lambda given, folder: ["sh", "-c", "exec sleep 60", *given],
    )
    began = time.monotonic()
    found = outcome.judge(scenario, tmp_path / "x", runs=lambda scenario, folder: run(scenario, folder, deadline=0.5))
    assert time.monotonic() - began < 30
    assert not found.is_ok


def test_the_store_has_to_be_a_disk(tmp_path: Path) -> None:
    """`memory:` has no disk to test; a file is no folder: wrong use, one line."""
    done: Any = CliRunner().invoke(main, ["selftest", "--store", "memory:"])
    assert done.exit_code == 2
    assert "disk:PATH" in done.output
    (tmp_path / "file").write_text("")
    assert command(tmp_path / "file").exit_code == 2
