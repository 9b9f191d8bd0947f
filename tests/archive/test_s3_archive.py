"""An archive in a bucket of a real S3 server: complete or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.servers import S3Server

import otel_research as otr
from otel_research.cli import main
from otel_research.errors import ArchiveError
from otel_research.store.objects import Bucket


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that the test may kill."""
    server = S3Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


def test_put_verified_and_restored(experiment: otr.Experiment, s3_bucket: str, tmp_path: Path) -> None:
    """The URL is all that the commands need."""
    url = experiment.archive("s3", bucket=s3_bucket, prefix="thesis/chapter 3")
    assert url == f"s3://{s3_bucket}/thesis/chapter 3"
    assert experiment.state == "archived"
    done = CliRunner().invoke(main, ["verify", url, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["rows"] == experiment.spans().collect().height
    done = CliRunner().invoke(main, ["restore", url, "--store", f"disk:{tmp_path / 'b'}"])
    assert done.exit_code == 0, done.output
    with pytest.raises(otr.ConfigurationError, match="is an archive already"):
        experiment.archive("s3", bucket=s3_bucket, prefix="thesis/chapter 3")


def test_one_flipped_byte_is_found(experiment: otr.Experiment, s3_bucket: str) -> None:
    """As in a folder."""
    url = experiment.archive("s3", bucket=s3_bucket, prefix="p")
    bucket = Bucket(s3_bucket, "p")
    content = bucket.get("spans/00000.parquet")
    assert content is not None
    bucket.put("spans/00000.parquet", content[:100] + bytes([content[100] ^ 1]) + content[101:])
    done = CliRunner().invoke(main, ["verify", url])
    assert done.exit_code == 1
    assert "spans/00000.parquet" in done.output


def test_a_server_killed_in_mid_upload_leaves_no_archive(
    experiment: otr.Experiment, own_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever object it dies: absent, and the experiment not archived; then, started again, complete."""
    own_server.make_bucket("kept")
    uploaded: list[str] = []
    put_file = Bucket.put_file

    def dying(self: Bucket, name: str, file: Path) -> None:
        if len(uploaded) == 4:
            own_server.kill()
        uploaded.append(name)
        put_file(self, name, file)

    monkeypatch.setattr(Bucket, "put_file", dying)
    monkeypatch.setattr("otel_research.store.objects._RETRY_SECONDS", 1)
    with pytest.raises(otr.StoreError, match="does not answer"):
        experiment.archive("s3", bucket="kept", prefix="p")
    assert experiment.state == "stopped"
    monkeypatch.setattr(Bucket, "put_file", put_file)
    own_server.start()
    from otel_research.archive.local import at

    with pytest.raises(ArchiveError, match="not a complete archive"), at("s3://kept/p"):
        pass
    url = experiment.archive("s3", bucket="kept", prefix="p")
    assert CliRunner().invoke(main, ["verify", url]).exit_code == 0


def test_what_is_refused(experiment: otr.Experiment, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bucket given, no such bucket, a wrong key: what, where, what to do."""
    with pytest.raises(otr.ConfigurationError, match="needs bucket="):
        experiment.archive("s3")
    with pytest.raises(otr.StoreError, match="no bucket 'not-there-at-all'"):
        experiment.archive("s3", bucket="not-there-at-all")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wr0ng")
    with pytest.raises(otr.StoreError, match="refuses the access key") as told:
        experiment.archive("s3", bucket=s3_bucket)
    assert "wr0ng" not in str(told.value)
    assert experiment.state == "stopped"
