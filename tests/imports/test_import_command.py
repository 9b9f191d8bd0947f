"""`otel-research import` and `otel-research reprice`: what they print and how they exit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otlp_files import line, log_line, span, written

import otel_research as otr
from otel_research.cli import main

GOOD = line(span(0), span(1))
TORN = line(span(2))[:60] + "\n"
FOREIGN = '{"level": "info", "message": "hello"}\n'


def run(store: str, *words: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [*words, "--store", store], input=stdin, catch_exceptions=False)


def imported(store: str, *words: str, **more: Any) -> tuple[int, dict[str, Any]]:
    result = run(store, "import", "--json", *words, **more)
    return result.exit_code, json.loads(result.stdout)


def test_json_tells_every_experiment(tmp_path: Path, store: str) -> None:
    """One entry per experiment with id, name, spans and skipped; exit 0 where all was read."""
    paths = [written(tmp_path / "a.jsonl", GOOD), written(tmp_path / "b.jsonl", line(span(5)))]
    code, told = imported(store, *map(str, paths))
    assert code == 0
    assert [(entry["name"], entry["spans"], entry["skipped"]) for entry in told["experiments"]] == [
        ("a", 2, 0),
        ("b", 1, 0),
    ]
    listed = json.loads(run(store, "ls", "--json").stdout)
    assert {one["id"] for one in listed} == {entry["id"] for entry in told["experiments"]}
    assert told["problems"] == []


def test_torn_and_foreign_lines_are_named_and_the_rest_is_imported(tmp_path: Path, store: str) -> None:
    """Each with its line number, also on standard error; exit 1."""
    path = written(tmp_path / "a.jsonl", GOOD, TORN, line(span(3)), FOREIGN, line(span(4)))
    result = run(store, "import", str(path), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(entry["spans"], entry["skipped"]) for entry in told["experiments"]] == [(4, 2)]
    assert [problem["line"] for problem in told["problems"]] == [2, 4]
    assert f"{path}:2: torn, or not JSON" in result.stderr
    assert f"{path}:4: not OTLP" in result.stderr


def test_standard_input_is_a_file(store: str, tmp_path: Path) -> None:
    """`-` reads it, plain or gzip, and the experiment is that of the same file."""
    _, by_path = imported(store, str(written(tmp_path / "a.jsonl", GOOD)), "--experiment", "piped")
    for content in (GOOD.encode(), gzip.compress(GOOD.encode())):
        code, told = imported(store, "-", "--experiment", "piped", stdin=content)
        assert code == 0
        assert told["experiments"][0]["id"] == by_path["experiments"][0]["id"]
        assert told["experiments"][0]["new"] == 0


def test_protobuf_is_read(store: str, tmp_path: Path) -> None:
    """The bytes that an OTLP exporter sends, as a file."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for name in ("first", "second"):
        provider.get_tracer("app").start_span(name).end()
    message = encode_spans(exporter.get_finished_spans()).SerializeToString()
    code, told = imported(store, str(written(tmp_path / "spans.pb", message)))
    assert (code, told["experiments"][0]["spans"], told["experiments"][0]["name"]) == (0, 2, "spans")


def test_a_broken_archive_gives_what_is_before_the_break(store: str, tmp_path: Path) -> None:
    """A gzip file that was cut off is read up to there, and the cut is told."""
    packed = gzip.compress("".join(line(span(number)) for number in range(300)).encode())
    code, told = imported(store, str(written(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2])))
    assert code == 1
    assert 0 < told["experiments"][0]["spans"] < 300
    assert "breaks off" in told["problems"][-1]["reason"]


def test_log_records_of_other_kinds_are_counted(store: str, tmp_path: Path) -> None:
    """A message that was logged is no span and no evaluation: skipped, with its line."""
    path = written(tmp_path / "a.jsonl", GOOD, log_line(0, event="gen_ai.user.message"))
    code, told = imported(store, str(path))
    assert (code, told["experiments"][0]["skipped"], told["problems"][0]["line"]) == (1, 1, 2)


def test_a_file_without_spans_has_no_id(store: str, tmp_path: Path) -> None:
    """It is told about, makes no experiment and is no success."""
    code, told = imported(store, str(written(tmp_path / "empty.jsonl")))
    assert code == 1
    assert told["experiments"][0] | {"file": ""} == {
        "id": None, "name": "empty", "spans": 0, "new": 0, "skipped": 1, "file": ""
    }  # fmt: skip


