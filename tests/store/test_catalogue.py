"""Records and annotations on disk, after a crash in the middle of one and with one that nobody can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import otel_research as otr
from otel_research.cli import main
from otel_research.errors import StoreError
from otel_research.store.catalogue import DiskCatalogue
from otel_research.testing import recording


@pytest.mark.parametrize("torn", [b'{"kind": "exclu', b'{"kind": "exclusion", "reason": "whole"}', b"\xff\xfe"])
def test_a_torn_annotation_costs_only_itself(disk_host: Any, torn: bytes) -> None:
    """The next one begins on a line of its own; one that only lacks its line break counts."""
    with otr.experiment("annotated") as exp:
        disk_host.call()
    exp.exclude("t1", reason="first")
    path = disk_host.recorder.library.store.folder(exp.id) / "annotations.jsonl"
    with path.open("ab") as file:
        file.write(torn)
    exp.exclude("t2", reason="second")
    exp.exclude("t3", reason="third")
    reasons = [note.get("reason") for note in exp.annotations()]
    assert [reason for reason in reasons if reason != "whole"] == ["first", "second", "third"]
    assert ("whole" in reasons) == torn.endswith(b"}")


@pytest.mark.parametrize("content", [b"", b"{", b'{"id": 5}', b'{"format_version": 99}'])
def test_an_unreadable_record_hides_only_itself(tmp_path: Path, content: bytes) -> None:
    """The others are listed; this one is named, by the list and by the doctor, and its own look-up says why."""
    with recording(f"disk:{tmp_path}") as (recorder, provider):
        with otr.experiment("readable"):
            provider.get_tracer("x").start_span("s").end()
        with otr.experiment("broken") as broken:
            pass
        record = recorder.library.store.folder(broken.id) / "experiment.json"
        if b"99" in content:
            content = json.dumps({**json.loads(record.read_bytes()), "format_version": 99}).encode()
        record.write_bytes(content)
        assert [exp.name for exp in otr.list_experiments()] == ["readable"]
        with pytest.raises(StoreError, match=str(record)):
            otr.get_experiment(broken.id)
    listed = CliRunner().invoke(main, ["ls", "--json", "--store", f"disk:{tmp_path}"])
    assert [each["name"] for each in json.loads(listed.stdout)] == ["readable"]
    assert str(record) in listed.stderr
    assert listed.exit_code == 0
    told = CliRunner().invoke(main, ["doctor", "--json", "--store", f"disk:{tmp_path}"])
    assert any(str(record) in finding["text"] for finding in json.loads(told.stdout)["findings"])


def test_a_damaged_ledger_is_named_and_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A crash or a disk has spoilt what one process counted: the others count, and it is said once which is missing."""
    catalogue = DiskCatalogue(tmp_path)
    for writer in ("a", "b", "c"):
        catalogue.put_ledger("e" * 32, writer, {"late": 1})
    for writer, data in (("b", b'{"late": '), ("c", b"[1]")):
        (tmp_path / ("e" * 32) / "ledger" / f"{writer}.json").write_bytes(data)
    for _ in range(2):
        assert catalogue.ledgers("e" * 32) == [{"late": 1}]
    assert [caplog.text.count(f"{writer}.json cannot be read") for writer in ("b", "c")] == [1, 1]
