"""`compare`, `anova`, `study`, `power`, `series`, `validate`: what they print, and their exit codes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from opentelemetry import trace

import otel_research as otr
from otel_research.cli import main
from otel_research.testing import recording

Run = Callable[..., Result]
ALL = ("compare", "anova", "study", "power", "series", "validate")
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with three experiments of 24 items: fast takes 0.6 times as long as slow, same as long as slow."""
    url = f"disk:{tmp_path_factory.mktemp('store')}"
    rng = random.Random(5)
    with recording(url) as (_, provider):
        tracer = provider.get_tracer("app")
        for name in ("one", "two", "three"):
            with otr.experiment(name, study="speed", seed=1) as exp:
                now = 1_760_000_000 * SECOND
                for item in range(24):
                    for condition, factor in (("slow", 1.0), ("fast", 0.6), ("same", 1.0)):
                        length = 0.1 * factor * rng.lognormvariate(0, 0.1)
                        with exp.arm(condition, factors={"speed": condition, "odd": item % 2 == 1}):
                            scope = otr.context.with_scope(exp._scope().having(trial_id="new", item_id=f"q{item}"))
                            made = exp.tracer.start_span(
                                "trial", context=scope, attributes={"experiment.row": "trial"}, start_time=now
                            )
                            inside = trace.set_span_in_context(made, scope)
                            call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"}
                            tokens = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": item}
                            span = tracer.start_span("chat", inside, attributes={**call, **tokens}, start_time=now)
                            now += round(length * SECOND)
                            span.end(now)
                            made.end(now)
                            now += SECOND
    return url


@pytest.fixture
def cli(full: str) -> Run:
    def invoke(*words: str, at: str | None = None) -> Result:
        return CliRunner().invoke(main, [*words, "--store", at or full], catch_exceptions=False)

    return invoke


@pytest.mark.parametrize("name", ALL)
def test_they_all_have_json_and_store(name: str) -> None:
    """Every command that prints has --json, and reads any store."""
    text = CliRunner().invoke(main, [name, "--help"]).output
    assert "--json" in text
    assert "--store" in text


def test_compare_exits_by_its_verdict(cli: Run) -> None:
    """0 better or equivalent, 1 worse, 3 inconclusive; the JSON is the result itself."""
    better = cli("compare", "one:slow", "one:fast", "--metric", "latency", "--json")
    plain = json.loads(better.output)
    assert (better.exit_code, plain["verdict"], plain["effects"]["latency"]["design"]) == (0, "better", "paired")
    assert cli("compare", "one:fast", "one:slow", "--metric", "latency").exit_code == 1
    assert cli("compare", "one:slow", "one:same", "--metric", "latency").exit_code == 3
    equal = cli("compare", "one:slow", "one:same", "--metric", "latency", "--equivalence", "15%", "--json")
    assert (equal.exit_code, json.loads(equal.output)["verdict"]) == (0, "equivalent")


def test_compare_prints_what_the_library_finds(cli: Run) -> None:
    """Verdict, n and interval in the text; with --methods the paragraph; several candidates are ranked."""
    text = cli("compare", "one:slow", "one:fast", "--methods").output
    assert "BETTER" in text
    assert "paired on shared items" in text
    several = json.loads(cli("compare", "one:slow", "one:same", "one:fast", "--metric", "latency", "--json").output)
    assert several["candidate"].endswith("fast]")
    assert several["tied_with_best"] == [several["candidate"]]
    assert len(several["others"]) == 1


def test_anova_of_one_experiment_and_of_several(cli: Run) -> None:
    """Factors come from the trials or tell experiments apart."""
    pytest.importorskip("statsmodels")
    found = json.loads(
        cli("anova", "one", "--factor", "speed", "--factor", "odd", "--transform", "log", "--json").output
    )
    assert found["terms"]["speed"]["p_value"] < 1e-6
    assert found["terms"]["odd"]["p_value"] > 0.001
    pooled = cli("anova", "one", "two", "--factor", "experiment", "--unit", "trial")
    assert pooled.exit_code == 0
    assert "experiment" in pooled.output


def test_study_pools_experiments_by_id_or_by_name(cli: Run) -> None:
    """The ids, or every experiment of a study."""
    pytest.importorskip("statsmodels")
    words = ("--baseline", "slow", "--candidate", "fast", "--json")
    by_id = json.loads(cli("study", "one", "two", "three", *words).output)
    by_name = json.loads(cli("study", "--name", "speed", *words).output)
    assert by_id == by_name
    assert by_id["outcomes"]["latency"]["significant"]
    assert -45 < by_id["outcomes"]["latency"]["effect"] < -35
    assert cli("study", "--name", "nothing", *words).exit_code == 2


