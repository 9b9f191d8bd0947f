"""`import_spans`: whose rows they are, what an experiment's id is, and that nothing comes twice."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from otlp_files import CALL, START, line, log_line, span, written

import otel_research as otr
from otel_research.errors import ConfigurationError
from otel_research.imports.door import import_files
from otel_research.spans.ordered import in_order
from otel_research.spans.schema import IDENTITY, STORED, polars_schema
from otel_research.store.library import Library
from otel_research.testing import recording, rows

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "spans"
FOUR = [line(span(0), span(1)), line(span(2)), line(span(3))]


def state(library: Library) -> dict[str, Any]:
    """Everything a reader can see of a store."""
    return {
        record.id: (record, library.scan(record.id).sort(IDENTITY).collect().rows(), library.journal.ledgers(record.id))
        for record in library.find(include_hidden=True)
    }


def test_a_file_is_an_experiment_named_by_its_content(tmp_path: Path, store: str) -> None:
    """The id is the beginning of the content's SHA-256; name, times, state and ledger come from the file."""
    path = written(tmp_path / "run 7.jsonl", line(span(0), span(1), **{"service.name": "shop"}), line(span(2)))
    (exp,) = otr.import_spans(path, store=store)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (exp.id, exp.name, exp.state, exp.ended_by) == (digest[:32], "run 7", "stopped", "user")
    assert exp.record.started_ns == START
    assert exp.record.stopped_ns == START + 2_500_000_000
    ledger = exp.ledger()
    assert (ledger.received, ledger.stored, ledger.duplicates, ledger.started) == (3, 3, 0, 0)
    assert ledger.is_balanced
    assert exp.record.ledger == ledger.to_dict()
    assert exp.environment["imported"] == [
        {"file": str(path), "bytes": path.stat().st_size, "sha256": digest, "skipped": 0}
    ]
    assert exp.environment["resources"] == [{"service.name": "shop"}]
    assert exp.spans().select("experiment_source", "condition").unique().collect().rows() == [("import", None)]


def test_resources_beyond_what_the_record_names_are_counted(tmp_path: Path, store: str) -> None:
    lines = [line(span(number), **{"service.name": f"pod-{number % 23}"}) for number in range(46)]
    (exp,) = otr.import_spans(written(tmp_path / "pods.jsonl", *lines), store=store)
    assert (len(exp.environment["resources"]), exp.environment["resources_not_named"]) == (20, 3)


def test_its_numbers_are_there_at_once(tmp_path: Path, store: str) -> None:
    """An imported experiment is analysed like any other."""
    (exp,) = otr.import_spans(written(tmp_path / "a.jsonl", *FOUR), store=store)
    metrics = otr.calculate_metrics(exp)
    assert (metrics.tokens.total_input, metrics.tokens.total_output) == (4000, 400)
    assert metrics.latency.p50 == 500.0
    assert metrics.cost.total_usd == pytest.approx(4 * (1000 * 2.5 + 100 * 10) / 1e6)


def test_the_same_file_again_changes_nothing(tmp_path: Path, store: str, library: Library) -> None:
    """Neither rows nor record nor ledger; under another name and packed it is still the same."""
    path = written(tmp_path / "a.jsonl", *FOUR)
    otr.import_spans(path, store=store)
    before, files = state(library), sorted(os.listdir(library.store.root / next(iter(state(library))) / "parquet"))  # type: ignore[attr-defined]
    packed = written(tmp_path / "b.jsonl.gz", gzip.compress(path.read_bytes()))
    for again in (path, packed, io.BytesIO(path.read_bytes())):
        otr.import_spans(again, store=store, name="another")
    assert state(library) == before
    assert sorted(os.listdir(library.store.root / next(iter(before)) / "parquet")) == files  # type: ignore[attr-defined]


