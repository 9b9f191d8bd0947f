"""An archive holds an experiment whole, is sealed, and can be checked with nothing but itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner
from tests.archive.conftest import run
from tests.conftest import CALL

import otel_research as otr
from otel_research.archive import seal
from otel_research.archive.restore import restore
from otel_research.archive.results import differences
from otel_research.archive.verify import verify
from otel_research.cli import main
from otel_research.errors import ArchiveError
from otel_research.store.library import Library
from otel_research.testing import recording


def command(*words: str) -> Any:
    return CliRunner().invoke(main, [*words])


def test_everything_is_in_it(experiment: otr.Experiment) -> None:
    """Spans, record, design, environment, prices, ledger, annotations and results, readable without us."""
    folder = Path(experiment.archive(path="kept"))
    assert experiment.state == "archived"
    assert sorted(name for name, _ in seal.files_of(folder)) == [
        "annotations.jsonl", "design.json", "environment.json", "experiment.json", "ledger.json", "prices.json",
        "results.json", "spans/00000.parquet",
    ]  # fmt: skip
    read = {path.name: json.loads(path.read_bytes()) for path in folder.glob("*.json")}
    assert read["experiment.json"]["state"] == "archived"
    assert read["design.json"]["hypothesis"] == "b is faster"
    assert read["environment.json"]["python"]
    assert read["ledger.json"]["stored"] == pl.read_parquet(folder / "spans" / "*.parquet").height
    assert read["prices.json"]["models"][0]["rates"][0]["usd"]["input"]
    assert read["results.json"]["metrics per call"]["cost"]["total_usd"] > 0
    assert "a against b" in read["results.json"]
    assert experiment.environment["archives"][0]["place"] == str(folder)


def test_a_sound_archive_is_sound(experiment: otr.Experiment) -> None:
    """Every hash and every number is derived again, and nothing differs."""
    found = verify(Path(experiment.archive(path="kept")))
    assert found.problems == ()
    assert found.rows == experiment.spans().collect().height
    done = command("verify", "kept")
    assert done.exit_code == 0
    assert "sound" in done.output


def test_verified_in_a_fresh_environment(experiment: otr.Experiment, run_python: Callable[..., Any]) -> None:
    """Another process, without the store and without the network, says the same."""
    experiment.archive(path="kept")
    code = (
        "import socket, sys\n"
        "def refuse(*given, **named): raise OSError('no network here')\n"
        "socket.socket.connect = refuse\n"
        "from otel_research.cli import main; main(['verify', 'kept', '--json'])"
    )
    done = run_python(code, OTEL_RESEARCH_STORE="disk:nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["sound"] is True


def test_one_flipped_byte_is_found_and_its_file_named(experiment: otr.Experiment) -> None:
    """In any file, at its beginning, middle or end: exit 1, with that file's name."""
    folder = Path(experiment.archive(path="kept"))
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            done = command("verify", "kept", "--json")
            assert done.exit_code == 1, (path, place, done.output)
            problems = json.loads(done.output)["problems"]
            assert [problem["file"] for problem in problems] == [path.relative_to(folder).as_posix()]
        path.write_bytes(whole)
    assert command("verify", "kept").exit_code == 0


def test_a_missing_and_a_foreign_file_are_named(experiment: otr.Experiment) -> None:
    """What is gone and what was put in are told."""
    folder = Path(experiment.archive(path="kept"))
    (folder / "prices.json").unlink()
    (folder / "extra.txt").write_text("x")
    problems = verify(folder).problems
    assert [problem.file for problem in problems] == ["prices.json", "extra.txt"]


