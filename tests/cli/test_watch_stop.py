"""`otel-research watch --stop`: a run of another process is watched until one condition is shown to be better."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import otel_research as otr
from otel_research.cli import main
from otel_research.cli.stopping import FEWEST, StopRule

PROGRAM = """
import itertools, sys, time
import otel_research as otr
otr.configure(store=sys.argv[1])
with otr.experiment("race", sample_size=100_000) as exp:
    for item in itertools.count():
        for condition, seconds in (("slow", 0.006), ("fast", 0.001)):
            with exp.arm(condition), exp.trial(item=item):
                time.sleep(seconds)
"""


@pytest.fixture
def race(tmp_path: Path) -> Iterator[str]:
    """The store of a run in another process that would never end; "fast" is fast."""
    store = f"disk:{tmp_path / 'store'}"
    run = subprocess.Popen([sys.executable, "-c", PROGRAM, store], start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "store").glob("*/experiment.json")):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield store
        assert run.poll() is None, "the run goes on: watching only reads"
    finally:
        run.kill()
        run.wait()


def watch(*words: str) -> Result:
    return CliRunner().invoke(main, ["watch", *words, "--seconds", "60"], catch_exceptions=False)


def events(result: Result, name: str) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in result.stdout.splitlines()]
    return [event["data"] for event in told if event["event"] == name]


def test_a_run_of_another_process_is_watched_until_the_rule_fires(race: str) -> None:
    """Exit 0 where the candidate is better, 1 where it is worse; each look is recorded in the experiment and spends alpha."""
    better = watch("race", "--stop", "slow", "fast", "--json", "--store", race)
    assert better.exit_code == 0
    looks = events(better, "look")
    assert looks[-1]["stop"]
    assert looks[-1]["verdict"] == "better"
    assert looks[-1]["rule"] == "alpha spending"
    assert not any(look["stop"] for look in looks[:-1])
    worse = watch("race", "--stop", "fast", "slow", "--store", race)
    assert worse.exit_code == 1
    assert "worse: latency" in worse.stdout
    from otel_research.store.library import Library

    opened = Library(race)
    notes = opened.catalogue.annotations(opened.find()[0].id)
    assert [note["kind"] for note in notes] == ["look"] * (len(looks) + 1)
    assert all(note["author"] and note["time_ns"] for note in notes)


def test_a_run_that_ends_undecided_exits_3_and_says_why_there_was_no_look(store: str) -> None:
    """Four trials a condition are too few for any look."""
    result = watch("prompts", "--stop", "short", "long", "--store", store)
    assert result.exit_code == 3
    assert f"condition 'short' has 4 of {FEWEST} trials (or calls) yet" in result.stderr
    assert watch("prompts", "--metric", "cost", "--store", store).exit_code == 2


def test_the_rule_looks_as_the_run_grows_and_once_more_at_its_end(tmp_path: Path) -> None:
    """Not at every span: the looks come at a tenth more each, whatever the pace of watching."""
    recorder = otr.configure(store="memory:")
    try:
        with otr.experiment("steady") as exp:
            for item in range(60):
                for condition in "ab":
                    with exp.arm(condition), exp.trial(item=item):
                        pass
            rule = StopRule(exp, "a", "b")
            taken = [spans for spans in range(100, 133) if rule.look(spans) is not None]
            assert taken == [100, 111, 123]
            assert rule.look(132) is None
            assert rule.look(133, is_last=True) is not None
            assert rule.look(133, is_last=True) is None
    finally:
        recorder.close()
