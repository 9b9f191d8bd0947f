"""PostgreSQL that fails: killed, away, full of others, closed to us. Nothing is lost, and the message says what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.conftest import CALL, new_database
from tests.servers import PostgresServer

import otel_research as otr
from otel_research.store.library import Library
from otel_research.store.postgres import PostgresStore
from otel_research.testing import batch, recording, rows


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def spans(tracer: Any, count: int, name: str = "s") -> None:
    for number in range(count):
        tracer.start_span(name, attributes={"number": number}).end()


def names_of(store: PostgresStore, experiment: str) -> dict[str, int]:
    return dict(store.scan(experiment).collect().group_by("name").len().iter_rows())


KILLS = int(os.environ.get("STORES_KILLS", "2"))


def test_killed_and_started_again_under_load(own_server: PostgresServer) -> None:
    """`kill -9` of the server in mid-run, again and again: every span arrives, once, without a restart of ours."""
    url = new_database(own_server)
    with recording(url, fsync="0.1s") as (recorder, provider):
        exp = otr.start_experiment("killed")
        tracer = provider.get_tracer("x")
        for round_ in range(KILLS):
            spans(tracer, 300, f"before {round_}")
            own_server.kill()
            began = time.monotonic()
            spans(tracer, 300, f"away {round_}")
            assert time.monotonic() - began < 5, "spans waited for the database"
            assert recorder.flush(timeout=0).pending >= 300
            own_server.start()
        assert recorder.flush(timeout=30) == otr.Flushed(kept=600 * KILLS, lost=0, pending=0)
        otr.stop_experiment(exp)
        assert exp.ledger().is_balanced
        assert exp.ledger().stored == 600 * KILLS
    store = PostgresStore(url)
    assert names_of(store, exp.id) == {
        f"{when} {round_}": 300 for when in ("before", "away") for round_ in range(KILLS)
    }


def test_away_at_the_start_and_at_the_end(own_server: PostgresServer) -> None:
    """An experiment begins, runs and stops without its database; the next one to look brings it there."""
    url = new_database(own_server)
    own_server.stop()
    with recording(url) as (_, provider), otr.experiment("alone") as exp:
        spans(provider.get_tracer("x"), 10)
    assert exp.state == "stopped"
    exp.exclude({"name": "s"}, reason="made while it was away")
    with pytest.raises(otr.StoreError, match="does not answer"):
        exp.spans().collect()
    own_server.start()
    later = Library(url)
    (record,) = later.find()
    assert (record.id, record.state) == (exp.id, "stopped")
    elsewhere = Library(url, local_root=Path("another machine"))
    assert elsewhere.get(exp.id).name == "alone"
    assert elsewhere.store.scan(exp.id).collect().height == 10
    assert [note["reason"] for note in elsewhere.catalogue.annotations(exp.id)] == ["made while it was away"]


WRITER = """
import os, sys, time
from otel_research.store.postgres import PostgresStore
from otel_research.testing import batch, rows
number, count = int(sys.argv[2]), int(sys.argv[3])
store = PostgresStore(sys.argv[1])
print("ready", flush=True)
for at in range(0, count, 40):
    first = number * count // 2 + at  # neighbours overlap by half
    store.append(batch(rows(40, first=first, status="interrupted", end_ns=None)))
    store.append(batch(rows(40, first=first)))