@pytest.mark.parametrize("words", [("nope.jsonl",), ("--experiment", "a/b", "-"), ()])
def test_wrong_use_exits_2(store: str, words: tuple[str, ...]) -> None:
    """A file that is not there, a name that cannot be one, no file at all; nothing on standard output."""
    result = run(store, "import", *words)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_text_says_what_came(store: str, tmp_path: Path) -> None:
    """A line per experiment; the second time nothing of it is new."""
    path = str(written(tmp_path / "a.jsonl", GOOD))
    assert "a: 2 spans\n" in run(store, "import", path).stdout
    assert "a: 2 spans, 0 of them new\n" in run(store, "import", path).stdout


PRICES = """
name = "inverted"
base = false
[[price]]
model = "gpt-4o"
input = 1.0
output = 1.0
[[price]]
model = "gpt-4o-mini"
input = 100.0
output = 100.0
"""


@pytest.fixture
def arms(tmp_path: Path, store: str) -> otr.Experiment:
    """Two conditions of which the bundled prices make the second the cheap one."""
    tags = {"experiment.id": "cd" * 16, "experiment.name": "models"}
    spans = [
        span(0, **tags, **{"experiment.condition": "large"}),
        span(1, **tags, **{"experiment.condition": "small", "gen_ai.request.model": "gpt-4o-mini"}),
    ]
    (exp,) = otr.import_spans(written(tmp_path / "arms.jsonl", line(*spans)), store=store)
    return exp


def test_reprice_answers_whether_the_ranking_survives(tmp_path: Path, store: str, arms: otr.Experiment) -> None:
    """The command says in JSON and text what the library says."""
    prices = written(tmp_path / "prices.toml", PRICES)
    expected = otr.reprice(arms, prices=prices)
    assert (expected.ranking_before, expected.ranking_after) == (("small", "large"), ("large", "small"))
    assert expected.total.after_usd == pytest.approx(1100 * 1e-6 + 1100 * 100e-6)
    result = run(store, "reprice", "models", "--prices", str(prices), "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, json.loads(json.dumps(expected.to_dict())))
    assert (
        "changes: small < large becomes large < small" in run(store, "reprice", arms.id, "--prices", str(prices)).stdout
    )


def test_reprice_at_a_date(store: str, arms: otr.Experiment) -> None:
    """The date is part of what the result says; the same table leaves the ranking as it is."""
    told = json.loads(run(store, "reprice", "models", "--at", "2025-01-01", "--json").stdout)
    assert told["after"].endswith("as of 2025-01-01")
    assert told["ranking_survives"] is True
    assert told == json.loads(json.dumps(otr.reprice(arms, at="2025-01-01").to_dict()))


def test_reprice_honours_exclusions_and_filters(store: str, arms: otr.Experiment) -> None:
    """A call that was taken out of the numbers costs nothing under any table."""
    told = json.loads(run(store, "reprice", "models", "--where", "condition=large", "--json").stdout)
    assert (told["total"]["calls"], told["ranking_survives"]) == (1, None)
    arms.exclude({"condition": "small"}, reason="wrong prompt")
    assert otr.reprice(arms).total.calls == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--prices", "nope.toml"), "nope.toml"), (("--at", "yesterday"), "'yesterday' is no date")],
)
def test_reprice_names_what_is_wrong(store: str, arms: otr.Experiment, words: tuple[str, ...], message: str) -> None:
    """A price file or a date that cannot be read is one line and exit code 2."""
    result = run(store, "reprice", "models", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_show_says_how_far_the_spans_were_understood(store: str, tmp_path: Path) -> None:
    """Findings, unknown keys, the price table and what it does not price, as JSON and as text."""
    unknown = {"gen_ai.request.model": "gpt-99", "acme.tenant": "x", "gen_ai.usage.total_tokens": 7}
    run(store, "import", str(written(tmp_path / "a.jsonl", line(span(0), span(1, **unknown)))))
    told = json.loads(run(store, "show", "a", "--json").stdout)
    assert told["unmapped"] == {"acme.tenant": 1}
    assert [(row["model"], row["calls"]) for row in told["unpriced"]] == [("gpt-99", 1)]
    assert "total_mismatch" in [finding["code"] for finding in told["findings"]]
    text = " ".join(run(store, "show", "a").stdout.split())
    assert told["prices"] in text
    assert "1 call of gpt-99" in text
    assert "acme.tenant" in text
    assert told["prices"] in run(store, "metrics", "a").stdout
    assert json.loads(run(store, "doctor", "--json").stdout)["unmapped"] == {"acme.tenant": 1}
