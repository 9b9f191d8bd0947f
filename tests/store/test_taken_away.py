"""A store that is moved, deleted or closed to us while an experiment runs: kept in the local journal, delivered later."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest
from tests.conftest import new_database
from tests.servers import PostgresServer, S3Server, _signed

import otel_research as otr
from otel_research.store.objects import Bucket
from otel_research.store.postgres import PostgresStore
from otel_research.store.s3 import S3Store
from otel_research.testing import recording

Change = Callable[[str, str], list[str]]
"""(database, role) -> the statements of the administrator."""


def _disconnect(database: str) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"


TROUBLES: dict[str, tuple[Change, Change, str]] = {
    "moved": (
        lambda database, role: [_disconnect(database), f"ALTER DATABASE {database} RENAME TO {database}_b"],
        lambda database, role: [_disconnect(f"{database}_b"), f"ALTER DATABASE {database}_b RENAME TO {database}"],
        "does not exist",
    ),
    "another password": (
        lambda database, role: [f"ALTER ROLE {role} PASSWORD 'new'", _disconnect(database)],
        lambda database, role: [f"ALTER ROLE {role} PASSWORD 'p'"],
        "password authentication failed",
    ),
    "no connection allowed": (
        lambda database, role: [f"REVOKE CONNECT ON DATABASE {database} FROM {role}", _disconnect(database)],
        lambda database, role: [f"GRANT CONNECT ON DATABASE {database} TO {role}"],
        "permission denied|does not allow",
    ),
    "read only": (
        lambda database, role: [f"ALTER DATABASE {database} SET default_transaction_read_only = on", _disconnect(database)],
        lambda database, role: [f"ALTER DATABASE {database} RESET default_transaction_read_only"],
        "read-only",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Lab:
    """A database of a role of its own, and its administrator."""

    def __init__(self, server: PostgresServer) -> None:
        self.database = new_database(server).partition("?")[0].rpartition("/")[2]
        self.role = f"lab{time.time_ns()}"
        self._server = server
        self.administer(
            lambda database, role: [
                f"CREATE ROLE {role} LOGIN PASSWORD 'p'",
                f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
                f"GRANT CREATE, CONNECT, TEMPORARY ON DATABASE {database} TO {role}",
            ]
        )

    @property
    def url(self) -> str:
        return self._server.url(self.database, self.role, "p")

    def administer(self, change: Change) -> None:
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as connection:
            for statement in change(self.database, self.role):
                connection.execute(statement.encode())


def spans(tracer: Any, count: int) -> None:
    for _ in range(count):
        tracer.start_span("s").end()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_database_that_is_closed_to_us(postgres_server: PostgresServer, trouble: str) -> None:
    """The run goes on and ends; what was not delivered waits, the error says why, and with the trouble over it arrives."""
    harm, heal, says = TROUBLES[trouble]
    lab = Lab(postgres_server)
    with recording(lab.url) as (recorder, provider):
        exp = otr.start_experiment(trouble)
        spans(provider.get_tracer("x"), 5)
        assert recorder.flush().pending == 0
        lab.administer(harm)
        spans(provider.get_tracer("x"), 7)
        assert recorder.flush(timeout=0) == otr.Flushed(kept=5, lost=0, pending=7)
        with pytest.raises(otr.StoreError, match=says) as told:
            PostgresStore(lab.url).delete("f" * 32)
        assert ":p@" not in str(told.value)
        lab.administer(heal)
        assert recorder.flush(timeout=20) == otr.Flushed(kept=12, lost=0, pending=0)
        otr.stop_experiment(exp)
        assert exp.ledger().is_balanced
    assert PostgresStore(lab.url).scan(exp.id).collect().height == 12


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, s3_server: S3Server) -> S3Server:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("otel_research.store.objects._RETRY_SECONDS", 1)
    return s3_server


def remove_bucket(server: S3Server, name: str) -> None:
    request = Request(f"{server.endpoint}/{name}", method="DELETE", headers=_signed("DELETE", server, f"/{name}"))
    urlopen(request, timeout=5).close()


def test_a_bucket_that_is_deleted(server: S3Server) -> None:
    """Made again, it gets what had not been delivered, and the record; the error before names the bucket."""
    name = f"gone{time.time_ns()}"
    server.make_bucket(name)
    url = f"s3://{name}/lab"
    with recording(url) as (recorder, provider):
        exp = otr.start_experiment("deleted")
        spans(provider.get_tracer("x"), 5)
        assert recorder.flush().pending == 0
        bucket = Bucket(name)
        bucket.delete(bucket.names())
        remove_bucket(server, name)
        spans(provider.get_tracer("x"), 7)
        with pytest.raises(otr.StoreError, match=f"no bucket '{name}'"):
            S3Store(url).list_experiments()
        server.make_bucket(name)
        assert recorder.flush(timeout=20).pending == 0
        otr.stop_experiment(exp)
    assert S3Store(url).scan(exp.id).collect().height == 7
    assert S3Store(url).get_experiment(exp.id).state == "stopped"