def test_power_solves_for_what_is_left_out(cli: Run) -> None:
    """From numbers, or from a pilot with dollars and minutes."""
    pytest.importorskip("statsmodels")
    plain = json.loads(cli("power", "--effect", "0.5", "--design", "means", "--json").output)
    assert plain["n_per_condition"] == 64
    pilot = json.loads(cli("power", "--effect", "-0.1", "--pilot", "one:slow", "--json").output)
    assert pilot["minutes"] > 0
    assert pilot["n_per_condition"] > 2


def test_series_has_a_row_per_window(cli: Run) -> None:
    """As JSON a list of windows, as text a table; by a column one series each."""
    rows = json.loads(cli("series", "one", "--window", "10s", "--json").output)
    assert sum(row["count"] for row in rows) == 72
    assert rows[0]["window"].startswith("2025-10-09T08:53:20")
    by = json.loads(cli("series", "one", "--window", "1h", "--by", "condition", "--json").output)
    assert [row["condition"] for row in by] == ["fast", "same", "slow"]
    assert "p50" in cli("series", "one", "--window", "1m").output


def test_validate_fails_below_a_score(cli: Run) -> None:
    """Fine data exit 0; a gate on the score exits 1."""
    fine = cli("validate", "one", "--json")
    assert fine.exit_code == 0
    assert json.loads(fine.output)["data_quality_score"] > 50
    assert cli("validate", "one", "--min-score", "100.1").exit_code == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("compare", "one", "nobody"), 2, "no experiment 'nobody'"),
        (("compare", "one:slow", "one:quick"), 2, "no condition 'quick'"),
        (("compare", "one:slow", "one:fast", "--metric", "beauty"), 2, "'beauty'"),
        (("compare", "one:slow", "one:fast", "--equivalence", "much"), 2, "neither a number nor a share"),
        (("anova", "one", "--factor", "colour"), 3, "colour"),
        (("study",), 2, "no experiment was named"),
        (("study", "one", "--baseline", "slow", "--candidate", "fast"), 3, "at least 2"),
        (("power", "--effect", "-0.1"), 3, "pass sd="),
        (("series", "one", "--window", "soon"), 2, "window='soon'"),
        (("series", "one", "--metric", "beauty"), 2, "'beauty'"),
        (("validate", "nobody"), 2, "no experiment 'nobody'"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_line(cli: Run, words: tuple[str, ...], code: int, says: str) -> None:
    """2 for wrong use, 3 where the data cannot answer; never a traceback."""
    result = cli(*words)
    assert result.exit_code == code, result.output
    assert says in result.output + result.stderr
    assert "Traceback" not in result.output + result.stderr


def test_an_empty_experiment_is_no_answer(tmp_path: Path, cli: Run) -> None:
    """Code 3, and what is missing."""
    url = f"disk:{tmp_path}"
    with recording(url), otr.experiment("empty"):
        pass
    assert cli("validate", "empty", at=url).exit_code == 3
    assert cli("compare", "empty", "empty", at=url).exit_code == 3
    assert cli("series", "empty", at=url).exit_code == 3


@pytest.mark.parametrize(
    "words",
    [
        ("metrics", "one", "--by", "condition"),
        ("series", "one", "--window", "10s"),
        ("compare", "one:slow", "one:fast", "--metric", "latency"),
    ],
    ids=lambda words: words[0],
)
def test_another_engine_says_the_same(cli: Run, words: tuple[str, ...]) -> None:
    """`--engine duckdb` computes there, as the method says, and prints the same numbers; an unknown one is refused."""
    here, there = (cli(*words, "--json", *more) for more in ((), ("--engine", "duckdb")))
    assert here.exit_code == there.exit_code == 0
    if words[0] == "series":
        left, right = json.loads(here.output), json.loads(there.output)
        assert [row["count"] for row in left] == [row["count"] for row in right]
    else:
        assert "(duckdb " in there.output
        assert "(duckdb " not in here.output
    unknown = cli(*words, "--engine", "dask")
    assert unknown.exit_code == 2
    assert "engine='dask' is not an engine" in unknown.output
