"""Exports of MLflow, Phoenix and Inspect, told apart by content. The files in `data` were written by the tools."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from otel_research.formats.sources import Skipped, read_frames
from otel_research.formats.stamps import nanoseconds_of
from otel_research.formats.zipped import members
from otel_research.spans import schema, values

DATA = Path(__file__).parent / "data"
OTLP = Path(__file__).parents[3] / "shared" / "fixtures" / "spans" / "otlp"


def read(content: bytes | str | Path) -> tuple[pl.DataFrame, list[Skipped]]:
    skipped: list[Skipped] = []
    source = (
        content if isinstance(content, Path) else io.BytesIO(content.encode() if isinstance(content, str) else content)
    )
    empty = pl.DataFrame(schema=schema.polars_schema(schema.RAW))
    return pl.concat([empty, *read_frames(source, on_skip=skipped.append)]), skipped


def said(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [values.from_json(text) for text in frame["attributes"]]


def deflated(content: bytes, **changes: bytes | None) -> bytes:
    """The archive again, packed as `zipfile` can, with members changed or (None) left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, unpack in members(content).items():
            data = changes.get(name, unpack())
            if data is not None:
                archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("name", ["inspect.eval", "mlflow.jsonl", "phoenix_spans.json", "phoenix_dataframe.jsonl"])
def test_every_export_gives_raw_columns_and_ids(name: str) -> None:
    """Whatever tool wrote it: exactly the RAW columns, proper ids, times, JSON, and the same rows on every import."""
    frame, skipped = read(DATA / name)
    assert skipped == []
    assert frame.columns == schema.names(schema.RAW)
    assert frame["trace_id"].str.contains("^[0-9a-f]{32}$").all()
    assert frame["span_id"].str.contains("^[0-9a-f]{16}$").all()
    assert frame.select("trace_id", "span_id", "start_ns").is_unique().all()
    assert frame["start_ns"].is_between(1_795_000_000 * 10**9, 1_796_000_000 * 10**9).all()
    assert (frame["end_ns"] >= frame["start_ns"]).all()
    assert len(said(frame)) == frame.height
    assert read(gzip.compress((DATA / name).read_bytes()))[0].equals(frame)


def test_otlp_is_still_otlp() -> None:
    """The reader of everything gives for OTLP what the OTLP reader gives, torn lines included."""
    lines = next(OTLP.glob("openinference__openai__*.jsonl")).read_text().splitlines()
    whole, _ = read("\n".join(lines))
    frame, skipped = read("\n".join([lines[0], '{"foreign": 1}', *lines[1:]]))
    assert frame.equals(whole)
    assert [(skip.line, "foreign" in skip.reason) for skip in skipped] == [(2, True)]


# --- MLflow


def mlflow_traces() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "mlflow.jsonl").read_text().splitlines()]


def test_mlflow_spans_and_feedback() -> None:
    """Spans keep their tree, time, status and quoted attributes; feedback is a score row below the root."""
    frame, _ = read(DATA / "mlflow.jsonl")
    chain, call, score, bad = frame.to_dicts()
    assert (chain["name"], call["name"], bad["name"]) == ("chain", "Completions", "bad")
    assert call["parent_span_id"] == chain["span_id"]
    assert chain["trace_id"] == "a65aeb8863772bda8f16a0c239dc7cda"
    assert (call["start_ns"], call["end_ns"]) == (1795425668431094093, 1795425668431289034)
    assert values.from_json(call["attributes"])["mlflow.spanType"] == '"CHAT_MODEL"'
    assert (bad["status"], bad["status_message"]) == ("error", "ValueError: no")
    (event,) = values.from_json(bad["events"])
    assert (event["name"], event["attributes"]["exception.type"]) == ("exception", "ValueError")
    assert (score["parent_span_id"], score["trace_id"]) == (chain["span_id"], chain["trace_id"])
    assert values.from_json(score["attributes"]) == {
        "gen_ai.evaluation.name": "accuracy", "gen_ai.evaluation.score.value": 1.0, "gen_ai.evaluation.explanation": "right",
        "mlflow.assessment.source_type": "CODE", "experiment.row": "score",
    }  # fmt: skip


