"""An import into a store that does not answer says so, says what of the file is stored, and can be run again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from otlp_files import line, span, written
from tests.store.remotes import Remote

import otel_research as otr
from otel_research.cli import main
from otel_research.errors import StoreUnreachable
from otel_research.imports import intake
from otel_research.store.library import Library


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """A remote store, with what is local in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return Remote(tmp_path / "remote")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four spans, one a line."""
    return written(tmp_path / "run.jsonl", *(line(span(number)) for number in range(4)))


def test_away_from_the_beginning(remote: Remote, file: Path) -> None:
    """Nothing of the file is stored, and the message says so; the same import later brings all of it."""
    remote.cut_off()
    with pytest.raises(
        StoreUnreachable, match=r"does not answer.*run\.jsonl was not imported\. Nothing of it was stored"
    ):
        otr.import_spans(file, store=remote)
    remote.bring_back()
    assert remote.scan().collect().is_empty()
    assert Library(remote).find(include_hidden=True) == []
    (exp,) = otr.import_spans(file, store=remote)
    assert exp.spans().collect().height == 4


def test_gone_in_the_middle(remote: Remote, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored before stays, is said, and is not stored twice by the next import."""
    monkeypatch.setattr(intake, "BATCH", 1)
    append, sent = Remote.append, []

    def fail_once(self: Remote, batch: pa.RecordBatch, /) -> None:
        sent.append(batch.num_rows)
        if len(sent) == 3:
            raise StoreUnreachable("remote: does not answer.")
        append(self, batch)

    monkeypatch.setattr(Remote, "append", fail_once)
    with pytest.raises(StoreUnreachable, match=r"Some of its spans may be stored already: import it again"):
        otr.import_spans(file, store=remote)
    assert remote.scan().collect().height == 2
    (exp,) = otr.import_spans(file, store=remote)
    assert exp.spans().collect().height == exp.ledger().stored == 4
    assert exp.ledger().is_balanced


def test_the_command_says_the_same(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 and one clear sentence, no traceback."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["import", str(file), "--store", "postgresql://127.0.0.1:1/x"])
    assert done.exit_code == 2
    assert "Nothing of it was stored" in done.stderr
    assert "Traceback" not in done.stderr
