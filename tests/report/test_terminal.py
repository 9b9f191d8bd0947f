"""Blocks of the terminal: what a person reads says no more and no less than the JSON."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

import otel_research as otr
from otel_research.experiments import ExperimentRecord
from otel_research.report import metrics, terminal
from otel_research.testing import recording

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
}


def shown(block: Any, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None)
    console.print(block)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """A finished run as `demo` reports it: two conditions, twelve items, one unpriced model, one failure."""
    with recording() as (recorder, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("run [bold]") as exp:
            for item in range(12):
                for condition, model in (("base", "gpt-4o-mini"), ("cand", "no-such-model-1")):
                    with exp.arm(condition), exp.trial(item=item) as trial:
                        with tracer.start_as_current_span("chat", attributes={**CALL, "gen_ai.request.model": model}):
                            pass
                        if item == 0 and condition == "cand":
                            trial.fail("no answer")
                        trial.score("accuracy", item % 2)
        arms = [exp.where({"condition": name}) for name in ("base", "cand")]
        by_condition = otr.metrics_by(exp, "condition", unit="trial")
        return {
            "ledger": recorder.ledger().to_dict(),
            "experiment": msgspec.to_builtins(exp.record),
            "conditions": {name: one.to_dict() for name, one in by_condition.items()},
            "comparison": otr.compare(*arms).to_dict(),
            "files": {"csv": "/out/run.csv", "store": "/out/a store"},
        }


def test_the_first_lines_answer_what_was_captured_and_lost(result: dict[str, Any]) -> None:
    """Name (as it is: no markup), id and state; captured and lost; n per condition, with its unit."""
    lines = shown(terminal.end_of_run(result)).splitlines()
    assert lines[0].startswith("run [bold]  ")
    assert result["experiment"]["id"] in lines[0]
    assert lines[1].startswith(f"captured {result['ledger']['stored']} spans · lost 0")
    assert lines[2] == "n: base 12 trials · cand 12 trials"


def test_losses_are_named_by_reason() -> None:
    """A loss is the loudest thing on the screen, and what was left out is there too."""
    text = terminal.captured({"stored": 1000, "lost": {"full": 3, "error": 1}, "late": 2, "filtered": 0})
    assert text.plain == "captured 1,000 spans · lost 4 (1 error, 3 full) · 2 late"


def test_a_run_without_a_span_ends_with_what_was_captured(result: dict[str, Any]) -> None:
    """No empty table, and no command to look at nothing with."""
    lines = shown(terminal.end_of_run(result | {"conditions": {}, "comparison": None})).splitlines()
    assert lines[1].startswith("captured")
    assert [line for line in lines[2:] if not line.startswith("observing")] == []


def test_unpriced_is_not_free(result: dict[str, Any]) -> None:
    """A priced condition has dollars, the other a dash, a count and the reason."""
    (line,) = [line for line in shown(terminal.end_of_run(result)).splitlines() if line.startswith("cost  ")]
    assert "0.00252 USD" in line
    assert "12 unpriced" in line
    assert "none of 12 calls has a price" in shown(terminal.end_of_run(result))


def test_every_estimate_stands_beside_its_interval(result: dict[str, Any]) -> None:
    """The numbers of the JSON, with four digits and their intervals."""
    rate = result["conditions"]["cand"]["reliability"]
    low, high = rate["ci"]["success_rate"]["low"], rate["ci"]["success_rate"]["high"]
    assert f"{rate['success_rate'] * 100:.4g} [{low * 100:.4g}, {high * 100:.4g}] %" in shown(
        terminal.end_of_run(result)
    )


def test_a_percentile_with_too_few_values_says_so(result: dict[str, Any]) -> None:
    """It is shown, marked, and the footnote says how many it needs."""
    text = shown(terminal.end_of_run(result))
    assert "rough: p99 needs 396 values to have an interval" in text
    assert "rough: p95 needs 76 values to have an interval" in text


def test_the_comparison_has_effect_test_size_and_verdict(result: dict[str, Any]) -> None:
    """Verdict, the estimand's test and the means' with their p, Cohen's d and n, as the JSON has them."""
    text = shown(terminal.end_of_run(result), width=220)
    comparison = result["comparison"]
    effect = comparison["effects"]["latency"]
    assert f"cand against base: {comparison['verdict'].upper()}" in text
    assert "unit trial" in text
    for test in (effect["test"], effect["tests"]["paired_t"]):
        p = test["p_adjusted"] if test["p_adjusted"] is not None else test["p_value"]
        assert f"{p:.2g} ({test['name'].replace('_', ' ')})" in text
    assert f"{abs(effect['effect_size']['cohens_d']):.4g}" in text
    assert "12 / 12" in text


def test_the_end_says_where_the_data_is_and_what_to_type(result: dict[str, Any]) -> None:
    """Paths, and three commands that name the experiment and its store, quoted for a shell."""
    text = shown(terminal.end_of_run(result))
    assert "/out/run.csv" in text
    commands = [line.strip() for line in text.splitlines() if line.strip().startswith("otel-research ")]
    assert len(commands) == 3
    assert all(result["experiment"]["id"][:12] in command for command in commands)
    assert all(command.endswith("--store 'disk:/out/a store'") for command in commands)


