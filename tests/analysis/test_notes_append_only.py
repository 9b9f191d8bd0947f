"""What is said after the run is added, with author and time; what was there keeps its bytes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import otel_research as otr


@pytest.fixture
def stopped(tmp_path: Path):
    """A stopped experiment of four trials on disk, and its folder."""
    recorder = otr.configure(store=f"disk:{tmp_path}/store")
    try:
        with otr.experiment("notes") as exp:
            for item in "abcd":
                with exp.trial(item=item):
                    pass
        yield exp, tmp_path / "store" / exp.id
    finally:
        recorder.close()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_scores_exclusions_and_looks_after_the_run_only_append(stopped) -> None:
    """Every file of the experiment begins with the bytes it had; each note has an author and a time."""
    exp, folder = stopped
    trials = exp.trials().collect()["trial_id"].to_list()
    notes = [
        lambda: otr.score("accuracy", 1.0, trial=trials[0], experiment=exp),
        lambda: otr.score("accuracy", 0.0, trial=trials[0], experiment=exp),
        lambda: exp.exclude(trials[1], reason="the harness was warming up"),
        lambda: exp.exclude({"item_id": "c"}, reason="a question without an answer"),
    ]
    began = time.time_ns()
    for count, write in enumerate(notes, start=1):
        before = files(folder)
        write()
        after = files(folder)
        for name, old in before.items():
            assert after[name].startswith(old), name
        assert after["annotations.jsonl"] != before.get("annotations.jsonl")
        found = exp.annotations()
        assert len(found) == count
        assert found[-1]["author"]
        assert began <= found[-1]["time_ns"] <= time.time_ns()


def test_a_correction_leaves_the_first_word_in_the_record(stopped) -> None:
    """The last score of a name counts, and the earlier one can still be read."""
    exp, _ = stopped
    trial = exp.trials().collect()["trial_id"][0]
    otr.score("accuracy", 0.0, trial=trial, experiment=exp)
    otr.score("accuracy", 1.0, trial=trial, experiment=exp)
    assert [note["value"] for note in exp.annotations() if note["kind"] == "score"] == [0.0, 1.0]


def test_excluded_trials_stay_in_the_data(stopped) -> None:
    """An exclusion takes a trial out of the numbers, not out of the files."""
    exp, _ = stopped
    rows = exp.spans().collect().height
    exp.exclude({"item_id": "c"}, reason="a question without an answer")
    assert exp.spans().collect().height == rows
    assert exp.metrics(unit="trial").n == 3
