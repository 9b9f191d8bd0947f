"""What a newer version wrote is named and left alone: it never looks like an experiment without spans."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

import otel_research as otr
from otel_research.cli import main
from otel_research.errors import StoreError
from otel_research.journal.frame import preamble
from otel_research.journal.writer import this_writer
from otel_research.store.disk import DiskStore
from otel_research.store.library import Library
from otel_research.testing import recording

OWNER = "e" * 32
NAME = f"{this_writer().host}-999999999-abcd0123-000000"
"""Of a process that is gone."""
NEWER = b"otel-research/2 " + NAME.encode() + b"\n" + b"what only a later version understands" * 50


def segment_in(root: Path, content: bytes = NEWER, name: str = NAME) -> Path:
    path = root / OWNER / "journal" / f"{name}.wal"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    os.utime(path, (1, 1))
    return path


def test_a_segment_of_a_newer_format_is_named_and_kept(tmp_path: Path) -> None:
    """Reading, counting and sealing say which file and which version, and what to do; the file is as it was."""
    path = segment_in(tmp_path)
    store = DiskStore(tmp_path)
    for use in (
        lambda: store.scan(OWNER).collect(),
        lambda: store.counts(OWNER),
        lambda: store.seal(OWNER, is_over=True),
        lambda: list(store.since(OWNER, NAME.rpartition("-")[0], {})),
    ):
        with pytest.raises(StoreError, match=rf"{path} .*journal format 2, this version reads up to 1.*pip install -U"):
            use()
    assert path.read_bytes() == NEWER


def test_a_damaged_first_line_is_not_a_newer_format(tmp_path: Path) -> None:
    """Where frames of ours follow it, the digit is damage and the spans are read."""
    with recording(f"disk:{tmp_path}") as (_, provider):
        exp = otr.start_experiment("hurt")
        provider.get_tracer("x").start_span("s").end()
        (path,) = (tmp_path / exp.id / "journal").glob("*.wal")
        content = path.read_bytes()
        otr.stop_experiment(exp)
    assert content.startswith(preamble(path.stem))
    segment_in(tmp_path / "another", b"otel-research/3" + content[15:], path.stem)
    assert DiskStore(tmp_path / "another").scan(OWNER).collect()["name"].to_list() == ["s"]


def test_one_such_experiment_does_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The list shows it as it was left and logs why; opening it says the same."""
    url = f"disk:{tmp_path}"
    with recording(url), otr.experiment("readable") as readable:
        pass
    path = segment_in(tmp_path)
    record = json.loads((tmp_path / readable.id / "experiment.json").read_bytes())
    writer = {**record["environment"]["writer"], "process_start": 1}
    left = {**record, "id": OWNER, "name": "newer", "state": "running", "environment": {"writer": writer}}
    (tmp_path / OWNER / "experiment.json").write_text(json.dumps(left))
    with caplog.at_level(logging.WARNING):
        found = {one.name: one.state for one in Library(url).find()}
    assert found == {"readable": "stopped", "newer": "running"}
    assert str(path) in caplog.text
    with pytest.raises(StoreError, match="journal format 2"):
        Library(url).get(OWNER)


def test_a_copy_of_a_newer_segment_is_told_by_the_import(tmp_path: Path) -> None:
    """It is named as unreadable, not taken for a file of spans in a format that nobody knows."""
    path = segment_in(tmp_path / "copied")
    done = CliRunner().invoke(main, ["import", str(path), "--store", f"disk:{tmp_path / 'store'}", "--json"])
    assert "journal format 2" in done.output + done.stderr
    assert done.exit_code != 0 or json.loads(done.stdout)["experiments"] == []


def test_a_record_of_a_newer_format_that_does_not_even_decode(tmp_path: Path) -> None:
    """Fields may have changed their type: the version is asked first, and the file named."""
    with recording(f"disk:{tmp_path}"), otr.experiment("from the future") as exp:
        pass
    path = tmp_path / exp.id / "experiment.json"
    later = {**json.loads(path.read_bytes()), "format_version": 2, "name": {"text": "from the future"}}
    path.write_text(json.dumps(later))
    with pytest.raises(StoreError, match=rf"{path} .*newer otel-research \(format 2, this version reads up to 1\)"):
        Library(f"disk:{tmp_path}").get(exp.id)
    assert json.loads(path.read_bytes()) == later
