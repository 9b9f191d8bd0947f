"""The blocks of docs/how-to-setups.md, each in a process of its own, with the servers that they ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doc_blocks import SETUPS, titled

pytestmark = pytest.mark.once


def run(title: str, folder: Path, **variables: str) -> None:
    """Its own assertions are the test; what it leaves behind is looked at by the caller."""
    path = os.pathsep.join(part for part in sys.path if part)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    program = folder / f"{title}_block.py"  # a file, as users have it: pyspark's client looks for one
    program.write_text(titled(SETUPS)[title].code)
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env={**kept, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.sdk
def test_a_provider_of_ones_own(tmp_path: Path) -> None:
    """All is stored; the backend gets what the sampler decides."""
    run("provider", tmp_path)


def test_postgres(tmp_path: Path, postgres_url: str) -> None:
    """The spans are in the database, for plain SQL."""
    import psycopg

    run("postgres", tmp_path, LAB_DATABASE=postgres_url)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM otel_research.spans").fetchone() == (100,)


def test_s3(tmp_path: Path, s3_bucket: str) -> None:
    """The spans are in the bucket: another machine, without this one's journal, reads them."""
    run("s3", tmp_path, LAB_BUCKET=f"s3://{s3_bucket}/lab")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    read = "import otel_research as otr; print(otr.get_experiment('in a bucket').spans().collect().height)"
    asked = {**os.environ, "OTEL_RESEARCH_STORE": f"s3://{s3_bucket}/lab", "XDG_STATE_HOME": str(elsewhere)}
    asked["PYTHONPATH"] = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run([sys.executable, "-c", read], cwd=elsewhere, env=asked, capture_output=True, text=True)
    assert done.stdout == "100\n", done.stderr


@pytest.fixture
def sail() -> Iterator[str]:
    """The address of a Sail server in a process of its own, which speaks Spark Connect."""
    code = (
        "from pysail.spark import SparkConnectServer as Server; s = Server('127.0.0.1', 0); "
        "s.start(background=True); print(s.listening_address[1], flush=True); input()"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield f"sc://127.0.0.1:{server.stdout.readline().strip()}"
    server.communicate("\n", timeout=60)


def test_spark(tmp_path: Path, sail: str) -> None:
    """The same p95 and the same hash, by a Spark Connect server."""
    run("spark", tmp_path, SPARK_REMOTE=sail)


def test_every_titled_block_is_run() -> None:
    """A block with a title is skipped by tests/test_docs.py, so here or in `tests/ingest/test_senders.py` it must be known."""
    assert set(titled(SETUPS)) == {"provider", "postgres", "s3", "spark", "agent"}