print("done", flush=True)
"""


ROWS = 200 * KILLS
"""Of each writer in the test below."""


def test_four_writers_killed_at_random_and_started_again(postgres_url: str) -> None:
    """Every row exactly once, an ended span in place of its interrupted record, whoever dies when."""
    from random import Random

    draw = Random(6)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def start(number: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, postgres_url, str(number), str(ROWS)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    running = {number: start(number) for number in range(4)}
    for number in range(4):
        assert running[number].stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for _ in range(KILLS):
        number = draw.randrange(4)
        time.sleep(draw.uniform(0.01, 0.1))
        running[number].send_signal(signal.SIGKILL)
        running[number].communicate()
        running[number] = start(number)
        assert running[number].stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for process in running.values():
        assert process.communicate(timeout=30 * max(KILLS, 2))[0] == "done\n"
    found = PostgresStore(postgres_url).scan().select("span_id", "status").collect()
    assert found["span_id"].n_unique() == found.height == 5 * ROWS // 2
    assert found["status"].unique().to_list() == ["unset"]


def test_refused_is_told_before_anything_runs(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Wrong password, no such database, no such host: what, where, and what to do; the password is in no message."""
    wrong = postgres_url.replace("of%20the%20tests", "wr0ng")
    with recording(wrong), pytest.raises(otr.StoreError, match=r"password authentication failed.*PGPASSWORD") as told:
        otr.start_experiment("never")
    assert "wr0ng" not in str(told.value)
    with (
        recording(postgres_server.url("nowhere")),
        pytest.raises(otr.StoreError, match='database "nowhere" does not exist'),
    ):
        otr.start_experiment("never")
    with pytest.raises(otr.errors.StoreUnreachable, match="does not answer"):
        PostgresStore("postgresql://127.0.0.1:1/x").scan()


def test_a_database_of_a_newer_version_is_left_alone(postgres_url: str) -> None:
    """The message says to upgrade; spans stay in the local journal and arrive after it."""
    store = PostgresStore(postgres_url)
    store.append(batch(rows(1)))
    with recording(store) as (recorder, provider):
        exp = otr.start_experiment("newer")
        with psycopg.connect(postgres_url) as connection:
            connection.execute("INSERT INTO otel_research.migrations (version, name) VALUES (99, 'future')")
        spans(provider.get_tracer("x"), 3)
        store._database._is_ready = False
        store._drop_connection()
        assert recorder.flush(timeout=0).pending == 3
        with pytest.raises(otr.StoreError, match=r"newer otel-research .*99.*pip install -U"):
            PostgresStore(postgres_url).scan()
        with psycopg.connect(postgres_url) as connection:
            connection.execute("DELETE FROM otel_research.migrations WHERE version = 99")
        assert recorder.flush().pending == 0
        otr.stop_experiment(exp)
    assert store.scan(exp.id).collect().height == 3


def test_no_permission_names_the_grant(postgres_server: PostgresServer, postgres_url: str) -> None:
    """A user who may not write: nothing is harmed; with a grant later the spans arrive."""
    store = PostgresStore(postgres_url)
    store.append(batch(rows(1)))
    role = f"r{time.time_ns()}"
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'".encode())
    theirs = postgres_url.replace("postgres:of%20the%20tests", f"{role}:p")
    with pytest.raises(otr.StoreError, match=r"does not allow.*GRANT"):
        PostgresStore(theirs).append(batch(rows(1, first=1)))
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA otel_research TO {role}".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA otel_research TO {role}".encode())
    assert PostgresStore(theirs).scan().collect().height == 1
    with pytest.raises(otr.StoreError, match="does not allow"):
        PostgresStore(theirs).append(batch(rows(1, first=1)))


def test_tables_that_were_removed_are_made_again(postgres_url: str, wait_until: Callable[..., None]) -> None:
    """Somebody drops the schema while an experiment runs: what was not delivered yet still arrives."""
    with recording(postgres_url, fsync="0.1s") as (recorder, provider):
        exp = otr.start_experiment("dropped")
        spans(provider.get_tracer("x"), 3, "before")
        recorder.flush()
        with psycopg.connect(postgres_url) as connection:
            connection.execute("DROP SCHEMA otel_research CASCADE")
        spans(provider.get_tracer("x"), 4, "after")
        assert recorder.flush(timeout=20).pending == 0
        otr.stop_experiment(exp)
    assert names_of(PostgresStore(postgres_url), exp.id) == {"after": 4}


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(otr.MissingExtra, match=r"pip install 'otel-research\[postgres\]'"):
        otr.configure(store="postgresql://localhost/x")


NODE = """
import sys
import otel_research as otr
from opentelemetry import trace
exp = otr.join_experiment(sys.argv[1])
for number in range(20):
    trace.get_tracer("node").start_span("theirs").end()
otr.current_experiment()
otr.recorder.current().close()
"""


