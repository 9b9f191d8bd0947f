"""`ls`, `show`, `metrics` and `export`: what they print, and how they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

import otel_research as otr
from otel_research.cli import COMMANDS, main
from otel_research.testing import recording

Run = Callable[..., Result]
PRINTING = ("ls", "show", "metrics", "export", "doctor", "demo")


def test_help_lists_every_command_with_what_it_does() -> None:
    """The command's one line is in the group's help; the group's order is a session's."""
    lines = CliRunner().invoke(main, ["--help"]).output.splitlines()
    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]]
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize("name", PRINTING)
def test_every_command_that_prints_has_json(name: str) -> None:
    """--json is there."""
    assert "--json" in CliRunner().invoke(main, [name, "--help"]).output


def test_ls_lists_experiments_as_text_and_json(run: Run, experiment: otr.Experiment) -> None:
    """One line per experiment; JSON is a list with the whole id and state."""
    text = run("ls").output
    assert "prompts" in text
    assert experiment.id[:12] in text
    (listed,) = json.loads(run("ls", "--json").output)
    assert (listed["id"], listed["name"], listed["state"]) == (experiment.id, "prompts", "stopped")
    assert listed["tags"] == ["dataset:mmlu"]


@pytest.mark.parametrize(("filter_", "count"), [("dataset", 1), ("dataset:mmlu", 1), ("data", 0)])
def test_ls_filters_by_tag(run: Run, filter_: str, count: int) -> None:
    """A tag matches itself and those below it."""
    assert len(json.loads(run("ls", "--tag", filter_, "--json").output)) == count


def test_ls_of_an_empty_store_says_so(run: Run, tmp_path: Path) -> None:
    """No experiments is a sentence, and an empty list as JSON; looking creates nothing."""
    empty = f"disk:{tmp_path / 'empty'}"
    assert "No experiments in" in run("ls", at=empty).output
    assert json.loads(run("ls", "--json", at=empty).output) == []
    assert not (tmp_path / "empty").exists()


def test_show_counts_spans_per_condition(run: Run) -> None:
    """Declaration and counts; a trial is a span and each has one call and one score."""
    shown = json.loads(run("show", "prompts", "--json").output)
    assert shown["experiment"]["hypothesis"] == "short is faster"
    assert {name: counts["trials"] for name, counts in shown["conditions"].items()} == {"long": 4, "short": 4}
    assert shown["conditions"]["short"]["calls"] == 4
    text = run("show", "prompts").output
    assert "short is faster" in text
    assert "metadata.k" in text


@pytest.mark.parametrize("unit", ["call", "trial", "span"])
def test_metrics_prints_what_the_library_calculates(run: Run, experiment: otr.Experiment, unit: str) -> None:
    """The JSON is Metrics.to_dict() itself."""
    assert json.loads(run("metrics", "prompts", "--unit", unit, "--json").output) == json.loads(
        otr.calculate_metrics(experiment, unit=unit).to_json()
    )


def test_a_name_with_a_colon_is_a_name_too(run: Run, store: str) -> None:
    """ "prompts:long" is the condition of "prompts" as long as no experiment is called so."""
    assert json.loads(run("validate", "prompts:long", "--json").output)["total_events"] > 0
    with recording(store), otr.experiment("v2:long") as exp, exp.arm("x:y"), exp.trial(item=1):
        pass
    for text in ("v2:long", "v2:long:x:y", exp.id, f"{exp.id}:x:y"):
        assert json.loads(run("validate", text, "--json").output)["total_events"] == 1, text
    with recording(store), otr.experiment("prompts:long"):
        pass
    refused = run("validate", "prompts:long")
    assert refused.exit_code == 2
    assert "experiment 'prompts:long' or condition 'long' of 'prompts'" in refused.output


def test_metrics_of_one_condition(run: Run) -> None:
    """The same as where the rows are chosen by hand; a condition that no row has is an error that says which there are."""
    chosen = run("metrics", "prompts", "--where", "condition=long", "--unit", "trial", "--json").output
    asked = json.loads(run("metrics", "prompts:long", "--unit", "trial", "--json").output)
    assert asked["n"] == 4
    assert asked == json.loads(chosen)
    assert "prompts:long" in run("metrics", "prompts:long", "--unit", "trial").output
    for command in ("metrics", "series", "validate"):
        refused = run(command, "prompts:lnog")
        assert refused.exit_code == 2
        assert "'prompts' has no condition 'lnog'. Its conditions: long, short." in refused.output


def test_metrics_by_condition_has_one_block_each(run: Run) -> None:
    """One column per value; every number stands beside its n and unit."""
    blocks = json.loads(run("metrics", "prompts", "--by", "condition", "--unit", "trial", "--json").output)
    assert {name: block["n"] for name, block in blocks.items()} == {"long": 4, "short": 4}
    assert blocks["long"]["reliability"]["failures"] == 1
    text = run("metrics", "prompts", "--by", "condition", "--unit", "trial").output
    assert text.count("4 trials") == 2
    assert "rough: p99 needs 396 values" in text


def test_where_selects_rows_by_typed_values(run: Run) -> None:
    """A value has the column's type; nothing behind the equals sign means missing."""
    for tests, n in (
        (["condition=long"], 4),
        (["condition=long", "input_tokens=1000"], 4),
        (["input_tokens=999"], 0),
        (["is_call=true"], 8),
        (["condition="], 0),
    ):
        words = [word for test in tests for word in ("--where", test)]
        assert json.loads(run("metrics", "prompts", *words, "--json").output)["n"] == n


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_export_writes_what_the_library_writes(
    run: Run, experiment: otr.Experiment, tmp_path: Path, format_: str
) -> None:
    """The same bytes as otr.export."""
    told = json.loads(run("export", "prompts", "-f", format_, "-o", str(tmp_path / "a"), "--json").output)
    otr.export(experiment, format_, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert told == {"path": str(tmp_path / "a"), "format": format_, "bytes": (tmp_path / "a").stat().st_size}


def test_export_takes_columns_and_a_filter(run: Run, tmp_path: Path) -> None:
    """--columns in their order, --where as for metrics."""
    path = tmp_path / "x.csv"
    words = ["--columns", "condition, gen_ai.request.model", "--where", "condition=long", "--where", "is_call=true"]
    assert run("export", "prompts", "-o", str(path), *words).exit_code == 0
    assert pl.read_csv(path).rows() == [("long", "gpt-4o-mini")] * 4


def test_an_id_may_be_shortened(run: Run, experiment: otr.Experiment) -> None:
    """The whole id, its beginning and the name mean the same experiment."""
    shown = {run("show", word, "--json").output for word in (experiment.id, experiment.id[:6], "prompts")}
    assert len(shown) == 1


WRONG = [
    (("show", "nope"), "no experiment 'nope'"),
    (("show", "abc"), "no experiment 'abc'"),
    (("metrics", "prompts", "--unit", "trail"), "trail"),
    (("metrics", "prompts", "--by", "conditoin"), "conditoin"),
    (("metrics", "prompts", "--where", "condition"), "COLUMN=VALUE"),
    (("metrics", "prompts", "--where", "input_tokens=many"), "type int"),
    (("export", "prompts", "-f", "cvs"), "Did you mean 'csv'"),
    (("export", "prompts", "-o", "/nowhere/x.csv"), "'/nowhere/x.csv'"),
    (("export", "prompts", "--columns", "modle"), "'modle'"),
]


@pytest.mark.parametrize(
    ("words", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_wrong_use_is_one_line_and_exit_code_2(run: Run, words: tuple[str, ...], message: str) -> None:
    """The message goes to standard error, without a traceback; standard output stays empty."""
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_store_is_named(run: Run) -> None:
    """A folder without its scheme is a common slip: the message shows the right form."""
    result = run("ls", at="somewhere")
    assert result.exit_code == 2
    assert "disk:somewhere" in result.stderr


def test_the_store_comes_from_the_environment(store: str) -> None:
    """OTEL_RESEARCH_STORE is used where --store is not given."""
    result = CliRunner().invoke(main, ["ls", "--json"], env={"OTEL_RESEARCH_STORE": store})
    assert [one["name"] for one in json.loads(result.output)] == ["prompts"]
