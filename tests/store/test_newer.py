"""A store elsewhere that a newer version wrote to: what cannot be read is named, and hides nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

import otel_research as otr
from otel_research.cli import main
from otel_research.store.library import Library
from otel_research.store.objects import Bucket
from otel_research.store.s3 import S3Store
from otel_research.testing import batch, recording, rows


@pytest.fixture(params=["postgres_url", "s3_bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a store on each kind of server."""
    monkeypatch.chdir(tmp_path)
    value = str(request.getfixturevalue(request.param))
    return value if value.startswith("postgresql") else f"s3://{value}/lab"


def later(record: dict[str, Any]) -> str:
    return json.dumps({**record, "format_version": 99, "name": {"text": "from the future"}})


def make_newer(url: str, experiment_id: str) -> None:
    """Write its record as a later version may."""
    if url.startswith("s3"):
        bucket, name = Bucket(url.split("/")[2], "lab"), f"{experiment_id}/experiment.json"
        bucket.put(name, later(json.loads(bucket.get(name) or b"")).encode())
        return
    with psycopg.connect(url) as connection:
        query = "SELECT record FROM otel_research.experiments WHERE id = %s"
        ((text,),) = connection.execute(query, (experiment_id,)).fetchall()
        change = "UPDATE otel_research.experiments SET record = %s WHERE id = %s"
        connection.execute(change, (later(json.loads(text)), experiment_id))


def test_a_newer_record_hides_only_itself(url: str) -> None:
    """`ls` lists the others and names this one; its own look-up says to upgrade; nothing is changed."""
    with recording(url) as (_, provider):
        with otr.experiment("readable"):
            provider.get_tracer("x").start_span("s").end()
        with otr.experiment("newer") as newer:
            pass
        make_newer(url, newer.id)
        assert [exp.name for exp in otr.list_experiments()] == ["readable"]
        with pytest.raises(otr.StoreError, match=r"newer otel-research \(format 99.*pip install -U"):
            otr.get_experiment(newer.id)
    listed = CliRunner().invoke(main, ["ls", "--json", "--store", url])
    assert listed.exit_code == 0, listed.output
    assert [each["name"] for each in json.loads(listed.stdout)] == ["readable"]
    assert newer.id in listed.stderr
    assert "format 99" in listed.stderr


def test_a_newer_manifest_is_left_alone(s3_bucket: str) -> None:
    """Neither read nor built upon: appending would forget what the newer version declared there."""
    store = S3Store(f"s3://{s3_bucket}/lab")
    store.append(batch(rows(1)))
    bucket = Bucket(s3_bucket, "lab")
    current = json.loads(bucket.get(f"{'e' * 32}/manifest/1.json") or b"")
    bucket.put(f"{'e' * 32}/manifest/2.json", json.dumps({**current, "format_version": 99}).encode())
    for attempt in (lambda: store.scan("e" * 32), lambda: store.append(batch(rows(1, first=1)))):
        with pytest.raises(otr.StoreError, match=r"2\.json was written by a newer otel-research"):
            attempt()
    assert bucket.names(f"{'e' * 32}/manifest") == [f"{'e' * 32}/manifest/{n}.json" for n in (1, 2)]


def test_a_store_that_does_not_answer_hides_all_and_says_so(tmp_path: Path) -> None:
    """Who asks what is hidden is told why, and gets no empty list."""
    away = Library("postgresql://127.0.0.1:1/lab", local_root=tmp_path)
    (told,) = away.unreadable()
    assert "does not answer" in told