def test_a_pipe_is_a_file(tmp_path: Path, store: str) -> None:
    """A stream that cannot be read twice gives the same experiment."""
    content = written(tmp_path / "a.jsonl", *FOUR).read_bytes()
    reading, writing = os.pipe()
    thread = threading.Thread(target=lambda: (os.write(writing, content), os.close(writing)))
    thread.start()
    with os.fdopen(reading, "rb") as pipe:
        (exp,) = otr.import_spans(pipe, store=store)
    thread.join()
    assert exp.id == hashlib.sha256(content).hexdigest()[:32]
    assert exp.spans().collect().height == 4


def test_a_span_that_comes_twice_is_one(tmp_path: Path, store: str) -> None:
    """A file that repeats its spans has each of them once, and its ledger counts the copies."""
    (exp,) = otr.import_spans(written(tmp_path / "twice.jsonl", *FOUR, *FOUR), store=store)
    assert exp.spans().collect().height == 4
    assert (exp.ledger().received, exp.ledger().stored, exp.ledger().duplicates) == (8, 4, 4)


NAMED = {"experiment.id": "ab" * 16, "experiment.name": "prompts", "experiment.tags": ["dataset:mmlu"]}


def test_spans_name_their_experiment(tmp_path: Path, store: str) -> None:
    """Tagged spans go to the experiment they name, the others of the file to the file's own."""
    tags = {**NAMED, "experiment.condition": "cot", "experiment.trial.id": "01" * 8, "experiment.item.id": "q1"}
    path = written(tmp_path / "mixed.jsonl", line(span(0, **tags), span(1)))
    own, named = sorted(otr.import_spans(path, store=store), key=lambda exp: exp.name)
    assert (own.name, own.spans().collect().height) == ("mixed", 1)
    assert (named.id, named.name, named.tags) == ("ab" * 16, "prompts", ("dataset:mmlu",))
    assert named.spans().select("condition", "trial_id", "item_id").collect().rows() == [("cot", "01" * 8, "q1")]


def test_halves_make_a_whole(tmp_path: Path, library: Library, store: str) -> None:
    """Halves of a file, in either order and overlapping, give the experiment that the whole file gives."""
    spans = [line(span(number, **NAMED)) for number in range(6)]
    whole = f"disk:{tmp_path / 'whole'}"
    (expected,) = otr.import_spans(written(tmp_path / "whole.jsonl", *spans), store=whole)
    otr.import_spans(written(tmp_path / "second.jsonl", *spans[2:]), store=store)
    (found,) = otr.import_spans(written(tmp_path / "first.jsonl", *spans[:4]), store=store)
    assert found.record.content_hash == expected.record.content_hash
    assert (found.record.started_ns, found.record.stopped_ns) == (
        expected.record.started_ns,
        expected.record.stopped_ns,
    )
    assert (found.ledger().received, found.ledger().stored, found.ledger().duplicates) == (8, 6, 2)
    assert [entry["file"] for entry in found.environment["imported"]] == [
        str(tmp_path / "second.jsonl"),
        str(tmp_path / "first.jsonl"),
    ]


@pytest.mark.parametrize("bad", ["../../etc", "my experiment", "ABCDEF0123456789", ""])
def test_an_id_that_cannot_be_one_names_no_folder(tmp_path: Path, store: str, bad: str) -> None:
    """Such a span belongs to the file's experiment; what it said stays in its attributes."""
    path = written(tmp_path / "a.jsonl", line(span(0, **{"experiment.id": bad})))
    (exp,) = otr.import_spans(path, store=store)
    assert exp.id == hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    assert json.loads(exp.spans().collect()["attributes"].item())["experiment.id"] == bad


HOSTILE = [
    {
        "otel_research.raw": '{"attributes": "no JSON \\"experiment.name\\"", "resource": "[1]", "experiment_id": "../x"}'
    },
    {"experiment.id": "ab" * 16, "experiment.name": "../../etc", "experiment.tags": "no list"},
    {"experiment.id": "ab" * 16, "experiment.name": "\ud800", "experiment.tags": ["\ud800", "ok"]},
    {"experiment.id": "ab" * 16, "experiment.repetition": 2**70, "gen_ai.usage.input_tokens": 2**70},
]


