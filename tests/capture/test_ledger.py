"""The ledger is counted, not made to fit: it adds up where nothing is missing, and does not where something is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import otel_research as otr
from otel_research.testing import recording


def folder(host: Any, exp: otr.Experiment) -> Path:
    return Path(host.recorder.library.store.folder(exp.id))


def wal(host: Any, exp: otr.Experiment) -> Path:
    (path,) = (folder(host, exp) / "journal").glob("*.wal")
    return path


def hurt(path: Path, payload: bytes) -> None:
    """Flip a bit of the last place where the payload lies."""
    data = bytearray(path.read_bytes())
    at = data.rindex(payload)
    data[at] ^= 1
    with path.open("r+b") as file:
        file.write(data)


@pytest.mark.parametrize("starts", [True, False], ids=["starts", "no starts"])
@pytest.mark.parametrize("is_memory", [True, False], ids=["memory", "disk"])
def test_it_balances_at_every_moment(tmp_path: Path, *, starts: bool, is_memory: bool) -> None:
    """With spans open, ended, filtered, late and interrupted, with and without start records."""
    with recording("memory:" if is_memory else f"disk:{tmp_path}", starts=starts) as (recorder, provider):
        tracer = provider.get_tracer("x")
        exp = otr.start_experiment("counted", event_filter=lambda span: span.name != "noise")
        spans = [tracer.start_span(name) for name in ("kept", "noise", "late", "never")]
        running = exp.ledger()
        spans[0].end()
        spans[1].end()
        half, half_here = exp.ledger(), recorder.ledger()
        otr.stop_experiment(exp, timeout=0)
        stopped = exp.ledger()
        spans[2].end()
        recorder.ledger()
        exp._save_ledger()
        late, late_here = exp.ledger(), recorder.ledger()
        spans[3].end()
    assert (running.started, running.open, running.is_balanced) == (4, 4, True)
    for told in (half, half_here):
        assert (told.started, told.ended, told.open, told.stored, told.filtered) == (4, 2, 2, 1, 1)
        assert told.is_balanced
    assert (stopped.open, stopped.interrupted, stopped.is_balanced) == (0, 2, True)
    for told in (late, late_here):
        assert (told.started, told.ended, told.interrupted, told.late, told.is_balanced) == (4, 3, 1, 1, True)


def test_a_row_that_vanishes_unbalances_it(disk_host: Any) -> None:
    """Frames told of five ends; with four rows the ledger says that something is wrong."""
    with otr.experiment("vanished") as exp:
        for _ in range(5):
            disk_host.call()
    assert exp.ledger().is_balanced
    (parquet,) = (folder(disk_host, exp) / "parquet").glob("*.parquet")
    pl.read_parquet(parquet).head(4).write_parquet(parquet)
    assert not exp.ledger().is_balanced
    assert (exp.ledger().ended, exp.ledger().stored, exp.ledger().duplicates) == (5, 4, 0)


def test_a_start_that_is_not_counted_unbalances_it(disk_host: Any) -> None:
    """What has started is not what has ended and is open by definition: it is counted apart."""
    with otr.experiment("uncounted") as exp:
        disk_host.call()
        assert exp._capture is not None
        exp._capture.log.appended[3] += 1
        assert not disk_host.recorder.ledger().is_balanced
    assert not exp.ledger().is_balanced


@pytest.mark.parametrize("starts", [True, False], ids=["starts", "no starts"])
@pytest.mark.parametrize("is_read_first", [True, False], ids=["read before the stop", "read after the stop"])
def test_a_damaged_end_is_lost_and_counted(tmp_path: Path, *, starts: bool, is_read_first: bool) -> None:
    """By reason; its start is data, so it is a row of a span that never ended."""
    with recording(f"disk:{tmp_path}", starts=starts) as (recorder, provider):
        host = type("Host", (), {"recorder": recorder})
        tracer = provider.get_tracer("x")
        exp = otr.start_experiment("damaged")
        for name in ("first", "second", "third"):
            tracer.start_span(name).end()
        hurt(wal(host, exp), b"second")
        if is_read_first:
            assert exp.ledger().lost == {"damaged": 1}
            assert exp.ledger().is_balanced
        otr.stop_experiment(exp)
    ledger = exp.ledger()
    assert (ledger.started, ledger.ended, ledger.stored, dict(ledger.lost)) == (3, 3, 2, {"damaged": 1})
    assert ledger.is_balanced
    assert exp.spans().filter(pl.col("status") == "interrupted").collect().height == int(starts)


def test_a_folder_that_is_removed_while_spans_go_there(disk_host: Any) -> None:
    """What was in it is lost, what would have gone there too: all counted, the program goes on."""
    exp = otr.start_experiment("removed")
    for _ in range(5):
        disk_host.call()
    shutil.rmtree(folder(disk_host, exp))
    for _ in range(3):
        disk_host.call()
    otr.stop_experiment(exp)
    ledger = exp.ledger()
    assert (ledger.started, ledger.ended, ledger.stored, ledger.lost_total) == (8, 8, 0, 8)
    assert ledger.is_balanced


def test_a_removed_folder_is_noticed_while_the_experiment_runs(
    disk_host: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The background thread sees that the file it writes to is in no folder any more: it is counted and said."""
    exp = otr.start_experiment("removed")
    for _ in range(5):
        disk_host.call()
    shutil.rmtree(folder(disk_host, exp))
    disk_host.recorder.sync()
    assert dict(disk_host.recorder.ledger().lost) == {"removed": 5}
    assert disk_host.recorder.ledger().is_balanced
    disk_host.call()
    assert disk_host.recorder.ledger().lost_total == 6
    assert [record for record in caplog.records if "was removed" in record.message]
    otr.stop_experiment(exp)
    assert (exp.ledger().lost_total, exp.ledger().is_balanced) == (6, True)


