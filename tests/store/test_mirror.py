"""The catalogue of a store elsewhere: what waited here and what it has are not confused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otel_research.errors import StoreUnreachable
from otel_research.experiments import ExperimentRecord
from otel_research.store.catalogue import DiskCatalogue
from otel_research.store.mirror import Mirror

STARTED = ExperimentRecord(id="e" * 32, name="here or there", started_ns=1)
STOPPED = msgspec.structs.replace(STARTED, state="stopped", stopped_ns=2, ended_by="user")


class Away(DiskCatalogue):
    """A catalogue that answers or does not."""

    is_away = False

    def put_experiment(self, record: ExperimentRecord, /) -> None:
        self._check()
        super().put_experiment(record)

    def get_experiment(self, experiment_id: str) -> ExperimentRecord:
        self._check()
        return super().get_experiment(experiment_id)

    def annotate(self, experiment_id: str, note: dict[str, Any], /) -> None:
        self._check()
        super().annotate(experiment_id, note)

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnreachable("it does not answer.")


@pytest.fixture
def there(tmp_path: Path) -> Away:
    """The remote catalogue."""
    return Away(tmp_path / "there")


@pytest.fixture
def mirror(tmp_path: Path, there: Away) -> Mirror:
    """Its mirror on this machine."""
    return Mirror(DiskCatalogue(tmp_path / "here"), there, "remote:there")


def test_a_record_that_was_delivered_is_not_delivered_again(mirror: Mirror, there: Away) -> None:
    """Declared while it was away, delivered, stopped there; a note that waits later brings no old record with it."""
    there.is_away = True
    mirror.put_experiment(STARTED)
    assert mirror.get_experiment(STARTED.id) == STARTED
    there.is_away = False
    mirror.deliver(STARTED.id)
    mirror.put_experiment(STOPPED)
    there.is_away = True
    mirror.annotate(STARTED.id, {"time_ns": time.time_ns(), "reason": "later"})
    there.is_away = False
    assert mirror.get_experiment(STARTED.id) == STOPPED
    assert mirror.list_experiments() == [STOPPED]
    mirror.deliver(STARTED.id)
    assert there.get_experiment(STARTED.id) == STOPPED
    assert [note["reason"] for note in there.annotations(STARTED.id)] == ["later"]


def test_the_record_that_waits_is_the_one_that_counts(mirror: Mirror, there: Away) -> None:
    """Stopped while it was away: it is stopped here at once, and there when it is delivered."""
    mirror.put_experiment(STARTED)
    there.is_away = True
    mirror.put_experiment(STOPPED)
    assert mirror.get_experiment(STARTED.id) == STOPPED
    there.is_away = False
    assert mirror.list_experiments() == [STOPPED]
    mirror.deliver(STARTED.id)
    assert there.get_experiment(STARTED.id) == mirror.get_experiment(STARTED.id) == STOPPED


def test_what_is_said_while_the_rest_is_delivered_waits(mirror: Mirror, there: Away) -> None:
    """Stopped and annotated in the middle of a delivery, while the store does not answer: nothing is taken for delivered."""
    there.is_away = True
    mirror.put_experiment(STARTED)
    there.is_away = False
    put = there.put_experiment

    def meanwhile(record: ExperimentRecord) -> None:
        put(record)
        there.put_experiment = put  # type: ignore[method-assign]
        there.is_away = True
        mirror.put_experiment(STOPPED)
        mirror.annotate(STARTED.id, {"time_ns": time.time_ns(), "reason": "just now"})
        there.is_away = False

    there.put_experiment = meanwhile  # type: ignore[method-assign]
    mirror.deliver(STARTED.id)
    assert mirror.get_experiment(STARTED.id) == there.get_experiment(STARTED.id) == STOPPED
    assert [note["reason"] for note in there.annotations(STARTED.id)] == ["just now"]


def test_the_end_of_a_delivery_forgets_nothing_that_waits(mirror: Mirror, there: Away) -> None:
    """A record that came between the last span and the end of its delivery is still to go."""
    there.is_away = True
    mirror.put_experiment(STOPPED)
    backlog = mirror.backlog(STOPPED.id)
    backlog.finish()
    there.is_away = False
    assert backlog.is_record_waiting
    mirror.deliver(STOPPED.id)
    backlog.finish()
    assert there.get_experiment(STOPPED.id) == STOPPED
    assert not backlog.exists
