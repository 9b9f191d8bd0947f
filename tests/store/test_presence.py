"""Who records an experiment: asked of the system where it can say, told by a sign of life where it cannot."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

import otel_research as otr
from otel_research.journal import writer
from otel_research.journal.writer import is_alive, this_writer
from otel_research.store import presence
from otel_research.store.library import Library
from otel_research.testing import recording


def states(root: Path) -> list[tuple[str, str | None]]:
    """What a reader elsewhere says of the experiments."""
    return [(record.state, record.ended_by) for record in Library(f"disk:{root}").find()]


@pytest.fixture
def from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Look from another container of the same name: its processes have other numbers."""
    here = writer._pid_namespace

    class Elsewhere:
        def __enter__(self) -> None:
            monkeypatch.setattr(writer, "_pid_namespace", lambda: 1)

        def __exit__(self, *_: object) -> None:
            monkeypatch.setattr(writer, "_pid_namespace", here)

    return Elsewhere()


def grow_old(root: Path, seconds: float) -> None:
    """As if nothing had been touched for so long."""
    then = time.time() - seconds
    for path in root.rglob("*"):
        os.utime(path, (then, then))


@pytest.mark.parametrize(
    "elsewhere", [{"host": "other"}, {"boot": "another boot"}, {"pid_namespace": 7}], ids=["host", "boot", "namespace"]
)
def test_a_process_that_cannot_be_asked_is_neither_alive_nor_dead(elsewhere: dict[str, Any]) -> None:
    """Another host, another boot or another pid namespace: its number means nothing here."""
    mine = this_writer()
    assert is_alive(mine) is True
    assert is_alive(msgspec.structs.replace(mine, pid=2**22 + 1)) is False
    assert is_alive(msgspec.structs.replace(mine, **elsewhere)) is None


def test_a_live_writer_in_another_container_is_left_alone(tmp_path: Path, from_elsewhere: Any) -> None:
    """A reader that cannot ask about it sees its sign of life: nothing is declared, sealed or removed."""
    with recording(f"disk:{tmp_path}") as (_, provider), otr.experiment("alive") as exp:
        provider.get_tracer("app").start_span("before").end()
        with from_elsewhere:
            assert states(tmp_path) == [("running", None)]
            assert Library(f"disk:{tmp_path}").scan(exp.id).collect().height == 1
        assert len(list(tmp_path.glob("*/journal/*.wal"))) == 1
        provider.get_tracer("app").start_span("after").end()
    assert (exp.ended_by, exp.ledger().stored, exp.spans().collect().height) == ("user", 2, 2)
    assert not list(tmp_path.glob("*/alive/*"))


def test_a_sign_of_life_is_given_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a process that has no span to write."""
    from otel_research.capture import caretaker

    monkeypatch.setattr(caretaker, "BEAT_SECONDS", 0.05)
    with recording(f"disk:{tmp_path}", fsync="0.1s"), otr.experiment("idle"):
        (sign,) = tmp_path.glob("*/alive/*")
        os.utime(sign, (0, 0))
        deadline = time.monotonic() + 10
        while sign.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert time.time() - sign.stat().st_mtime < 60


def test_a_process_elsewhere_that_was_silent_for_long_counts_as_gone(tmp_path: Path, from_elsewhere: Any) -> None:
    """Its experiment has crashed; and if it goes on all the same, it takes back what is its own and nothing is lost."""
    with recording(f"disk:{tmp_path}") as (_, provider), otr.experiment("silent") as exp:
        tracer = provider.get_tracer("app")
        tracer.start_span("before").end()
        span = tracer.start_span("open")
        assert exp._capture is not None
        grow_old(tmp_path, presence.GONE_SECONDS - 60)
        with from_elsewhere:
            assert states(tmp_path) == [("running", None)]
        grow_old(tmp_path, presence.GONE_SECONDS + 60)
        with from_elsewhere:
            assert states(tmp_path) == [("stopped", "crash")]
            assert Library(f"disk:{tmp_path}").scan(exp.id).collect()["status"].to_list() == ["unset", "interrupted"]
        tracer.start_span("meanwhile").end()
        exp.library.beat(exp.id, exp._capture.log.writer)
        assert states(tmp_path) == [("running", None)]
        span.end()
        tracer.start_span("after").end()
        assert sorted(exp.spans().collect()["name"]) == ["after", "before", "meanwhile", "open"]
    found = exp.spans().collect()
    assert sorted(found.select("name", "status").rows()) == [
        (name, "unset") for name in ("after", "before", "meanwhile", "open")
    ]
    ledger = exp.ledger()
    assert (ledger.started, ledger.ended, ledger.stored, ledger.duplicates, ledger.lost) == (4, 4, 4, 0, {})
    assert exp.ended_by == "user"


def test_a_dead_process_on_this_machine_is_known_at_once(tmp_path: Path, run_python: Any) -> None:
    """The system says so: no waiting."""
    run = run_python(
        "import os, sys, otel_research as otr\n"
        "from opentelemetry import trace\n"
        "otr.configure(f'disk:{sys.argv[1]}'); otr.start_experiment('killed')\n"
        "trace.get_tracer('app').start_span('a').end()\n"
        "os.kill(os.getpid(), 9)",
        str(tmp_path / "store"),
    )
    assert run.returncode == -9
    assert states(tmp_path / "store") == [("stopped", "crash")]
    assert not list(tmp_path.glob("store/*/journal/**/*.wal"))