def test_numbers_that_do_not_follow_are_found(experiment: otr.Experiment) -> None:
    """Somebody improves a result and seals it again: the spans say otherwise."""
    folder = Path(experiment.archive(path="kept"))
    manifest = seal.manifest_of(folder)
    kept = json.loads((folder / "results.json").read_bytes())
    kept["metrics per call"]["latency"]["p50"] /= 2
    (folder / "results.json").write_bytes(seal.encoded(kept))
    seal.close(folder, manifest)
    (problem,) = verify(folder).problems
    assert problem.file == "results.json"
    assert "metrics per call.latency.p50" in problem.what
    # And a cheaper call: its cost does not follow from the kept prices.
    experiment.archive(path="again")
    folder = Path("again")
    path = folder / "spans" / "00000.parquet"
    cheaper = pl.read_parquet(path).with_columns(pl.col("cost_nano_usd") // 2)
    cheaper.write_parquet(path)
    seal.close(folder, seal.manifest_of(folder))
    assert any("cost_nano_usd" in problem.what for problem in verify(folder).problems)


def test_restored_it_is_the_same(experiment: otr.Experiment, tmp_path: Path) -> None:
    """Into another store: spans, record, annotations, numbers; again it changes nothing."""
    folder = Path(experiment.archive(path="kept"))
    target = f"disk:{tmp_path / 'another'}"
    for _ in range(2):
        done = command("restore", "kept", "--store", target, "--json")
        assert done.exit_code == 0, done.output
    library = Library(target)
    there = otr.Experiment(library.get(experiment.id), library)
    assert there.state == "archived"
    assert there.content_hash == experiment.content_hash
    assert there.environment["restored_from"] == str(Path("kept"))
    now, before = (otr.calculate_metrics(one).to_dict() for one in (there, experiment))
    assert list(differences(before, now)) == []
    assert [note["reason"] for note in there.annotations() if "reason" in note] == ["the network was down"]
    assert there.ledger().is_balanced
    assert verify(Path(there.archive(path="from there"))).is_sound
    assert verify(folder).is_sound


def test_a_damaged_archive_is_not_restored(experiment: otr.Experiment, tmp_path: Path) -> None:
    """Nothing of it reaches the store."""
    folder = Path(experiment.archive(path="kept"))
    (folder / "ledger.json").write_text("{}")
    library = Library(f"disk:{tmp_path / 'another'}")
    with pytest.raises(ArchiveError, match=r"ledger\.json was changed"):
        restore(folder, library)
    assert library.find(include_hidden=True) == []


def test_an_id_with_other_spans_is_not_mixed(experiment: otr.Experiment, tmp_path: Path) -> None:
    """The store keeps what it has under that id."""
    folder = Path(experiment.archive(path="kept"))
    library = Library(f"disk:{tmp_path / 'another'}")
    library.catalogue.put_experiment(experiment.record)
    with pytest.raises(otr.ConfigurationError, match="with other spans"):
        restore(folder, library)
    assert library.scan(experiment.id).collect().is_empty()


def test_a_checkpoint_of_a_running_experiment_is_consistent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs on; the checkpoint verifies, and so does the archive that follows."""
    monkeypatch.chdir(tmp_path)
    with recording() as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("long") as exp:
            for _ in range(5):
                tracer.start_span("s").end()
            first = verify(Path(exp.archive(path="checkpoint")))
            assert exp.state == "running"
            tracer.start_span("s").end()
        last = verify(Path(exp.archive(path="last")))
    assert (first.problems, last.problems) == ((), ())
    assert (first.rows, last.rows) == (5, 6)
    assert first.notes == ("a checkpoint: the experiment still ran",)


def test_erasing_a_session_leaves_a_record_and_a_new_seal(experiment: otr.Experiment) -> None:
    """Its traces are gone, by hash only it is said whose; the old seal is named, the new one verifies."""
    theirs = experiment.spans().filter(pl.col("session_id") == "two", pl.col("trial_id").is_not_null()).collect()
    otr.score("tone", 0.5, explanation="lives in Delft", trial=theirs["trial_id"][0], experiment=experiment)
    experiment.exclude({"item_id": "q999"}, reason="the person two was ill")
    experiment.exclude({"item_id": "q998"}, reason="stays")
    folder = Path(experiment.archive(path="kept"))
    before, rows = (folder / "SEAL").read_text().split("\n")[0], seal.manifest_of(folder).rows
    assert b"lives in" in (folder / "annotations.jsonl").read_bytes()
    done = command("erase", "kept", "--session", "two", "--reason", "asked for by the person", "--json")
    assert done.exit_code == 0, done.output
    found = verify(folder)
    assert found.problems == ()
    assert found.seal != before
    manifest = seal.manifest_of(folder)
    assert manifest.previous_seal == before
    assert manifest.rows == rows - json.loads(done.output)["rows"]
    assert manifest.erasures[0]["reason"] == "asked for by the person"
    spans = pl.read_parquet(folder / "spans" / "*.parquet")
    assert set(spans["session_id"].drop_nulls()) == {"one"}
    assert not any(b'"two"' in path.read_bytes() for path in folder.glob("*.json"))
    notes = (folder / "annotations.jsonl").read_bytes()
    assert (b"Delft" in notes, b"was ill" in notes, b"stays" in notes) == (False, False, True)
    assert command("verify", "kept").output.startswith("note: ")
    # Nobody of that name: nothing changes.
    assert json.loads(command("erase", "kept", "--user", "nobody", "--reason", "r", "--json").output)["rows"] == 0
    assert (folder / "SEAL").read_text().split("\n")[0] == found.seal


def test_erasing_a_user_takes_whole_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span names its user; what the user said stands in the trace's other spans too, and goes with it."""
    monkeypatch.chdir(tmp_path)
    with recording(f"disk:{tmp_path / 'store'}") as (_, provider), otr.experiment("of users") as exp:
        tracer = provider.get_tracer("app")
        for user in ("grace", "ben"):
            with tracer.start_as_current_span("turn", attributes={"text": f"I am {user}"}):
                tracer.start_span("chat", attributes={**CALL, "user.id": user}).end()
    folder = Path(exp.archive(path="kept"))
    assert (
        json.loads(command("erase", "kept", "--user", "grace", "--reason", "asked for", "--json").output)["rows"] == 2
    )
    found = verify(folder)
    assert (found.problems, found.rows) == ((), 2)
    assert not any(b"I am grace" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    spans = pl.read_parquet(folder / "spans" / "*.parquet")
    assert "grace" not in spans.write_json()
    assert "ben" in spans.write_json()
    (erasure,) = seal.manifest_of(folder).erasures
    assert "grace" not in erasure["what"]


def test_a_place_that_is_taken_or_closed_is_refused(experiment: otr.Experiment, tmp_path: Path) -> None:
    """What is there stays; the experiment is not called archived."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    with pytest.raises(otr.ConfigurationError, match="not empty"):
        experiment.archive(path="taken")
    with pytest.raises(ArchiveError, match="cannot write"):
        experiment.archive(path="/proc/no/such/place")
    with pytest.raises(otr.ConfigurationError, match="neither 'local' nor 's3'"):
        experiment.archive("tape")
    assert experiment.state == "stopped"
    assert os.listdir(tmp_path / "taken") == ["thesis.txt"]
    assert not list(tmp_path.glob(".*.tmp"))


def test_what_is_no_archive_is_said_so(tmp_path: Path, experiment: otr.Experiment) -> None:
    """A folder without a seal, no folder at all, and one of a newer format."""
    for words in (["verify", str(tmp_path)], ["verify", "nowhere"], ["restore", str(tmp_path)]):
        assert command(*words).exit_code == 2
    folder = Path(experiment.archive(path="kept"))
    seal.close(folder, msgspec.structs.replace(seal.manifest_of(folder), format_version=99))
    with pytest.raises(ArchiveError, match="newer otel-research"):
        verify(folder)


def test_the_default_place_is_named_after_it(experiment: otr.Experiment, tmp_path: Path) -> None:
    """In the working directory; archiving by command; then it may be deleted."""
    done = command("archive", experiment.id, "--store", f"disk:{tmp_path / 'store'}", "--json")
    assert json.loads(done.output)["archive"] == str(tmp_path / f"to-keep-{experiment.id[:8]}.archive")
    store = f"disk:{tmp_path / 'store'}"
    assert command("cleanup", experiment.id, "--keep-data", "--store", store).exit_code == 0
    assert command("cleanup", experiment.id, "--delete-data", "--store", store).exit_code == 0
    assert Library(store).find(include_hidden=True) == []


def test_an_empty_experiment_can_be_archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No rows is a fact too."""
    monkeypatch.chdir(tmp_path)
    with recording() as _, otr.experiment("empty") as exp:
        pass
    assert verify(Path(exp.archive())).problems == ()


def test_what_runs_is_not_deleted_without_an_archive(tmp_path: Path) -> None:
    """`cleanup --delete-data` of the only copy needs --force."""
    exp = run(store=f"disk:{tmp_path}")
    refused = command("cleanup", exp.id, "--delete-data", "--store", f"disk:{tmp_path}")
    assert refused.exit_code == 2
    assert "not archived" in refused.output


def test_what_one_handle_wrote_another_does_not_set_back(tmp_path: Path) -> None:
    """An archived experiment stays archived, and says where, when an older handle hides or archives it."""
    recorder = otr.configure(store="memory:")
    try:
        with otr.experiment("handles") as exp, exp.trial(item="a"):
            pass
        first = otr.get_experiment(exp.id).archive(path=tmp_path / "one")
        second = exp.archive(path=tmp_path / "two")
        other = otr.get_experiment(exp.id)
        exp.cleanup(keep_data=True)
        kept = otr.get_experiment(exp.id)
        assert (kept.state, kept.is_hidden) == ("archived", True)
        assert [one["place"] for one in kept.environment["archives"]] == [first, second]
        other.cleanup(keep_data=False)
    finally:
        recorder.close()