def test_a_section_that_is_switched_off_is_left_out(result: dict[str, Any]) -> None:
    """metrics={"cost": False} leaves None: no line, instead of a line of dashes."""
    blocks = {name: {**block, "cost": None, "tokens": None} for name, block in result["conditions"].items()}
    text = shown(terminal.metrics_block(result["experiment"], result["ledger"], blocks))
    assert "cost" not in text
    assert "tokens" not in text
    assert "latency p50" in text


def test_one_of_a_unit_is_singular() -> None:
    """1 trial, 2 trials; an expression's name stays as it is."""
    assert [metrics.plural("trial", n) for n in (0, 1, 2)] == ["trials", "trial", "trials"]
    assert metrics.plural("batch_id", 2) == "batch_id"


def test_a_narrow_terminal_loses_no_text(result: dict[str, Any]) -> None:
    """At 60 columns the same words are there, folded."""
    wide, narrow = shown(terminal.end_of_run(result)), shown(terminal.end_of_run(result), width=60)
    assert "…" not in narrow
    assert set("".join(wide.split())) == set("".join(narrow.split()))


def test_the_list_of_experiments() -> None:
    """A crash is visible, and so is how many there are."""
    record = ExperimentRecord(
        id="a" * 32,
        name="n[1]",
        state="stopped",
        ended_by="crash",
        started_ns=10**18,
        stopped_ns=10**18 + 1_500_000_000,
    )
    text = shown(terminal.experiments_table([record], "disk:/x"))
    assert "aaaaaaaaaaaa  n[1]" in text
    assert "stopped (crash)" in text
    assert "2001-09-09 01:46:40" in text
    assert "1.5 s" in text
    assert "1 experiment in disk:/x" in text


def test_a_warning_names_its_groups(result: dict[str, Any]) -> None:
    """With several columns a warning says which it is about; the same one is said once."""
    base, cand = result["conditions"].values()
    warn = {"code": "x", "severity": "warning", "text": "mind this", "value": None}
    both = {"base": {**base, "warnings": [warn]}, "cand": {**cand, "warnings": [warn]}}
    text = shown(terminal.metrics_block(result["experiment"], result["ledger"], both))
    assert text.count("mind this") == 1
    assert "! base, cand: mind this" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"agreement": 0.75, "votes": 12, "judge": None}, "agreement 0.75"),
        ({"votes": 12}, "votes 12"),
        ({"rate": None, "votes": 0}, "–¹"),
        (0.5, "0.5"),
        (None, "–¹"),
        ({"mean": 0.5, "count": 4}, "mean 0.5 (n 4)"),
    ],
)
def test_a_calculator_shows_its_numbers(result: dict[str, Any], value: Any, expected: str) -> None:
    """Rates and amounts; counts where there is nothing else; a dash where nothing could be said."""
    (block, _) = result["conditions"].values()
    blocks = {"all": {**block, "custom": {"mine": value}, "latency": None, "cost": None, "custom_ci": {}}}
    text = shown(terminal.metrics_block(result["experiment"], result["ledger"], blocks))
    (line,) = [line for line in text.splitlines() if line.startswith("mine")]
    assert line.split(None, 1)[1].strip() == expected


def test_a_command_to_copy_is_never_cut(
    result: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However narrow the terminal, the three commands stand whole, each in one line."""
    monkeypatch.setenv("COLUMNS", "40")
    terminal.show(terminal.end_of_run(result))
    commands = [line for line in capsys.readouterr().out.splitlines() if "otel-research" in line and "--store" in line]
    assert len(commands) == 3
    assert all(line.rstrip().endswith("--store 'disk:/out/a store'") for line in commands)


def test_worse_counts_its_interval_in_the_direction_of_the_word() -> None:
    """ "12 % worse [8, 16]": no minus sign that says worse a second time."""
    from otel_research.report.comparison import improvement_of

    effect = {"improvement_pct": -12.0, "estimand": "mean", "improvement_ci": {"low": -16.0, "high": -8.0}}
    assert improvement_of(effect) == "12 % worse [8, 16]"
    assert improvement_of({**effect, "improvement_pct": 12.0, "improvement_ci": {"low": -1.0, "high": 25.0}}) == (
        "12 % better [-1, 25]"
    )
    assert improvement_of({**effect, "improvement_ci": {"low": None, "high": -8.0}}) == "12 % worse [8, ∞]"


def test_the_end_of_a_run_says_once_what_the_next_one_should_say(result: dict[str, Any]) -> None:
    """Advice stands at the end of the block, in one place; a run that said everything gets none."""
    text = shown(terminal.end_of_run(result))
    assert text.count("no hypothesis was declared") == text.count("no sample size was declared") == 1
    said = result | {"experiment": result["experiment"] | {"hypothesis": "cand is faster", "sample_size": 12}}
    assert "Next time" in text
    assert "Next time" not in shown(terminal.end_of_run(said))