def test_losses_of_a_child_that_leaves_at_once_are_counted(disk_host: Any, wait_for: Callable[[int], None]) -> None:
    """`os._exit` runs no exit handler and no background thread: what was lost by then is known all the same."""
    with otr.experiment("child") as exp:
        disk_host.call()
        child = os.fork()
        if child == 0:
            assert exp._capture is not None
            disk_host.call()
            span = disk_host.tracer.start_span("unlucky")
            exp._capture.end = lambda span, origin: 1 / 0  # type: ignore[method-assign, assignment, return-value]
            exp._capture.is_plain = False
            span.end()
            os._exit(0)
        wait_for(child)
    ledger = exp.ledger()
    assert (ledger.stored, dict(ledger.lost), ledger.is_balanced) == (2, {"error": 1}, True)


def test_a_process_that_dies_before_it_says_who_it_is(disk_host: Any) -> None:
    """A segment without its first frame belongs to the process in its name; a number that was given again is another."""
    from otel_research.journal.writer import this_writer
    from otel_research.store.presence import is_complete
    from otel_research.store.tail import SegmentFile

    here = this_writer()
    journal = disk_host.recorder.library.store.root / ("e" * 32) / "journal"
    journal.mkdir(parents=True)

    def left_by(pid: int, age: float = 10.0) -> SegmentFile:
        path = journal / f"{here.host}-{pid}-aa-000000.wal"
        path.write_bytes(bytes(4096))
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
        return SegmentFile(path, f"{here.host}-{pid}-aa", 0)

    assert is_complete(left_by(2**22 - 3))
    assert not is_complete(left_by(2**22 - 3, age=0.0)), "it may be about to say who it is"
    assert not is_complete(left_by(os.getpid(), age=-10.0))
    assert is_complete(left_by(os.getpid(), age=86_400 * 365))


def test_an_experiment_whose_process_died_before_its_first_frame_is_over(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """Killed between making a segment and saying whose it is: the experiment does not run for ever."""
    run = run_python(
        f"""
import os, signal
import otel_research as otr
from otel_research.journal import log
from otel_research.testing import recording
framed = log.framed
log.framed = lambda kind, *rest: os.kill(os.getpid(), signal.SIGKILL) if kind == 1 else framed(kind, *rest)
with recording("disk:{tmp_path}") as (_, provider):
    exp = otr.start_experiment("killed")
    print(exp.id, flush=True)
    provider.get_tracer("x").start_span("s").end()
"""
    )
    assert run.returncode == -9, run.stderr
    (segment,) = tmp_path.glob("*/journal/*.wal")
    os.utime(segment, (0, segment.stat().st_mtime - 10))
    with recording(f"disk:{tmp_path}"):
        found = otr.get_experiment(run.stdout.strip())
        assert (found.state, found.ended_by) == ("stopped", "crash")
        assert found.spans().collect().is_empty()
