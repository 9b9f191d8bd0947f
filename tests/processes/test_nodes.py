"""Nodes without shared storage: separate stores, merged; in any order, again, and while a process still writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from figures import figures
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr
from otel_research.cli import main
from otel_research.handle import Experiment
from otel_research.imports.door import import_files
from otel_research.spans.schema import IDENTITY
from otel_research.store.library import Library
from otel_research.testing import recording

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.once  # files of several nodes, merged

NODE = """
number = int(sys.argv[1])
otr.configure()
for index in range(40):
    start = 1_700_000_000_000_000_000 + (number * 40 + index) * 1_000_000
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 100 * number + index, "gen_ai.usage.output_tokens": 5,
    }
    tracer.start_span("chat", start_time=start, attributes=attributes).end(start + 1000 * (number + 1) * (index + 1))
if len(sys.argv) > 2:
    tracer.start_span("never ends")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def experiment(store: str, experiment_id: str) -> Experiment:
    library = Library(store)
    return Experiment(library.get(experiment_id), library)


def merged(target: Path, *copies: Path) -> Library:
    library = Library(f"disk:{target}")
    reports = import_files([str(copy) for copy in copies], library)
    assert [report.problems for report in reports] == [()] * len(copies)
    return library


def state(library: Library, experiment_id: str) -> Any:
    """What a merged experiment says of itself."""
    exp = Experiment(library.get(experiment_id), library)
    rows = exp.spans().sort(IDENTITY).drop("last_seen_ns").collect().rows()
    told = sorted((name, json.dumps(one.to_dict(), sort_keys=True)) for name, one in exp.ledgers().items())
    record = (exp.name, exp.state, exp.ended_by, exp.content_hash, exp.condition)
    return rows, exp.ledger(), told, record, exp.annotations()


def test_two_nodes_of_which_one_process_is_killed(tmp_path: Path, start: Start) -> None:
    """The second node has a store of its own; merged, in either order, the numbers are those of one place."""
    with recording(f"disk:{tmp_path / 'a'}") as (_, _provider):
        exp = otr.start_experiment("two nodes", condition="c")
        told = {"OTEL_RESEARCH_EXPERIMENT_ID": exp.id, "OTEL_RESEARCH_CONDITION": "c"}
        on = {"a": dict(told), "b": {**told, "OTEL_RESEARCH_EXPERIMENT": "two nodes"}}
        workers = {
            number: start(
                NODE, str(number), *(["kill"] if number == 3 else []), **on["ab"[number % 2]],
                OTEL_RESEARCH_STORE=f"disk:{tmp_path / 'ab'[number % 2]}",
            )
            for number in range(4)
        }  # fmt: skip
        for number, worker in workers.items():
            _, err = worker.communicate(timeout=60)
            assert worker.returncode == (-signal.SIGKILL if number == 3 else 0), err
        otr.stop_experiment(exp)
        alone = otr.start_experiment("one place", condition="c")
        exec(NODE.split("otr.configure()")[1].split("if len")[0].replace("number", "0"), _names(_provider, 0))
        for number in (1, 2, 3):
            exec(NODE.split("otr.configure()")[1].split("if len")[0], _names(_provider, number))
        otr.stop_experiment(alone)
        expected = figures({**alone.metrics().to_dict(), "estimand": None})
    states = []
    for order in (("a", "b"), ("b", "a")):
        library = merged(tmp_path / "".join(order), *(tmp_path / node for node in order))
        both = Experiment(library.get(exp.id), library)
        assert figures({**both.metrics().to_dict(), "estimand": None}) == expected
        ledger = both.ledger()
        assert ledger.is_balanced
        assert (ledger.started, ledger.ended, ledger.interrupted, ledger.stored) == (161, 160, 1, 160)
        processes = sorted((one.ended, one.interrupted) for one in both.ledgers().values() if one.started)
        assert processes == [(40, 0)] * 3 + [(40, 1)]
        states.append(state(library, exp.id))
        # Again, and the other's result into this one: nothing changes.
        merged(tmp_path / "".join(order), tmp_path / "b", tmp_path / "a", tmp_path / "b")
        assert state(library, exp.id) == states[-1]
    assert states[0] == states[1]
    assert (both.state, both.ended_by, both.name) == ("stopped", "user", "two nodes")


def _names(provider: TracerProvider, number: int) -> dict[str, Any]:
    return {"tracer": provider.get_tracer("app"), "number": number}


@pytest.fixture
def many(tmp_path: Path) -> tuple[str, list[Path]]:
    """An experiment of one process in several segments, one of them with a span that ends in a later one."""
    with recording(f"disk:{tmp_path / 'many'}") as (recorder, provider):
        tracer = provider.get_tracer("app")
        exp = otr.start_experiment("many")
        across = tracer.start_span("across")
        taken = []
        for number in range(3):
            for index in range(20):
                tracer.start_span(f"{number}-{index}").end()
            if number == 1:
                across.end()
            recorder.captures[exp.id].log.roll()
        recorder.sync()
        for path in sorted((tmp_path / "many" / exp.id / "journal").glob("*.wal")):
            taken.append(Path(shutil.copy(path, tmp_path / f"copy of {path.name}")))
        otr.stop_experiment(exp)
    return exp.id, taken


