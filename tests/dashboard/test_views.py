"""What the pages are made of: plain data, computed from the store without HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import polars as pl
import pytest
from stores import Made, Server

import otel_research as otr
from otel_research.analysis.subject import Subject
from otel_research.dashboard import curves, spans
from otel_research.dashboard.broadcast import SECTIONS as ASKED
from otel_research.dashboard.catalogue import Shelf
from otel_research.dashboard.overview import SECTIONS, View
from otel_research.dashboard.worker import Desk
from otel_research.errors import ConfigurationError
from otel_research.testing import rows


@pytest.fixture(scope="module")
def view(made: Made) -> View:
    return View(Desk(made.url).experiment(made.ids["ablation"]))


def same(found: Any, expected: Any) -> None:
    """Equal, but for the last bits of a float: Polars adds the rows of two plans up in two orders."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            same(found[name], expected[name])
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-12)
    else:
        assert found == expected


def test_every_section_is_json(view: View) -> None:
    """No NaN, no object: what `json` takes as it is; and the server asks for each of them."""
    assert tuple(SECTIONS) == ASKED
    for name in SECTIONS:
        json.dumps(view.section(name), allow_nan=False)


def test_metrics_are_those_of_the_library(view: View) -> None:
    """With and without intervals, per condition and in all."""
    for name, ci in (("metrics", False), ("intervals", True)):
        found = view.section(name)
        expected = otr.metrics_by(view.experiment, "condition", unit="trial", ci=ci)
        for part in found["conditions"]:
            same(part["metrics"], expected[part["condition"]].to_dict())
    assert view.section("quality") == otr.validate(view.experiment).to_dict()


def test_calls_without_a_price_are_counted_once_and_the_same(view: View) -> None:
    """The list of reasons is about the calls that the table counts: no excluded trial, no evaluation call."""
    found = view.section("models")
    counted = sum(part["metrics"]["cost"]["unpriced"] for part in found["models"])
    assert sum(row["calls"] for row in found["unpriced"]) == counted > 0


def test_the_distribution_is_exact_and_says_how_much_of_it_is_drawn() -> None:
    """Points of the curve are values of the sample with their share at or below; extremes are kept."""
    frame = rows(5000, condition=["a"] * 5000)
    frame = frame.with_columns(
        duration_ms=(pl.int_range(5000) * 7919 % 5000).cast(pl.Float64), is_call=pl.lit(value=True)
    )
    found = curves.curves(Subject(frame.lazy()), "call")
    (part,) = found["ecdf"]
    assert (part["n"], part["shown"]) == (5000, curves.STEPS)
    assert part["points"][0] == [0.0, 1 / 5000]
    assert part["points"][-1] == [4999.0, 1.0]
    assert all(share == (value + 1) / 5000 for value, share in part["points"])
    dots = found["points"]
    assert dots["of"] == 5000
    assert dots["shown"] == len(dots["rows"]) <= curves.POINTS
    slowest = {row[1] for row in dots["rows"]}
    assert {float(value) for value in range(4900, 5000)} <= slowest


def test_an_experiment_without_spans_gives_reasons_and_not_zeros(made: Made) -> None:
    """Every section of it, too."""
    empty = View(Desk(made.url).experiment(made.ids["empty"]))
    for name in SECTIONS:
        json.dumps(empty.section(name), allow_nan=False)
    assert "reason" in empty.section("curves")
    assert empty.section("metrics")["all"]["latency"]["p50"] is None


def test_a_trace_is_a_tree_whatever_its_parents_say(made: Made) -> None:
    """Children under parents; orphans and circles lose nobody."""
    made_rows = [
        {"span_id": "a", "parent_span_id": None},
        {"span_id": "b", "parent_span_id": "a"},
        {"span_id": "c", "parent_span_id": "missing"},
        {"span_id": "d", "parent_span_id": "e"},
        {"span_id": "e", "parent_span_id": "d"},
        {"span_id": "f", "parent_span_id": "f"},
        {"span_id": "g", "parent_span_id": "b"},
    ]
    ordered = [(row["span_id"], depth) for row, depth in spans._in_tree_order(made_rows)]
    assert sorted(name for name, _ in ordered) == list("abcdefg")
    assert ordered[:3] == [("a", 0), ("b", 1), ("g", 2)]
    depths = dict(ordered)
    assert (depths["c"], depths["f"]) == (0, 0)
    assert {depths["d"], depths["e"]} == {0, 1}


def test_a_megabyte_is_cut_and_says_so(made: Made) -> None:
    """The trace page gets the beginning and the length; the content tab what may be prose."""
    desk = Desk(made.url)
    exp = desk.experiment(made.ids["hostile"])
    chosen = exp.spans().filter(pl.col("role") == "call").select("trace_id").collect()["trace_id"][0]
    found = desk.trace(exp.id, chosen)
    (call,) = [span for span in found["spans"] if span["role"] == "call"]
    assert len(call["attributes"]["long"]) < 201_000
    assert "1,000,000 characters" in call["attributes"]["long"]
    assert "gen_ai.input.messages" in call["content"]
    assert "gen_ai.operation.name" not in call["content"]


def test_a_wrong_trace_is_named(made: Made) -> None:
    """Not a trace id; no such trace."""
    desk = Desk(made.url)
    for wrong in ("x", "0" * 32):
        with pytest.raises(ConfigurationError):
            desk.trace(made.ids["ablation"], wrong)


def test_the_list_searches_by_name_id_tag_study_and_state(made: Made) -> None:
    """Each alone and together; hierarchical tags as everywhere."""
    shelf = Shelf(made.url)

    def names(**asked: Any) -> list[str]:
        return [line["name"] for line in shelf.listed(**asked)]

    assert len(names()) == 6
    assert names(text="ABLATION") == ["prompt-ablation"]
    assert names(text=made.ids["empty"][:10]) == ["nothing yet"]
    assert len(names(tag="dataset")) == 4
    assert sorted(names(study="three labs")) == ["replication 0", "replication 1", "replication 2"]
    assert names(state="running") == []
    assert names(text="replication", tag="dataset:other") == []


def test_the_list_tells_what_was_captured_and_lost(made: Made) -> None:
    """From the record of one that is over, from the frames of one that runs."""
    exp = Desk(made.url).experiment(made.ids["ablation"])
    (line,) = Shelf(made.url).listed(text=exp.id)
    assert line["stored"] == exp.ledger().stored
    assert line["lost"] == 0


def test_frames_of_a_running_experiment_are_counted_once(disk_host: Any) -> None:
    """The list counts ends in the journal, without Polars, and only what is new."""
    with otr.experiment("counted") as exp:
        shelf = Shelf(exp.library.url)
        for expected in (0, 3, 6):
            (line,) = shelf.listed()
            assert (line["stored"], line["state"]) == (expected, "running")
            for _ in range(3):
                disk_host.call()


def test_the_server_never_loads_polars(server: Server, made: Made) -> None:
    """Imports of the server's process: no Polars, no pyarrow, no numpy; that is what keeps it small."""
    code = (
        "import sys; from otel_research.dashboard.server import Serving; from otel_research.dashboard.app import Dashboard;"
        f"d = Dashboard({made.url!r}); d.shelf.listed(); "
        "print([n for n in ('polars', 'pyarrow', 'numpy', 'scipy', 'genai_prices', 'rich') if n in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    assert run.stdout.strip() == "[]"


def test_the_server_stays_small_and_its_workers_leave(server: Server, made: Made) -> None:
    """Under 100 MB after serving; what computes is a process of its own."""
    import psutil

    process = psutil.Process(server.process.pid)
    assert process.memory_info().rss < 100_000_000
