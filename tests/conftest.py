"""What every test may use: a host program with a provider of its own, recorded in memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import PIPE

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer
from tests.servers import PostgresServer, S3Server, installed_postgres

from otel_research.recorder import Recorder
from otel_research.testing import recording

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
}
"""A call of a model, as an instrumentation of today describes it."""

ONCE = (
    "analysis", "archive", "cli", "dashboard", "demo", "formats", "formats_read", "imports", "ingest", "live", "pricing",
    "report", "semconv", "store", "test_bad_input.py", "test_core_install.py",
    "test_layers.py", "watching",
)  # fmt: skip
"""Rooms whose work is done by Polars, tables of data, servers, clients and browsers, not by what differs between Pythons.

What captures, journals, forks, joins, hooks into a program and runs trials is tested on every Python by default.
"""


NOT_ONCE, NOR_SDK = "not once", "not once or sdk"
"""What is asked for on all Pythons but one, and on all SDKs but one: a file without any of it is not even imported then."""


OF_THE_SDK = re.compile("(from|import) opentelemetry|from (receivers|otlp_samples) import")
"""A file of these rooms with that makes its own providers, packs or reads messages, exports, or instruments.

The others know spans as records only: how spans become those is tested in `capture`, on every SDK.
"""


@cache
def asks_the_sdk(path: Path) -> bool:
    """Whether what the file tests can differ between versions of OpenTelemetry."""
    return OF_THE_SDK.search(path.read_text()) is not None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collecting takes each worker of each run as long as many a test: what is left out is not collected."""
    if _room(collection_path) not in ONCE:
        return None
    asked, is_test = config.option.markexpr, collection_path.suffix == ".py"
    is_left_out = asked == NOT_ONCE or (asked == NOR_SDK and is_test and not asks_the_sdk(collection_path))
    return True if is_left_out else None


def _room(path: Path) -> str:
    """The folder or file of `tests` that it is or lies in."""
    here = Path(__file__).parent
    return path.relative_to(here).parts[0] if here in path.parents else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of such a room runs on one Python by default, and those that ask the SDK on all in `nox -s matrix`."""
    for item in items:
        if _room(item.path) in ONCE:
            item.add_marker("once")
            if asks_the_sdk(item.path):
                item.add_marker("sdk")


@pytest.fixture(autouse=True)
def nothing_stays_suppressed() -> Iterator[None]:
    """What we do uninstrumented ends with it: the next test's instrumentations, and a user's, make spans again."""
    yield
    assert not otel_context.get_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY)


@dataclass(frozen=True)
class Host:
    """A program under recording: its provider, a tracer of it, and our recorder on it."""

    recorder: Recorder
    provider: TracerProvider
    tracer: Tracer

    def call(self, name: str = "chat gpt-4o-mini", **attributes: object) -> None:
        """Leave the span of one call to a model."""
        with self.tracer.start_as_current_span(name, attributes={**CALL, **attributes}):  # type: ignore[dict-item]
            pass


@pytest.fixture
def host() -> Iterator[Host]:
    """Recording into memory."""
    with recording() as (recorder, provider):
        yield Host(recorder, provider, provider.get_tracer("app", "1.0"))


@pytest.fixture
def disk_host(tmp_path: Path) -> Iterator[Host]:
    """Recording into a folder of the test."""
    with recording(f"disk:{tmp_path / 'store'}") as (recorder, provider):
        yield Host(recorder, provider, provider.get_tracer("app", "1.0"))


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a fresh process, in the test's folder and without the developer's OTEL_* variables."""

    def run(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        kept["PYTHONFAULTHANDLER"] = "1"
        command = [sys.executable, "-c", code, *arguments]
        started = subprocess.Popen(
            command, cwd=tmp_path, env={**kept, **variables}, stdout=PIPE, stderr=PIPE, text=True
        )
        try:
            printed, complained = started.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            started.send_signal(signal.SIGABRT)  # it then says where each of its threads is
            printed, complained = started.communicate(timeout=10)
            pytest.fail(f"still running after a minute\n{printed}\n{complained}")
        return subprocess.CompletedProcess(command, started.returncode, printed, complained)

    return run


@pytest.fixture
def wait_for() -> Callable[[int], None]:
    """Wait until a forked child has left; one that hangs is ended and fails the test."""

    def wait(child: int) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the forked child hangs")

    return wait


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait until a condition holds; after half a minute the test fails."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this session's."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def installed_postgres_server() -> Iterator[PostgresServer]:
    """The system's own PostgreSQL (Debian's 15, say), where there is one."""
    programs = installed_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL is installed on this system; the tests ran on PyPI's")
    server = PostgresServer(programs)
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of a fresh database."""
    return new_database(postgres_server)


def new_database(server: PostgresServer) -> str:
    """Make a database; its URL."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    return server.url(name)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server of this session's."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh bucket, with the AWS variables that lead to it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    name = f"t{uuid.uuid4().hex}"
    s3_server.make_bucket(name)
    return name