def test_segments_in_any_order(tmp_path: Path, many: tuple[str, list[Path]]) -> None:
    """Loose segments, also renamed ones: rows and ledger are the same in every order, and again."""
    experiment_id, segments = many
    assert len(segments) == 3
    found = []
    orders = [[segments[n] for n in order] for order in ((0, 2, 1), (2, 1, 0), (1, 0, 2))]
    for number, order in enumerate(orders):
        library = merged(tmp_path / f"order {number}", *order, order[0])
        rows, ledger, *_ = state(library, experiment_id)
        assert (len(rows), ledger.stored, ledger.interrupted, ledger.is_balanced) == (61, 61, 0, True)
        assert (ledger.started, library.get(experiment_id).name) == (61, "many")
        found.append(rows)
    assert all(rows == found[0] for rows in found)


def test_a_copy_of_a_live_process_is_overtaken(tmp_path: Path, start: Start, store: str) -> None:
    """Copies taken while a process writes hold what was there; a later one brings the rest, an earlier one no harm."""
    process = start(
        """
        exp = otr.start_experiment("live")
        print(exp.id, flush=True)
        for number in range(3):
            call(f"call {number}")
            print("ready", flush=True)
            sys.stdin.readline()
        """
    )
    assert process.stdout is not None
    assert process.stdin is not None
    experiment_id = process.stdout.readline().strip()
    copies = []
    for number in range(3):
        assert process.stdout.readline() == "ready\n"
        copies.append(tmp_path / f"copy {number}")
        shutil.copytree(Path(store.removeprefix("disk:")) / experiment_id, copies[-1])
        process.stdin.write("\n")
        process.stdin.flush()
    process.communicate(timeout=30)
    last = tmp_path / "copy 3"
    shutil.copytree(Path(store.removeprefix("disk:")) / experiment_id, last)
    library = Library(f"disk:{tmp_path / 'home'}")
    for copy, rows in ((copies[1], 2), (copies[0], 2), (copies[2], 3), (last, 3), (copies[1], 3)):
        import_files([str(copy)], library)
        assert library.scan(experiment_id).collect().height == rows
    assert library.get(experiment_id).state == "stopped"
    found = state(library, experiment_id)
    assert found[1].is_balanced
    assert (found[1].stored, found[1].interrupted) == (3, 0)
    straight = merged(tmp_path / "straight", last)
    assert state(straight, experiment_id)[:2] == found[:2]


def test_annotations_of_all_nodes_are_kept(tmp_path: Path, disk_host: Any) -> None:
    """Exclusions and scores made on different nodes are all there, once, in the order of their time."""
    with otr.experiment("noted") as exp, exp.trial(item="q"):
        pass
    source = Path(disk_host.recorder.library.store.root) / exp.id
    for node in "xy":
        shutil.copytree(source, tmp_path / node)
    for node, time_ns in (("x", 2), ("y", 1)):
        with (tmp_path / node / "annotations.jsonl").open("a") as file:
            file.write(json.dumps({"kind": "amendment", "time_ns": time_ns, "node": node}) + "\n")
    library = merged(tmp_path / "home", tmp_path / "x", tmp_path / "y", tmp_path / "x")
    assert [note["node"] for note in library.catalogue.annotations(exp.id)] == ["y", "x"]


def test_the_command_merges_folders_and_segments(tmp_path: Path, many: tuple[str, list[Path]]) -> None:
    """`otel-research import FOLDER segment.wal`: what came, of which experiment, how much of it new."""
    experiment_id, segments = many
    home = f"disk:{tmp_path / 'home'}"
    arguments = ["import", str(segments[0]), str(tmp_path / "many"), "--store", home, "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["experiments"]
    assert [(entry["id"], entry["name"], entry["spans"], entry["new"]) for entry in told] == [
        (experiment_id, "many", 21 - 1, 20), (experiment_id, "many", 61, 41),
    ]  # fmt: skip
    ledger = experiment(home, experiment_id).ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (61, 0, True)


def test_what_cannot_be_merged(tmp_path: Path, many: tuple[str, list[Path]]) -> None:
    """A folder that is no copy, a copy that lacks a file, an archived target, a store without folders: told, no harm."""
    experiment_id, segments = many
    home = Library(f"disk:{tmp_path / 'home'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(otr.ConfigurationError, match="empty"):
        import_files([str(segments[0]), str(tmp_path / "empty")], home)
    assert not (tmp_path / "home").exists()
    broken = tmp_path / "broken"
    shutil.copytree(tmp_path / "many" / experiment_id, broken)
    next(iter((broken / "parquet").glob("*.parquet"))).unlink()
    (report,) = import_files([str(broken)], home)
    assert "the copy is not whole" in report.problems[0].reason
    assert home.scan(experiment_id).collect().height == 0
    merged(tmp_path / "home", segments[0])
    with pytest.raises(otr.ConfigurationError, match="disk store"):
        import_files([str(segments[0])], Library("memory:"))
    exp = Experiment(home.get(experiment_id), home)
    exp._replace(state="archived")
    (report,) = import_files([str(segments[1])], home)
    assert "archived" in report.problems[0].reason
    assert home.scan(experiment_id).select(pl.len()).collect().item() == 20


def test_a_damaged_segment_gives_what_is_whole(tmp_path: Path, many: tuple[str, list[Path]]) -> None:
    """Bytes that were overwritten in a copy cost the frames they hit; the undamaged copy brings those back."""
    experiment_id, segments = many
    damaged = tmp_path / "damaged.wal"
    data = bytearray(segments[2].read_bytes())
    middle = data.find(b"2-10")
    data[middle : middle + 2] = b"\0\0"
    damaged.write_bytes(data)
    library = merged(tmp_path / "home", damaged)
    assert library.scan(experiment_id).collect().height < 20 + 1
    merged(tmp_path / "home", segments[2])
    assert library.scan(experiment_id).filter(pl.col("status") != "interrupted").collect().height == 20
    assert os.listdir(tmp_path / "home") == [experiment_id]
