"""`ExperimentExporter` into a store elsewhere: journaled first, brought there by offset, whatever the store does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from tests.conftest import new_database
from tests.servers import PostgresServer
from tests.store.remotes import Remote

import otel_research as otr
from otel_research.experiments import ExperimentRecord
from otel_research.store.library import Library
from otel_research.store.postgres import PostgresStore

ID, DECLARED = "a" * 32, "d" * 32


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer()
    yield server
    server.close()


def made(count: int, **attributes: Any) -> list[ReadableSpan]:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("x")
    spans: list[Any] = [tracer.start_span(f"s{number}", attributes=attributes) for number in range(count)]
    for span in spans:
        span.end()
    return spans


def local_files(pattern: str) -> list[Path]:
    return sorted(Path(".otel_research").glob(f"*/{pattern}"))


def test_a_store_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    """SUCCESS all along; what was exported meanwhile arrives later, each span once, and nothing stays here."""
    remote = Remote(tmp_path / "remote")
    exporter = otr.ExperimentExporter(remote, ID)
    assert exporter.export(made(3)) is SpanExportResult.SUCCESS
    assert exporter.force_flush()
    remote.cut_off()
    assert exporter.export(made(4)) is SpanExportResult.SUCCESS
    assert not exporter.force_flush(timeout_millis=0)
    assert dict(exporter.ledger().lost) == {}
    remote.bring_back()
    assert exporter.force_flush()
    assert remote.scan(ID).collect().height == remote.appended == 7
    exporter.shutdown()
    assert local_files("journal/*.wal") == local_files("feed/*") == []
    library = Library(remote)
    exp = otr.Experiment(library.get(ID), library)
    assert (exp.state, exp.ended_by) == ("stopped", "user")
    told = exp.ledger()
    assert (told.received, told.stored, dict(told.lost)) == (7, 7, {})
    assert told.is_balanced


def test_a_store_that_is_away_until_after_the_end(tmp_path: Path) -> None:
    """Nothing waits for it; the next one to look delivers."""
    remote = Remote(tmp_path / "remote")
    remote.cut_off()
    exporter = otr.ExperimentExporter(remote, ID)
    assert exporter.export(made(5)) is SpanExportResult.SUCCESS
    exporter.shutdown()
    remote.bring_back()
    assert remote.scan().collect().is_empty()
    assert [record.state for record in Library(remote).find()] == ["stopped"]
    assert remote.scan(ID).collect().height == 5


KILLED = """
import os, signal
from pathlib import Path
import otel_research as otr
from tests.store.remotes import Remote
from tests.store.test_exporter_elsewhere import ID, made
remote = Remote(Path("remote").absolute())
remote.cut_off()
exporter = otr.ExperimentExporter(remote, ID)
exporter.export(made(6))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_while_the_store_is_away(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    """What `export` returned SUCCESS for is delivered by whoever opens the experiment next."""
    died = run_python(KILLED, PYTHONPATH=os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    assert died.returncode == -signal.SIGKILL, died.stderr
    remote = Remote(tmp_path / "remote")
    remote.bring_back()
    assert Library(remote).get(ID).ended_by == "crash"
    assert remote.scan(ID).collect().height == 6


def test_a_database_that_is_down_and_up_again(own_server: PostgresServer) -> None:
    """Down from the first span on: the spans arrive, and what others have declared of an experiment stays theirs."""
    url = new_database(own_server)
    declared = ExperimentRecord(id=DECLARED, name="declared", hypothesis="b is faster", started_ns=1)
    Library(url, local_root=Path("another machine")).catalogue.put_experiment(declared)
    own_server.stop()
    exporter = otr.ExperimentExporter(url, ID)
    assert exporter.export(made(3)) is SpanExportResult.SUCCESS
    assert exporter.export(made(4, **{"experiment.id": DECLARED})) is SpanExportResult.SUCCESS
    assert not exporter.force_flush(timeout_millis=0)
    own_server.start()
    assert exporter.force_flush()
    exporter.shutdown()
    store = PostgresStore(url)
    assert [store.scan(one).collect().height for one in (ID, DECLARED)] == [3, 4]
    assert store.get_experiment(DECLARED) == declared
    made_here = store.get_experiment(ID)
    assert (made_here.name, made_here.state, made_here.ended_by) == ("exported", "stopped", "user")