@pytest.mark.parametrize("attributes", HOSTILE, ids=range(len(HOSTILE)))
def test_absurd_spans_are_data_too(tmp_path: Path, store: str, attributes: dict[str, Any]) -> None:
    """Whatever a span says of itself, it is imported once, under a name that can be one, beside its neighbours."""
    path = written(tmp_path / "a.jsonl", line(span(0, **attributes), span(1), odd="\ud800"))
    found = otr.import_spans(path, store=store)
    assert sum(exp.spans().collect().height for exp in found) == 2
    assert {exp.name for exp in found} == {"a"}
    assert [tag for exp in found for tag in exp.tags] in ([], ["ok"])
    assert [exp.record for exp in otr.import_spans(path, store=store)] == [exp.record for exp in found]


def test_a_recorded_experiment_takes_its_own_export(tmp_path: Path) -> None:
    """What was captured here and comes back from elsewhere is there once; the declaration stays."""
    url = f"disk:{tmp_path / 'store'}"
    with recording(url) as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("live", hypothesis="h") as exp, exp.arm("a"), exp.trial(item="q"):
            tracer.start_span("chat", attributes=CALL).end()
        exported = otr.export(exp, "otlp", tmp_path / "spans.jsonl")
        before = exp.spans().sort(IDENTITY).collect()
        record = exp.record
    (again,) = otr.import_spans(exported, store=url)
    assert (again.id, again.record.hypothesis, again.record.content_hash) == (exp.id, "h", record.content_hash)
    assert again.spans().sort(IDENTITY).collect().equals(before)
    ledger = again.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (2, 0, True)
    elsewhere = f"disk:{tmp_path / 'elsewhere'}"
    (copy,) = otr.import_spans(exported, store=elsewhere)
    assert copy.spans().sort(IDENTITY).collect().equals(before)
    assert copy.record.content_hash == record.content_hash


def test_an_archived_experiment_stays_as_it_is(tmp_path: Path, store: str, library: Library) -> None:
    """New spans for it are refused and counted, those it has change nothing."""
    first, second = line(span(0, **NAMED)), line(span(1, **NAMED))
    (exp,) = otr.import_spans(written(tmp_path / "a.jsonl", first), store=store)
    exp._replace(state="archived")
    before = state(library)
    (report,) = import_files([written(tmp_path / "b.jsonl", first, second)], library)
    assert state(library).keys() == before.keys()
    assert exp.spans().collect().height == 1
    assert report.skipped == 1
    assert "archived" in report.problems[0].reason


def test_a_logged_evaluation_follows_its_span(tmp_path: Path, store: str) -> None:
    """A result that was logged, also before its span in the file, is a score row of that span's trial."""
    tags = {**NAMED, "experiment.condition": "cot", "experiment.trial.id": "01" * 8}
    verdict = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.75}
    path = written(tmp_path / "a.jsonl", log_line(0, **verdict), line(span(0, **tags), span(1)), log_line(1, **verdict))
    own, named = sorted(otr.import_spans(path, store=store), key=lambda exp: exp.name)
    columns = ("role", "condition", "trial_id", "parent_span_id", "score_name", "score_value", "experiment_source")
    scores = named.spans().filter(pl.col("role") == "score").select(columns).collect().rows()
    assert scores == [("score", "cot", "01" * 8, f"{1:016x}", "relevance", 0.75, "parent")]
    assert own.spans().select("role", "parent_span_id").sort("role").collect().rows() == [
        ("call", None),
        ("score", f"{2:016x}"),
    ]


def test_several_files_are_several_experiments(tmp_path: Path, store: str) -> None:
    """In the order of the files, all with the name that is given."""
    paths = [written(tmp_path / f"{number}.jsonl", line(span(number))) for number in range(3)]
    found = otr.import_spans(*paths, store=store, name="batch")
    assert [exp.name for exp in found] == ["batch"] * 3
    assert [exp.record.started_ns for exp in found] == [START + number * 10**9 for number in range(3)]