@pytest.mark.parametrize("wrap", [lambda traces: traces, lambda traces: {"traces": traces}])
@pytest.mark.parametrize("indent", [None, 2])
def test_mlflow_search_results_and_lists(wrap: Any, indent: int | None) -> None:
    """`mlflow traces search` and a list of traces are the same traces as one per line."""
    text = json.dumps(wrap(mlflow_traces()), indent=indent)
    assert read(text)[0].equals(read(DATA / "mlflow.jsonl")[0])


def test_mlflow_2_spans_are_understood() -> None:
    """Ids in 0x-hex and the names of MLflow 2 give the same rows."""
    old = mlflow_traces()
    for trace in old:
        trace["info"]["request_id"] = trace["info"].pop("trace_id")
        for span in trace["data"]["spans"]:
            new = read(DATA / "mlflow.jsonl")[0].filter(pl.col("name") == span["name"]).row(0, named=True)
            span["context"] = {"trace_id": f"0x{new['trace_id']}", "span_id": f"0x{new['span_id']}"}
            span["parent_id"] = f"0x{new['parent_span_id']}" if new["parent_span_id"] else None
            span["start_time"], span["end_time"] = span.pop("start_time_unix_nano"), span.pop("end_time_unix_nano")
            span["status_code"], span["status_message"] = new["status"].upper(), span.pop("status")["message"]
            for event in span["events"]:
                event["timestamp"] = event.pop("time_unix_nano")
            for key in ("trace_id", "span_id", "parent_span_id"):
                del span[key]
    assert read(json.dumps(old))[0].equals(read(DATA / "mlflow.jsonl")[0])


def test_mlflow_session_and_user_come_from_the_metadata() -> None:
    """What MLflow keeps about a trace beside its spans is put on the root, where its OTLP export has it."""
    trace = mlflow_traces()[0]
    trace["info"]["trace_metadata"] |= {"mlflow.trace.session": "s1", "mlflow.trace.user": "u1"}
    root, call, _ = said(read(json.dumps(trace))[0])
    assert (root["mlflow.trace.session"], root["mlflow.trace.user"]) == ("s1", "u1")
    assert "mlflow.trace.session" not in call


def test_mlflow_what_cannot_be_read_is_told() -> None:
    """A span without ids and an expectation are reported with their trace, the rest is imported."""
    trace = mlflow_traces()[0]
    trace["data"]["spans"][1]["span_id"] = "?"
    trace["info"]["assessments"].append({"assessment_name": "answer", "expectation": {"value": "Paris"}})
    frame, skipped = read(json.dumps(trace))
    assert frame["name"].to_list() == ["chain", "gen_ai.evaluation.result"]
    assert ["is no id" in skipped[0].reason, "is no feedback" in skipped[1].reason] == [True, True]


# --- Phoenix


