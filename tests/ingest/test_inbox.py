"""The inbox by itself: other stores, experiments that go away, many at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from receivers import message

from otel_research.errors import StoreUnreachable
from otel_research.experiments import ExperimentRecord
from otel_research.handle import Experiment
from otel_research.ingest import inbox as inboxes
from otel_research.ingest.inbox import Inbox
from otel_research.ingest.refusal import Refused
from otel_research.ingest.signals import TRACES
from otel_research.store.library import Library

ID = "0123456789abcdef0123456789abcdef"
Wait = Callable[[Callable[[], bool]], None]


def count(library: Library, experiment_id: str) -> int:
    return library.store.scan(experiment_id).collect().height


def test_a_store_that_is_fed(postgres_url: str, tmp_path: Path, wait_until: Wait) -> None:
    """What is received reaches PostgreSQL while the receiver runs, and the rest when it stops."""
    inbox = Inbox(Library(postgres_url, local_root=tmp_path / "local"))
    inbox.take(TRACES, message(1, 2, 3, experiment__id=ID))
    elsewhere = Library(postgres_url, local_root=tmp_path / "elsewhere")
    wait_until(lambda: count(elsewhere, ID) == 3)
    inbox.take(TRACES, message(4, experiment__id=ID))
    inbox.close()
    assert count(elsewhere, ID) == 4
    record = elsewhere.get(ID)
    assert (record.state, record.ledger["received"], record.ledger["stored"]) == ("stopped", 4, 4)
    ledger = Experiment(record, elsewhere).ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (4, 0, True)


def test_an_experiment_that_is_removed(library: Library, tmp_path: Path, wait_until: Wait) -> None:
    """Somebody deletes its folder while spans come: what comes next is stored, in the experiment made anew."""
    inbox = Inbox(library)
    inbox.take(TRACES, message(1, experiment__id=ID))
    shutil.rmtree(tmp_path / "store" / ID)
    wait_until(lambda: ID not in inbox._desks)
    inbox.take(TRACES, message(2, experiment__id=ID))
    inbox.close()
    assert library.scan(ID).collect()["name"].to_list() == ["work 2"]


def test_what_is_idle_is_put_away(library: Library, monkeypatch: pytest.MonkeyPatch, wait_until: Wait) -> None:
    """An experiment without spans for a while is sealed and stopped; the next span opens it again."""
    monkeypatch.setattr(inboxes, "IDLE_SECONDS", 0.0)
    inbox = Inbox(library)
    for number in (1, 2):
        inbox.take(TRACES, message(number, experiment__id=ID))
        wait_until(lambda: library.catalogue.get_experiment(ID).state == "stopped")
    inbox.close()
    experiment = Experiment(library.get(ID), library)
    assert sorted(experiment.spans().collect()["name"]) == ["work 1", "work 2"]
    ledger = experiment.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (2, 0, True)


def test_too_many_experiments_wait(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a segment open: beyond a number the sender is asked to come again, and what is known goes on."""
    monkeypatch.setattr(inboxes, "MOST_OPEN", 2)
    inbox = Inbox(library)
    for number in (1, 2):
        inbox.take(TRACES, message(number, experiment__id=f"{number:032x}"))
    with pytest.raises(Refused) as refused:
        inbox.take(TRACES, message(3, experiment__id=f"{3:032x}"))
    assert (refused.value.status, refused.value.retry_after) == (429, inboxes.RETRY_SECONDS)
    assert inbox.take(TRACES, message(4, experiment__id=f"{1:032x}")).stored == 1
    inbox.close()


def test_a_full_disk_is_told_and_may_be_tried_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal takes nothing the answer is 503 with a delay, and the same message is stored later."""
    import errno

    from otel_research.ingest.desk import Desk

    inbox = Inbox(library)
    take = Desk.take

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Desk, "take", refuse)
    with pytest.raises(Refused) as refused:
        inbox.take(TRACES, message(1, experiment__id=ID))
    assert (refused.value.status, refused.value.retry_after) == (503, inboxes.RETRY_SECONDS)
    assert "No space left on device" in refused.value.why
    monkeypatch.setattr(Desk, "take", take)
    assert inbox.take(TRACES, message(1, experiment__id=ID)).stored == 1
    inbox.close()
    assert library.scan(ID).collect().height == 1


def test_a_store_that_is_away_keeps_nothing_from_being_durable(
    library: Library, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """Its catalogue does not answer: what is received goes on being synced, and that is no error."""
    inbox = Inbox(library)
    inbox.take(TRACES, message(1, experiment__id=ID))
    desk, synced, sync = inbox._desks[ID], [], inbox._desks[ID].log.sync
    with monkeypatch.context() as patched:

        def away(_: str) -> ExperimentRecord:
            raise StoreUnreachable("it does not answer.")

        patched.setattr(library.catalogue, "get_experiment", away)
        patched.setattr(desk.log, "sync", lambda: (synced.append(1), sync()))
        wait_until(lambda: bool(synced))
        inbox._guarded(desk, lambda: inbox._tend(desk))
        assert not desk.has_gone()
        assert inbox.counts["error:background"] == 0
    inbox.close()
    assert count(library, ID) == 1


def test_an_error_in_the_background_is_said_once_and_the_rest_is_durable(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes back every second: counted each time, logged when it begins; the sync comes before it."""
    inbox = Inbox(library)
    inbox.take(TRACES, message(1, experiment__id=ID))
    desk, synced = inbox._desks[ID], []
    with monkeypatch.context() as patched:

        def broken() -> bool:
            raise RuntimeError("ours")

        patched.setattr(desk, "has_gone", broken)
        patched.setattr(desk.log, "sync", lambda: synced.append(1))
        for _ in range(3):
            inbox._guarded(desk, lambda: inbox._tend(desk))
    assert len(synced) >= 3
    assert inbox.counts["error:background"] >= 3
    assert caplog.text.count("goes on after an error") == 1
    inbox.close()
