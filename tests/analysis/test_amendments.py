"""A plan that is changed after data came is changed in the open: the declaration stays, and results say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from frames import Rows

import otel_research as otr
from otel_research.analysis.interim import interim
from otel_research.analysis.subject import Subject
from otel_research.cli import main
from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord
from otel_research.store.library import Library


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[otr.Experiment]:
    """A stopped experiment that declared its plan: two conditions, four trials each."""
    recorder = otr.configure(store=f"disk:{tmp_path}/store")
    try:
        with otr.experiment("plan", hypothesis="b is faster", sample_size=4, primary="latency") as exp:
            for item in range(4):
                for condition in "ab":
                    with exp.arm(condition), exp.trial(item=item):
                        time.sleep(0.001)
        yield exp
    finally:
        recorder.close()


def compared(exp: otr.Experiment) -> otr.Comparison:
    return otr.compare(exp.where({"condition": "a"}), exp.where({"condition": "b"}))


def test_an_amendment_is_a_note_beside_the_declaration(stopped: otr.Experiment) -> None:
    """It has what was declared, what is said now, why, who, when and after how many trials; the record keeps its bytes."""
    folder = Path(str(stopped.library.url).removeprefix("disk:")) / stopped.id
    before, began = (folder / "experiment.json").read_bytes(), time.time_ns()
    stopped.amend(sample_size=200, hypothesis="b is faster, by 5 %", reason="the pilot varied more than planned")
    assert (folder / "experiment.json").read_bytes() == before
    note = stopped.annotations()[-1]
    assert note["kind"] == "amendment"
    assert note["changes"] == {
        "hypothesis": ["b is faster", "b is faster, by 5 %"],
        "sample_size": [4, 200],
    }
    assert (note["reason"], note["trials"]) == ("the pilot varied more than planned", 8)
    assert note["author"]
    assert began <= note["time_ns"] <= time.time_ns()
    assert (stopped.hypothesis, stopped.sample_size) == ("b is faster", 4)


def test_a_second_amendment_leaves_the_first(stopped: otr.Experiment) -> None:
    """The trail has every word in its order."""
    stopped.amend(sample_size=200, reason="too few")
    stopped.amend(sample_size=100, reason="no money")
    assert [note["changes"]["sample_size"] for note in stopped.annotations()] == [[4, 200], [200, 100]]


def test_results_say_that_the_plan_was_amended_and_what_was_excluded(stopped: otr.Experiment, tmp_path: Path) -> None:
    """The comparison's checks, summary and methods paragraph, and the report."""
    assert "amended" not in {check.name for check in compared(stopped).checks}
    stopped.amend(hypothesis="b is slower", reason="we looked")
    stopped.exclude({"item_id": "3"}, reason="the network was down")
    found = compared(stopped)
    told = {check.name: check.text for check in found.checks}
    assert "hypothesis b is faster -> b is slower (we looked)" in told["amended"]
    assert "after 8 trials" in told["amended"]
    assert told["exclusions"] == "excluded were item_id=3: the network was down"
    for text in (found.summary(), found.methods, stopped.report(tmp_path / "r.md").read_text()):
        assert "the plan was amended" in text.lower()
        assert "b is slower (we looked)" in text
        assert "the network was down" in text


def test_a_raised_n_withholds_the_p_value_and_a_lowered_one_does_not_give_it(stopped: otr.Experiment) -> None:
    """Looking at the data buys nothing."""
    assert compared(stopped).statistical_test.p_value is not None
    stopped.amend(sample_size=2, reason="enough")
    assert compared(stopped).statistical_test.p_value is not None
    stopped.amend(sample_size=200, reason="more")
    stopped.amend(sample_size=4, reason="we have it already")
    assert compared(stopped).statistical_test.p_value is None


def test_nothing_else_rewrites_a_declaration(stopped: otr.Experiment, tmp_path: Path) -> None:
    """Resuming with another plan is refused, attributes cannot be set, and no command takes a declaration."""
    with pytest.raises(ConfigurationError, match=r"exp\.amend"):
        otr.start_experiment("plan", sample_size=40, resume=True)
    with pytest.raises(ConfigurationError, match=r"exp\.amend"):
        otr.start_experiment("plan", hypothesis="b is slower", resume=True)
    with pytest.raises(AttributeError):
        stopped.record.sample_size = 40  # type: ignore[misc]
    resumed = otr.start_experiment("plan", resume=True)
    otr.stop_experiment(resumed)
    assert (resumed.hypothesis, resumed.sample_size, resumed.primary) == ("b is faster", 4, ("latency",))
    for command in main.list_commands(None):  # type: ignore[arg-type]
        words = CliRunner().invoke(main, [command, "--help"]).output
        assert not {"--hypothesis", "--sample-size", "--primary"} & set(words.split()), command
    assert Library(f"disk:{tmp_path}/store").get(stopped.id).sample_size == 4


@pytest.mark.parametrize(
    "given",
    [
        {"reason": " ", "sample_size": 9},
        {"reason": "r"},
        {"reason": "r", "sample_size": 4},
        {"reason": "r", "sample_size": -1},
    ],
)
def test_an_amendment_says_something_and_why(stopped: otr.Experiment, given: dict[str, object]) -> None:
    """Without a reason or without a change there is nothing to keep."""
    with pytest.raises(ConfigurationError):
        stopped.amend(**given)  # type: ignore[arg-type]
    assert list(stopped.annotations()) == []


def test_alpha_that_was_spent_before_the_n_was_amended_stays_spent() -> None:
    """A look at half of the first n counts against those at the second."""
    rng = np.random.default_rng(0)
    rows = Rows()
    for item in range(100):
        for condition in "ab":
            rows.trial(float(rng.lognormal(5, 0.4)), condition=condition, item_id=f"{condition}{item}")

    def look(*notes: dict[str, object]) -> otr.Interim:
        record = ExperimentRecord(id="e" * 32, name="run", sample_size=125)
        subject = Subject(rows.frame(), record, annotations=notes)
        return interim(subject.where({"condition": "a"}), subject.where({"condition": "b"}), metric="latency")

    first = look()
    amended = {"kind": "amendment", "changes": {"sample_size": [125, 200]}}
    fresh, second = look(amended), look(first.note(), amended)
    assert (first.declared_n, second.declared_n, second.fraction) == (125, 200, 0.5)
    assert first.spent == pytest.approx(0.0244, abs=1e-3)  # 2 (1 - Phi(1.96 / sqrt(0.8)))
    assert second.boundary > fresh.boundary  # type: ignore[operator]
    assert second.spent > first.spent  # type: ignore[operator]
