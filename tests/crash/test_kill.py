"""`kill -9`, again and again: nothing that `end()` returned for is missing."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path

from reading import left_in

from otel_research import selftest
from otel_research.selftest.process import run

ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "4"))
"""`nox -s torture` takes 60."""


def test_kill_dash_nine_loses_nothing(tmp_path: Path) -> None:
    """Four threads, each span acknowledged through a pipe after `on_end`; killed at a random moment, also amid rolls."""
    chance = random.Random(0)
    scenario = selftest.named("kill -9")
    acknowledged = lost = 0
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        ran = run(dataclasses.replace(scenario, kill_after=chance.choice((1, 50, 1_000, 3_000, 12_000))), folder)
        assert ran.exit_code == -9, ran.output
        left = left_in(folder)
        stored = set(left.ended)
        acknowledged += len(ran.said)
        lost += len(set(ran.said) - stored)
        # Each thread may have written one span more than it could say.
        assert len(stored) <= len(ran.said) + 4
        assert (left.record.state, left.record.ended_by) == ("stopped", "crash")
        assert left.ledger.is_balanced
        assert left.ledger.interrupted <= 4
    print(f"\n{ROUNDS} rounds of kill -9: {acknowledged} spans acknowledged, {lost} lost")
    assert acknowledged > ROUNDS
    assert lost == 0
