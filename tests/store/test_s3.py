"""Object storage: what is beyond the contract. A real S3 server, started by the tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from tests.servers import S3Server

import otel_research as otr
from otel_research.store.library import Library
from otel_research.store.objects import Bucket
from otel_research.store.s3 import S3Store
from otel_research.testing import batch, recording, rows


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that the test may kill."""
    server = S3Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("otel_research.store.objects._RETRY_SECONDS", 1)
    yield server
    server.close()


def test_an_experiment_lives_there(s3_bucket: str, tmp_path: Path) -> None:
    """Record, spans, annotations and ledger: another machine, with nothing but the URL, sees the same."""
    url = f"s3://{s3_bucket}/lab"
    with recording(url) as (_, provider):
        with otr.experiment("in a bucket", tags=["t"]) as exp:
            for _ in range(5):
                provider.get_tracer("x").start_span("s").end()
        exp.exclude({"name": "s"}, reason="to see it elsewhere")
        told = exp.ledger().to_dict()
    elsewhere = Library(url, local_root=tmp_path / "another machine")
    there = otr.Experiment(elsewhere.get(exp.id), elsewhere)
    assert there.record == exp.record
    assert there.spans().collect().height == 5
    assert [note["reason"] for note in there.annotations()] == ["to see it elsewhere"]
    assert {**there.ledger().to_dict(), "overhead": {}} == {**told, "overhead": {}}
    there.cleanup(keep_data=False, force=True)
    assert Bucket(s3_bucket).names() == []


def test_several_writers_at_once(s3_bucket: str) -> None:
    """Each manifest is created by one of them; the others read again: no rows are lost."""
    url = f"s3://{s3_bucket}/many"

    def write(number: int) -> None:
        store = S3Store(url)
        for at in range(4):
            store.append(batch(rows(10, first=number * 40 + at * 10)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    found = S3Store(url).scan("e" * 32).collect()
    assert found.height == found["span_id"].n_unique() == 160


def test_a_settled_experiment_is_read_lazily(s3_bucket: str) -> None:
    """Only the needed columns are read, and filters reach the Parquet files."""
    store = S3Store(f"s3://{s3_bucket}/lazy")
    for first in range(0, 3000, 1000):
        store.append(batch(rows(1000, first=first)))
    store.settle("e" * 32)
    query = store.scan("e" * 32).filter(pl.col("start_ns") < 1_700_000_000_500_000_000).select("span_id")
    plan = query.explain()
    assert "Parquet SCAN" in plan
    assert "SELECTION" in plan
    assert "PROJECT 2/" in plan or "PROJECT 1/" in plan
    assert query.collect().height == 500


def test_a_server_that_ignores_conditions_is_refused(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers could overwrite each other's manifest: nothing is declared there."""

    def ignoring(self: Bucket, name: str, content: bytes) -> bool:
        self.put(name, content)
        return True

    monkeypatch.setattr(Bucket, "create", ignoring)
    store = S3Store(f"s3://{s3_bucket}/x")
    with pytest.raises(otr.StoreError, match="ignores conditional writes"):
        store.append(batch(rows(1)))
    assert store.scan("e" * 32).collect().is_empty()


def test_killed_and_started_again_under_load(own_server: S3Server) -> None:
    """Spans wait in the local journal and arrive, each once."""
    own_server.make_bucket("lab")
    with recording("s3://lab/x") as (recorder, provider):
        exp = otr.start_experiment("killed")
        tracer = provider.get_tracer("x")
        for _ in range(20):
            tracer.start_span("before").end()
        assert recorder.flush().pending == 0
        own_server.kill()
        for _ in range(30):
            tracer.start_span("away").end()
        assert recorder.flush(timeout=0) == otr.Flushed(kept=20, lost=0, pending=30)
        own_server.start()
        assert recorder.flush() == otr.Flushed(kept=50, lost=0, pending=0)
        otr.stop_experiment(exp)
    assert S3Store("s3://lab/x").scan(exp.id).collect().height == 50


def test_what_is_refused(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such bucket, a wrong key, no server, no extra, no bucket's name: what, where, what to do."""
    with recording("s3://not-there-at-all/x"), pytest.raises(otr.StoreError, match="no bucket 'not-there-at-all'"):
        otr.start_experiment("never")
    with pytest.raises(otr.ConfigurationError, match="s3://BUCKET/PREFIX"):
        otr.configure(store="s3:/no-bucket")
    with monkeypatch.context() as changed:
        changed.setenv("AWS_SECRET_ACCESS_KEY", "wr0ng")
        with pytest.raises(otr.StoreError, match="refuses the access key") as told:
            S3Store(f"s3://{s3_bucket}/x").list_experiments()
        assert "wr0ng" not in str(told.value)
    with monkeypatch.context() as changed:
        changed.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        changed.setattr("otel_research.store.objects._RETRY_SECONDS", 1)
        with pytest.raises(otr.errors.StoreUnreachable, match="does not answer"):
            S3Store(f"s3://{s3_bucket}/x").list_experiments()
    with monkeypatch.context() as changed:
        changed.setitem(sys.modules, "obstore", None)
        with pytest.raises(otr.MissingExtra, match=r"pip install 'otel-research\[s3\]'"):
            otr.configure(store=f"s3://{s3_bucket}/x")
