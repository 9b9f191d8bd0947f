from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from otel_research.demo.experiment import BASELINE, CANDIDATE, SINGLE, VOTERS, run_demo
from otel_research.errors import ConfigurationError

TRIALS = 40
RUN = """
import json, sys
from pathlib import Path
from otel_research.demo import client
from otel_research.demo.experiment import run_demo
client.INSTRUMENTATIONS = client.INSTRUMENTATIONS[int(sys.argv[4]):]
print(json.dumps(run_demo(Path(sys.argv[1]), trials=int(sys.argv[2]), seed=int(sys.argv[3])), allow_nan=False))
"""


class Ran(NamedTuple):
    result: dict[str, Any]
    stderr: str
    spans: pl.DataFrame


def run(out: Path, trials: int, seed: int, *, without: int = 0) -> Ran:
    """The demo in a process of its own, because it sets that process's tracer provider.

    `without` leaves out so many of the instrumentations, the preferred one first.
    """
    arguments = [str(out), str(trials), str(seed), str(without)]
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    return Ran(result, done.stderr, pl.read_parquet(result["files"]["parquet"]))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("demo"), TRIALS, seed=0)


def test_the_server_counted_the_same(ran: Ran) -> None:
    """Calls, failures and every token of the experiment equal the server's own ledger."""
    assert ran.result["check"]["agrees"] is True
    for name, pair in ran.result["check"].items():
        assert name == "agrees" or pair["server"] == pair["experiment"], name
    assert ran.result["check"]["calls"]["server"] == TRIALS // 2 * (1 + len(VOTERS))


def test_everything_was_captured(ran: Ran) -> None:
    """No span is lost, and every stored one is in the export once."""
    ledger = ran.result["ledger"]
    assert sum(ledger["lost"].values()) == 0
    assert ledger["started"] == ledger["ended"] == ledger["stored"] == ran.spans.height
    assert ran.spans.select("trace_id", "span_id").n_unique() == ran.spans.height


def test_the_spans_are_a_real_instrumentations(ran: Ran) -> None:
    """The model calls come from the instrumentation's scope, not from ours, and each has its trial."""
    calls = ran.spans.filter("is_call")
    assert set(calls["scope"]) <= {"opentelemetry.instrumentation.genai.openai", "openinference.instrumentation.openai"}
    assert calls["trial_id"].null_count() == 0
    assert set(calls.filter(condition=BASELINE)["request_model"]) == {SINGLE}
    assert set(calls.filter(condition=CANDIDATE)["request_model"]) == set(VOTERS)
    assert calls.filter(status="ok").null_count()["cost_usd"].item() == 0


def test_two_conditions_over_shared_items(ran: Ran) -> None:
    """Each condition has every item once, and the numbers' unit is the trial."""
    trials = ran.spans.filter(role="trial")
    items = {condition: set(part["item_id"]) for (condition,), part in trials.group_by("condition")}
    assert items[BASELINE] == items[CANDIDATE]
    assert len(items[BASELINE]) == TRIALS // 2
    for block in ran.result["conditions"].values():
        assert (block["unit"], block["n"]) == ("trial", TRIALS // 2)
        assert 0 < block["custom"]["accuracy"]["mean"] <= 1
        assert block["cost"]["total_usd"] > 0
    assert ran.result["conditions"][CANDIDATE]["custom"]["ensemble"]["predictions"] == TRIALS // 2
    assert ran.result["comparison"]["unit"] == "trial"


def test_the_files_hold_the_same_rows(ran: Ran) -> None:
    """CSV, JSON Lines and Parquet are written and have one row per span."""
    files = ran.result["files"]
    assert set(files) == {"csv", "jsonl", "parquet", "store"}
    assert pl.read_csv(files["csv"], infer_schema=False).height == ran.spans.height
    assert len(Path(files["jsonl"]).read_text().splitlines()) == ran.spans.height
    assert Path(files["store"]).is_dir()


def test_no_progress_bar_off_the_terminal(ran: Ran) -> None:
    """Into a pipe, nothing but the result is written."""
    assert ran.stderr == ""


def test_seed_decides_numbers_and_instrumentation_does_not(ran: Ran, tmp_path: Path) -> None:
    """A second run with the same seed, through OpenInference's instrumentation, gives the same numbers but time."""

    def numbers(result: dict[str, Any]) -> dict[str, Any]:
        return {
            name: (
                block["custom"]["accuracy"],
                block["tokens"]["by_model"],
                block["cost"]["total_nano_usd"],
                block["reliability"]["failures"],
            )
            for name, block in result["conditions"].items()
        }

    again = run(tmp_path, TRIALS, seed=0, without=1)
    assert set(again.spans.filter("is_call")["scope"]) == {"openinference.instrumentation.openai"}
    assert again.result["check"] == ran.result["check"]
    assert numbers(again.result) == numbers(ran.result)


def test_arms_are_interleaved_in_a_seeded_order(ran: Ran) -> None:
    """The order is random and recorded, and never one arm after the other."""
    trials = ran.spans.filter(pl.col("name") == "trial").sort("start_ns")
    conditions = trials["condition"].to_list()
    changes = sum(one != next_one for one, next_one in itertools.pairwise(conditions))
    assert conditions.count(BASELINE) == conditions.count(CANDIDATE) == TRIALS // 2
    assert TRIALS // 3 < changes < TRIALS
    positions = trials["attributes"].str.json_path_match("$['experiment.trial.position']").cast(pl.Int64)
    assert sorted(positions) == list(range(TRIALS))


def test_too_few_trials_are_refused(tmp_path: Path) -> None:
    """Fewer trials than could be compared are an error that says how many it takes."""
    with pytest.raises(ConfigurationError, match="at least 4"):
        run_demo(tmp_path, trials=2, seed=0)