def test_phoenix_forms_agree(tmp_path: Path) -> None:
    """REST JSON, data-frame JSON Lines and Parquet give the same tree, tokens and events."""
    rest, _ = read(DATA / "phoenix_spans.json")
    lines, _ = read(DATA / "phoenix_dataframe.jsonl")
    # As pandas writes it: missing numbers are NaN, times are timestamps.
    table = pl.read_ndjson(DATA / "phoenix_dataframe.jsonl", infer_schema_length=None).with_columns(
        pl.col("start_time", "end_time").cast(pl.Datetime("ms", "UTC")), pl.col(pl.Float64).fill_null(float("nan"))
    )
    table.write_parquet(tmp_path / "spans.parquet")
    parquet, skipped = read(tmp_path / "spans.parquet")
    assert skipped == []
    for other in (lines, parquet):
        same = ("trace_id", "span_id", "parent_span_id", "name", "status", "status_message", "scope", "kind")
        assert other.select(same).equals(rest.select(same))
        assert (other["start_ns"] // 10**6).equals(rest["start_ns"] // 10**6)
        for ours, theirs in zip(said(other), said(rest), strict=True):
            keys = [key for key in theirs if "token" in key or key.startswith(("gen_ai.", "error.", "openinference."))]
            assert {key: ours.get(key) for key in keys} == {key: theirs[key] for key in keys}
    assert said(lines) == said(parquet)
    assert rest["start_ns"][1] == 1795414788256678000


def test_phoenix_attributes_read_as_emitted() -> None:
    """Nested columns become dotted keys again, counts whole numbers, metadata JSON text; gaps are no attributes."""
    found = said(read(DATA / "phoenix_dataframe.jsonl")[0])
    call, chained = found[1], found[6]
    assert call["gen_ai.usage.reasoning.output_tokens"] == 256
    assert (call["llm.token_count.prompt"], type(call["llm.token_count.prompt"])) == (2100, int)
    assert chained["llm.input_messages.0.message.role"] == "user"
    assert json.loads(chained["metadata"])["ls_provider"] == "openai"
    assert not any(value is None or value != value for attributes in found for value in attributes.values())


def test_phoenix_pages_are_read() -> None:
    """A page of the REST API and a single span are read like the list."""
    spans = json.loads((DATA / "phoenix_spans.json").read_text())
    expected, _ = read(DATA / "phoenix_spans.json")
    assert read(json.dumps({"data": spans, "next_cursor": None}))[0].equals(expected)
    assert read("\n".join(json.dumps(span) for span in spans))[0].equals(expected)


def test_phoenix_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A damaged span, a foreign table and a torn Parquet file are reported."""
    spans = json.loads((DATA / "phoenix_spans.json").read_text())
    spans[2]["start_time"] = "yesterday"
    frame, skipped = read(json.dumps(spans))
    assert frame.height == len(spans) - 1
    assert "'RunnableSequence' cannot be read" in skipped[0].reason
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    assert "no column 'context.trace_id'" in read(tmp_path / "other.parquet")[1][0].reason
    assert "cannot be read" in read((tmp_path / "other.parquet").read_bytes()[:-9])[1][0].reason


# --- Inspect


def inspect_json() -> dict[str, Any]:
    found = {name: json.loads(unpack()) for name, unpack in members((DATA / "inspect.eval").read_bytes()).items()}
    return found["header.json"] | {"samples": [found[name] for name in sorted(found) if name.startswith("samples/")]}


def test_inspect_samples_are_trials() -> None:
    """Each sample and epoch is a trial with its item and repetition; the one that raised has failed."""
    frame, _ = read(DATA / "inspect.eval")
    trials = frame.filter(pl.col("name") == "trial")
    assert trials.select("item_id", "repetition", "status").sort("item_id", "repetition").rows() == [
        ("q1", 0, "ok"), ("q1", 1, "ok"), ("q2", 0, "ok"), ("q2", 1, "error"),
    ]  # fmt: skip
    failed = trials.row(by_predicate=pl.col("status") == "error", named=True)
    assert values.from_json(failed["attributes"])["experiment.trial.failure_reason"] == "ValueError('broken')"
    assert frame["trial_id"].null_count() == 0
    assert set(frame["trial_id"]) == set(trials["span_id"])
    assert set(frame["factors"]) == {'{"task":"capitals","model":"mockllm/model"}'}


def test_inspect_model_events_are_calls_with_whole_tokens() -> None:
    """A model call carries GenAI names; cached tokens, which Inspect counts apart, are part of the input."""
    frame, _ = read(DATA / "inspect.eval")
    calls = frame.filter(pl.col("name") == "chat mockllm/model")
    by_input = {found["gen_ai.usage.input_tokens"]: found for found in said(calls.filter(pl.col("aside").is_null()))}
    assert set(by_input) == {33, 40 + 16 + 4, 57, 74}
    cached = by_input[60]
    assert {key: cached[key] for key in sorted(cached) if key.startswith("gen_ai.") and "messages" not in key} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mockllm",
        "gen_ai.request.model": "model",
        "gen_ai.request.seed": 7,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.model": "mockllm/model",
        "gen_ai.usage.cache_read.input_tokens": 16,
        "gen_ai.usage.cache_write.input_tokens": 4,
        "gen_ai.usage.input_tokens": 60,
        "gen_ai.usage.output_tokens": 12,
        "gen_ai.usage.reasoning.output_tokens": 5,
    }
    sent = json.loads(cached["gen_ai.input.messages"])
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert json.loads(cached["gen_ai.output.messages"])[0]["content"] == "Paris"


def test_inspect_judges_are_asides() -> None:
    """What a scorer calls is an aside under the scorer's name; solvers and tools are not."""
    frame, _ = read(DATA / "inspect.eval")
    calls = frame.filter(pl.col("name") == "chat mockllm/model")
    assert calls["aside"].value_counts().sort("aside").rows() == [(None, 4), ("model_graded_qa", 3)]
    tool = frame.row(by_predicate=pl.col("name") == "execute_tool add", named=True)
    assert tool["aside"] is None
    about = values.from_json(tool["attributes"])
    assert (about["gen_ai.tool.name"], about["gen_ai.tool.call.arguments"], about["gen_ai.tool.call.result"]) == ("add", '{"x": 1, "y": 2}', "3")  # fmt: skip


def test_inspect_rows_form_one_tree_per_trial() -> None:
    """Every row's parent is a row of the same trial, up to the trial."""
    frame, _ = read(DATA / "inspect.eval")
    for trial, rows in frame.group_by("trace_id"):
        ids = set(rows["span_id"])
        roots = [row for row in rows.iter_rows(named=True) if row["parent_span_id"] not in ids]
        assert [root["name"] for root in roots] == ["trial"], trial


def test_inspect_scores_are_numbers_and_labels() -> None:
    """A verdict in letters keeps its label and gets Inspect's own number; one of several values gives several rows."""
    frame, _ = read(DATA / "inspect.eval")
    scores = [found for found in said(frame) if found.get("experiment.row") == "score"]
    assert len(scores) == 6
    assert {(found["gen_ai.evaluation.score.label"], found["gen_ai.evaluation.score.value"]) for found in scores} == {("C", 1.0), ("I", 0.0)}  # fmt: skip
    log = inspect_json()
    log["samples"] = log["samples"][:1]
    log["samples"][0]["scores"] = {"rubric": {"value": {"tone": 0.25, "facts": "P"}}, "flag": {"value": True}, "n": {"value": "7"}, "word": {"value": "fine"}}  # fmt: skip
    found = {one["gen_ai.evaluation.name"]: (one.get("gen_ai.evaluation.score.value"), one.get("gen_ai.evaluation.score.label"))
             for one in said(read(json.dumps(log))[0]) if "gen_ai.evaluation.name" in one}  # fmt: skip
    assert found == {"rubric/tone": (0.25, None), "rubric/facts": (0.5, "P"), "flag": (1.0, "true"), "n": (7.0, "7"), "word": (None, "fine")}  # fmt: skip


def test_inspect_json_and_archive_are_the_same() -> None:
    """The JSON form and an archive packed the old way give the rows of the archive packed with zstd."""
    expected, _ = read(DATA / "inspect.eval")
    assert read(json.dumps(inspect_json(), indent=1))[0].equals(expected)
    assert read(deflated((DATA / "inspect.eval").read_bytes()))[0].equals(expected)


def test_inspect_cached_answers_are_no_calls() -> None:
    """An answer out of Inspect's own cache was not sent to a model and spends no tokens; the record stays."""
    log = inspect_json()
    for sample in log["samples"]:
        for event in sample["events"]:
            if event["event"] == "model":
                event["cache"] = "read"
    found = [one for one in said(read(json.dumps(log))[0]) if one.get("inspect.cache") == "read"]
    assert len(found) == 7
    assert not any(key.startswith("gen_ai.usage") or key == "gen_ai.operation.name" for one in found for key in one)
    assert sum(one["inspect.cached.input_tokens"] for one in found) == 33 + 40 + 57 + 74 + 3 * 10


def test_inspect_failed_and_unfinished_calls() -> None:
    """A model error is an error with its class; a call that was under way when the log broke off has no end."""
    log = inspect_json()
    events = [event for event in log["samples"][0]["events"] if event["event"] == "model"]
    events[0] |= {"error": "RateLimitError('Error code: 429')", "output": {"model": "m", "choices": []}, "retries": 2}
    events[1] |= {"pending": True, "completed": None}
    frame = read(json.dumps(log))[0].filter(pl.col("trace_id") == pl.col("trace_id").first(), name="chat mockllm/model")
    failed, cut = frame.to_dicts()[:2]
    about = values.from_json(failed["attributes"])
    assert (failed["status"], about["error.type"], about["http.request.resend_count"]) == ("error", "RateLimitError", 2)
    assert (cut["status"], cut["end_ns"]) == ("interrupted", None)


def test_inspect_crashed_and_damaged_logs() -> None:
    """A log without its header is read from the journal; a damaged sample, or archive, is told."""
    content = (DATA / "inspect.eval").read_bytes()
    expected, _ = read(DATA / "inspect.eval")
    crashed = deflated(content, **{"header.json": None, "samples/q1_epoch_1.json": b"{"})
    frame, skipped = read(crashed)
    assert frame.equals(expected.filter((pl.col("item_id") != "q1") | (pl.col("repetition") != 0)))
    assert [skip.reason.split(" cannot")[0] for skip in skipped] == ["samples/q1_epoch_1.json"]
    assert "damaged" in read(content[:5000])[1][0].reason
    assert "neither header.json nor" in read(deflated(content, **{"header.json": None, "_journal/start.json": None}))[1][0].reason  # fmt: skip
    place = zipfile.ZipFile(io.BytesIO(content)).getinfo("samples/q2_epoch_1.json").header_offset
    broken = content[: place + 200] + b"\0" * 40 + content[place + 240 :]
    frame, skipped = read(broken)
    assert frame.equals(expected.filter((pl.col("item_id") != "q2") | (pl.col("repetition") != 0)))
    assert [skip.reason.split(" cannot")[0] for skip in skipped] == ["samples/q2_epoch_1.json"]


# --- times


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-11-23T09:20:58.841507+00:00", 1795425658841507000),
        ("2026-11-23T09:20:58.841507123Z", 1795425658841507123),
        ("2026-11-23T10:20:58.5+01:00", 1795425658500000000),
        ("2026-11-23T09:20:58", 1795425658000000000),
        (1795425658, 1795425658000000000),
        (1795425658841, 1795425658841000000),
        (1795425658841507.0, 1795425658841507000),
        (1795425658841507123, 1795425658841507123),
        (None, None),
        ("", None),
    ],
)
def test_times_in_every_unit(written: Any, expected: int | None) -> None:
    """ISO text keeps its nanoseconds and its zone; the unit of a number is told by its size."""
    assert nanoseconds_of(written) == expected


@pytest.mark.parametrize("written", ["yesterday", 12, True, 1.5, [1]])
def test_what_is_no_time_is_refused(written: Any) -> None:
    """Anything else is an error, not a guess."""
    with pytest.raises(ValueError, match=r"no time|Invalid isoformat"):
        nanoseconds_of(written)