def test_nodes_that_share_nothing_but_the_database(postgres_url: str, run_python: Callable[..., Any]) -> None:
    """Two machines record into one experiment: rows and ledger are those of both."""
    home = Path("node a")
    home.mkdir()
    os.chdir(home)
    with recording(postgres_url) as (_, provider):
        exp = otr.start_experiment("of two nodes")
        # In the test's folder: another local journal.
        done = run_python(NODE, exp.id, OTEL_RESEARCH_STORE=postgres_url)
        assert done.returncode == 0, done.stderr
        spans(provider.get_tracer("x"), 10, "ours")
        otr.stop_experiment(exp)
        assert names_of(PostgresStore(postgres_url), exp.id) == {"ours": 10, "theirs": 20}
        ledger = exp.ledger()
        assert (ledger.ended, ledger.stored, ledger.duplicates) == (30, 30, 0)
        assert ledger.is_balanced
    there = Library(postgres_url, local_root=Path("a third machine"))
    assert otr.Experiment(there.get(exp.id), there).ledger().is_balanced


def test_the_password_is_shown_nowhere(postgres_url: str) -> None:
    """What is printed and what is kept of the store does not have it."""
    with recording(postgres_url) as (recorder, _), otr.experiment("secret") as exp:
        shown = f"{recorder!r} {exp.library.store!r} {exp.library.url} {exp.record}"
    assert "of%20the%20tests" not in shown
    assert "***" in shown
    kept = b"".join(path.read_bytes() for path in Path(".otel_research").rglob("*") if path.is_file())
    assert b"of%20the%20tests" not in kept


AWAY_SECONDS = float(os.environ.get("STORES_AWAY_SECONDS", "2"))
"""How long the database is away in the test below; `nox -s stores` makes it ten minutes."""


def test_stopped_for_a_while_under_load(own_server: PostgresServer) -> None:
    """Threads go on while the database is away: none waits for it, nothing is lost, all arrives, once."""
    url = new_database(own_server)
    made, slowest = [0] * 4, [0.0] * 4
    is_over = threading.Event()

    def work(tracer: Any, number: int) -> None:
        while not is_over.is_set():
            began = time.monotonic()
            tracer.start_span(f"thread {number}").end()
            slowest[number] = max(slowest[number], time.monotonic() - began)
            made[number] += 1
            time.sleep(0.002)

    with recording(url, fsync="0.1s") as (recorder, provider):
        exp = otr.start_experiment("load")
        threads = [threading.Thread(target=work, args=(provider.get_tracer("x"), number)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        own_server.stop()
        time.sleep(AWAY_SECONDS)
        assert recorder.flush(timeout=0).pending > 0
        own_server.start()
        time.sleep(0.5)
        is_over.set()
        for thread in threads:
            thread.join()
        total = sum(made)
        assert recorder.flush(timeout=120) == otr.Flushed(kept=total, lost=0, pending=0)
        otr.stop_experiment(exp)
        ledger = exp.ledger()
        assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (total, 0, True)
    print(f"{total} spans, the database away for {AWAY_SECONDS:g} s, the slowest span {max(slowest) * 1000:.0f} ms")
    assert names_of(PostgresStore(url), exp.id) == {f"thread {number}": count for number, count in enumerate(made)}
    assert max(slowest) < 5, "a span waited for the database"


def test_a_checkpoint_while_others_write(postgres_url: str) -> None:
    """An archive of an experiment in a database that grows meanwhile is consistent in itself."""
    from otel_research.archive.verify import verify

    is_over = threading.Event()

    def work(tracer: Any) -> None:
        while not is_over.is_set():
            with tracer.start_as_current_span("chat", attributes=CALL):
                pass
            time.sleep(0.001)

    with recording(postgres_url, fsync="0.1s") as (recorder, provider):
        exp = otr.start_experiment("grows")
        thread = threading.Thread(target=work, args=(provider.get_tracer("x"),))
        thread.start()
        time.sleep(0.5)
        recorder.flush()
        found = verify(Path(exp.archive(path="checkpoint")))
        is_over.set()
        thread.join()
        otr.stop_experiment(exp)
    assert found.problems == ()
    assert found.rows > 0