def test_a_missing_file_stops_everything(tmp_path: Path, store: str, library: Library) -> None:
    """Wrong use is noticed before the first file is imported."""
    path = written(tmp_path / "a.jsonl", *FOUR)
    for wrong in (tmp_path / "nope.jsonl", tmp_path):
        with pytest.raises(ConfigurationError, match=wrong.name):
            otr.import_spans(path, wrong, store=store)
    with pytest.raises(ConfigurationError, match="path"):
        otr.import_spans(path, store=store, name="a/b")
    assert library.find() == []


def test_what_is_skipped_is_logged(tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture) -> None:
    """The library says what it could not read; the rest is imported, and the record keeps the count."""
    torn = line(span(1))[:50] + "\n"
    (exp,) = otr.import_spans(written(tmp_path / "a.jsonl", line(span(0)), torn, line(span(2))), store=store)
    assert exp.spans().collect().height == 2
    assert exp.environment["imported"][0]["skipped"] == 1
    assert "1 not imported, the first at line 2" in caplog.text


def test_a_file_without_spans_is_no_experiment(tmp_path: Path, store: str, library: Library) -> None:
    """An empty or foreign file leaves the store as it was."""
    assert otr.import_spans(written(tmp_path / "empty.jsonl"), store=store) == []
    assert otr.import_spans(written(tmp_path / "foreign.json", '{"a": 1}'), store=store) == []
    assert library.find() == []


class Heap:
    """A store of the user's own, as small as one can be."""

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []

    def append(self, batch: Any, /) -> None:
        self.frames.append(pl.DataFrame(pl.from_arrow(batch)))

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        rows = pl.concat([pl.DataFrame(schema=polars_schema(STORED)), *self.frames]).unique(IDENTITY, keep="first")
        return rows.lazy().filter(pl.lit(experiment_id is None) | (pl.col("experiment_id") == experiment_id))

    def delete(self, experiment_id: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.mark.parametrize("kind", ["memory:", Heap])
def test_any_store_takes_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """Also one that is no journal and no catalogue: the same rows, hash and ledger as on disk."""
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.jsonl", *FOUR)
    (expected,) = otr.import_spans(path, store=f"disk:{tmp_path / 'store'}")
    held = kind if isinstance(kind, str) else kind()
    (found,) = otr.import_spans(path, store=held)
    assert found.record == expected.record
    assert found.spans().collect().height == 4
    assert otr.import_spans(path, store=found.library.store)[0].ledger() == expected.ledger()


def test_batches_make_no_difference(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows are in memory at once, the experiment is the same; that is how long files fit."""
    path = written(tmp_path / "a.jsonl", *FOUR, line(span(4, **NAMED)), log_line(4, **{"gen_ai.evaluation.name": "x"}))
    expected = otr.import_spans(path, store=store)
    monkeypatch.setattr("otel_research.imports.intake.BATCH", 1)
    monkeypatch.setattr("otel_research.spans.ordered.AT_ONCE", 1)
    found = otr.import_spans(path, store="memory:")
    assert [exp.record for exp in found] == [exp.record for exp in expected]


def test_rows_are_ordered_part_by_part() -> None:
    """Sorting parts of any size gives what sorting everything gives, odd and missing ids included."""
    made = rows(200, trace_id=[f"{number * 7919 % 256:02x}" * 16 for number in range(199)] + [None])
    expected = made.sort("trace_id", "span_id", "start_ns", nulls_last=True)
    for at_once in (1, 7, 50, 1000):
        assert pl.concat(in_order(made.lazy(), at_once)).equals(expected)


@pytest.mark.parametrize("capture", ["otel_genai__openai__default", "openinference__langchain_plus_openai"])
def test_real_captures_are_whole(store: str, capture: str) -> None:
    """Every span of a file is there, whatever made it."""
    path = FIXTURES / "otlp" / f"{capture}.jsonl"
    expected = sum(
        len(scope["spans"])
        for text in path.read_text().splitlines()
        for group in json.loads(text)["resourceSpans"]
        for scope in group["scopeSpans"]
    )
    (exp,) = otr.import_spans(path, store=store)
    assert exp.spans().collect().height == exp.ledger().stored == expected
