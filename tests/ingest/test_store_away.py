"""A receiver whose store is away answers for new experiments too: they are kept here, and go there once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from receivers import message
from tests.store.remotes import Whole

from otel_research.experiments import ExperimentRecord
from otel_research.handle import Experiment
from otel_research.ingest.inbox import Inbox
from otel_research.ingest.signals import TRACES
from otel_research.store.library import Library

ID, DECLARED = "a" * 32, "d" * 32
Wait = Callable[[Callable[[], bool]], None]

KILLED = """
import os, signal
from pathlib import Path
from tests.ingest.test_store_away import ID, receiving
from tests.ingest.receivers import message
from otel_research.ingest.signals import TRACES
inbox = receiving(Path.cwd())
print(inbox.take(TRACES, message(1, 2, experiment__id=ID, experiment__name="new")).stored)
print(inbox.take(TRACES, message(3)).stored, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def receiving(folder: Path) -> Inbox:
    return Inbox(Library(Whole(folder / "remote"), local_root=folder / "local"))


@pytest.fixture
def remote(tmp_path: Path) -> Whole:
    """A store that is away."""
    store = Whole(tmp_path / "remote")
    store.cut_off()
    return store


def names(store: Whole, experiment_id: str) -> list[str]:
    return sorted(store.scan(experiment_id).collect()["name"])


def test_new_experiments_while_the_store_is_away(
    remote: Whole, tmp_path: Path, run_python: Callable[..., Any], wait_until: Wait
) -> None:
    """Answered for, killed, started again while the store is still away, sent again: all is there once when it is back."""
    paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent), *sys.path]
    died = run_python(KILLED, PYTHONPATH=os.pathsep.join(paths))
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, "2\n1\n"), died.stderr
    inbox = receiving(tmp_path)
    inbox.take(TRACES, message(2, 4, experiment__id=ID))
    inbox.take(TRACES, message(3, 5))
    remote.bring_back()
    wait_until(lambda: len(names(remote, ID)) == 3)
    inbox.close()
    by_name = {record.name: record for record in Library(remote, local_root=tmp_path / "elsewhere").find()}
    assert by_name.keys() == {"new", "received"}
    assert by_name["new"].id == ID
    assert names(remote, ID) == ["work 1", "work 2", "work 4"]
    assert names(remote, by_name["received"].id) == ["work 3", "work 5"]
    assert {record.state for record in by_name.values()} == {"stopped"}
    assert "is_unasked" not in by_name["new"].environment
    ledger = Experiment(by_name["new"], Library(remote, local_root=tmp_path / "local")).ledger()
    assert (ledger.stored, ledger.duplicates, ledger.lost_total, ledger.is_balanced) == (3, 1, 0, True)


def test_what_others_have_declared_stays_theirs(remote: Whole, tmp_path: Path, wait_until: Wait) -> None:
    """Nobody could ask whether the experiment is known: the record that is there counts, and gets the spans."""
    remote.bring_back()
    declared = ExperimentRecord(id=DECLARED, name="declared", hypothesis="b is faster", started_ns=1)
    remote.put_experiment(declared)
    remote.cut_off()
    inbox = receiving(tmp_path)
    inbox.take(TRACES, message(1, experiment__id=DECLARED, experiment__name="as the span says"))
    assert inbox._desks[DECLARED].record.name == "as the span says"
    remote.bring_back()
    wait_until(lambda: inbox._desks[DECLARED].record == declared)
    inbox.close()
    assert remote.get_experiment(DECLARED) == declared
    assert names(remote, DECLARED) == ["work 1"]


def test_one_that_had_ended_goes_on(remote: Whole, tmp_path: Path, wait_until: Wait) -> None:
    """Received and put away before the store went: it runs again as soon as the store can be told."""
    remote.bring_back()
    first = receiving(tmp_path)
    first.take(TRACES, message(1, experiment__id=ID))
    first.close()
    assert remote.get_experiment(ID).state == "stopped"
    remote.cut_off()
    inbox = receiving(tmp_path)
    inbox.take(TRACES, message(2, experiment__id=ID))
    remote.bring_back()
    wait_until(lambda: remote.get_experiment(ID).state == "running")
    inbox.close()
    assert remote.get_experiment(ID).state == "stopped"
    assert names(remote, ID) == ["work 1", "work 2"]
