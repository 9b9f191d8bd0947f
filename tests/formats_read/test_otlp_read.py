"""OTLP in every form that is met: what is read, what is told, what is never lost."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from otlp_samples import PARENT, SPAN, START, TRACE, document, line, proto, read, span

from otel_research.errors import ConfigurationError
from otel_research.formats.otlp_read import Skipped, read_frames
from otel_research.spans import schema, values

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "spans"


def test_every_field_lands_in_its_column() -> None:
    """A span's fields are the RAW columns, with nothing derived."""
    whole = span(
        status={"code": 2, "message": "boom"},
        flags=257,
        droppedAttributesCount=3,
        droppedEventsCount=2,
        droppedLinksCount=1,
        events=[{"name": "e", "timeUnixNano": "7", "attributes": [{"key": "k", "value": {"boolValue": True}}]}],
        links=[{"traceId": TRACE, "spanId": PARENT}],
    )
    frame, skipped = read(
        json.dumps(document(whole, resource=[{"key": "service.name", "value": {"stringValue": "s"}}]))
    )
    assert skipped == []
    assert frame.columns == schema.names(schema.RAW)
    assert {name: value for name, value in frame.row(0, named=True).items() if value is not None} == {
        "sample_weight": 1.0,
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_span_id": PARENT,
        "name": "chat gpt-4o",
        "kind": "client",
        "start_ns": START,
        "end_ns": START + 5,
        "status": "error",
        "status_message": "boom",
        "scope": "instr",
        "scope_version": "1.2",
        "resource": '{"service.name":"s"}',
        "is_sampled": True,
        "attributes": '{"gen_ai.usage.input_tokens":40}',
        "events": '[{"name":"e","time_ns":7,"attributes":{"k":true}}]',
        "links": f'[{{"trace_id":"{TRACE}","span_id":"{PARENT}","attributes":{{}}}}]',
        "dropped_attributes": 3,
        "dropped_events": 2,
        "dropped_links": 1,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"stringValue": "x"}, "x"),
        ({"stringValue": ""}, ""),
        ({"intValue": "9223372036854775807"}, 2**63 - 1),
        ({"intValue": 40}, 40),
        ({"intValue": 0}, 0),
        ({"doubleValue": 0.1}, 0.1),
        ({"doubleValue": 3}, 3.0),
        ({"doubleValue": "NaN"}, math.nan),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"boolValue": False}, False),
        ({"bytesValue": base64.b64encode(b"\x00\xff").decode()}, b"\x00\xff"),
        ({"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}, {}]}}, ["a", 1, None]),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"arrayValue": {"values": [{"doubleValue": 1.5}]}}}]}}, {"k": [1.5]}),
        ({}, None),
        (None, None),
        ({"intValue": "not a number"}, {"intValue": "not a number"}),
        ({"futureValue": 1}, {"futureValue": 1}),
    ],
)  # fmt: skip
def test_values_of_every_kind_survive(value: Any, expected: Any) -> None:
    """Every kind of attribute value comes back as itself; one that is not in the standard costs nothing else."""
    frame, skipped = read(
        line(span(attributes=[{"key": "k", "value": value}, {"key": "other", "value": {"intValue": 1}}]))
    )
    assert skipped == []
    found = values.from_json(frame["attributes"].item())
    assert found["other"] == 1
    if isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found["k"])
    else:
        assert (found["k"], type(found["k"])) == (expected, type(expected))


@pytest.mark.parametrize(
    "changes",
    [
        {"traceId": base64.b64encode(bytes.fromhex(TRACE)).decode(), "spanId": base64.b64encode(bytes.fromhex(SPAN)).decode()},
        {"traceId": TRACE.upper(), "spanId": SPAN.upper()},
        {"kind": "SPAN_KIND_CLIENT", "status": {"code": "STATUS_CODE_UNSET"}},
        {"startTimeUnixNano": START, "endTimeUnixNano": START + 5},
    ],
)  # fmt: skip
def test_other_spellings_of_one_span_give_one_row(changes: dict[str, Any]) -> None:
    """Base64 or upper-case ids, enum names, and times as numbers mean the same as the standard's form."""
    assert read(line(span(**changes)))[0].equals(read(line(span()))[0])


def test_snake_case_and_old_names_are_understood() -> None:
    """Keys as protobuf libraries and older exporters write them are the same document."""
    old = document(span())
    group = old["resourceSpans"][0]
    group["instrumentationLibrarySpans"] = group.pop("scopeSpans")
    group["instrumentationLibrarySpans"][0]["instrumentationLibrary"] = group["instrumentationLibrarySpans"][0].pop(
        "scope"
    )
    snake = json.dumps(document(span()))
    for name in (
        "resourceSpans",
        "scopeSpans",
        "traceId",
        "spanId",
        "parentSpanId",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "intValue",
    ):
        snake = snake.replace(f'"{name}"', '"' + "".join(f"_{c.lower()}" if c.isupper() else c for c in name) + '"')
    expected = read(line(span()))[0]
    assert read(json.dumps(old))[0].equals(expected)
    assert read(snake)[0].equals(expected)
    assert "_" in snake


def test_times_keep_their_nanoseconds() -> None:
    """No time passes through a float."""
    frame, _ = read(line(span(startTimeUnixNano="1795414056080254721", endTimeUnixNano=1795414056080254723)))
    assert frame.select("start_ns", "end_ns").row(0) == (1795414056080254721, 1795414056080254723)


def test_a_missing_time_is_null() -> None:
    """0 is OTLP's word for no time."""
    frame, _ = read(line(span(startTimeUnixNano="0", endTimeUnixNano=None)))
    assert frame.select("start_ns", "end_ns").row(0) == (None, None)


def test_experiment_tags_become_columns() -> None:
    """A span that carries its experiment is assigned to it; one that does not is assigned to none."""
    tags = {
        "experiment.id": "abc", "experiment.condition": "a", "experiment.trial.id": PARENT, "experiment.item.id": "q17",
        "experiment.factor.prompt": "cot", "experiment.factor.k": "3", "session.id": "user-42",
    }  # fmt: skip
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in tags.items()]
    pairs.append({"key": "experiment.repetition", "value": {"intValue": "2"}})
    frame, _ = read(
        line(span(attributes=pairs), span(attributes=[{"key": "session.id", "value": {"stringValue": "s"}}]))
    )
    columns = (
        "experiment_id",
        "condition",
        "trial_id",
        "item_id",
        "repetition",
        "session_id",
        "factors",
        "experiment_source",
    )
    assert frame.select(columns).rows() == [
        ("abc", "a", PARENT, "q17", 2, "user-42", '{"prompt":"cot","k":"3"}', "attributes"),
        (None,) * 8,
    ]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (span(traceId="xyz"), "'xyz' is no id of 16 bytes, neither in hex nor in base64"),
        (span(traceId="0" * 32), "all zeros"),
        (span(spanId=None), "an id is missing"),
        (span(startTimeUnixNano="soon"), "invalid literal"),
        (span(startTimeUnixNano=str(2**70)), "no time in nanoseconds"),
        (span(kind=3.5), "where a whole number was expected"),
        ("text", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_span_is_told_and_its_neighbours_stay(bad: Any, reason: str) -> None:
    """One unreadable span is reported with its line; the others on the same line are imported."""
    frame, skipped = read(line(span()) + "\n" + line(span(), bad, span()))
    assert frame.height == 3
    assert [(skip.line, skip.records) for skip in skipped] == [(2, 1)]
    assert reason in skipped[0].reason


@pytest.mark.parametrize(
    ("foreign", "reason"),
    [
        ('{"resourceSpans":[{"sco', "torn, or not JSON"),
        ("hello", "torn, or not JSON"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "torn, or not JSON"),
        ('{"data": [], "total": 0}', "an object with the keys data, total"),
        ("3", "a number where an object was expected"),
        ("{}", "with the keys none"),
        ('{"resourceMetrics":[]}', "metrics are neither"),
        ('{"resourceSpans":"x","resourceLogs":null} trailing', "torn, or not JSON"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_torn_or_foreign_line_is_told_by_its_number(foreign: str, reason: str, position: int) -> None:
    """Wherever the line stands, its number and reason are reported, and all other lines are imported."""
    lines = [line(span(name="one")), line(span(name="two"))]
    lines.insert(position, foreign)
    frame, skipped = read("\n".join(lines) + "\n")
    assert frame["name"].to_list() == ["one", "two"]
    assert [skip.line for skip in skipped] == [position + 1]
    assert reason in skipped[0].reason


def test_a_file_torn_in_its_last_line_keeps_the_rest() -> None:
    """A writer that was killed costs its last line only, in plain text and in gzip."""
    text = "\n".join(line(span(name=f"s{n}")) for n in range(50)).encode()
    frame, skipped = read(text[:-30])
    assert (frame.height, [skip.line for skip in skipped]) == (49, [50])
    packed = gzip.compress(b"".join(text[n : n + 1] for n in range(len(text))), 0)
    frame, skipped = read(packed[: len(packed) // 2])
    assert 15 < frame.height < 30
    assert any("breaks off" in skip.reason for skip in skipped)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\n\n  "])
def test_one_whole_document_is_read(indent: int | None, pack: Any, prefix: bytes) -> None:
    """One JSON document, on one line or pretty-printed, plain or gzip, with or without a byte order mark."""
    text = prefix + json.dumps(document(span(), span(name="b")), indent=indent).encode()
    frame, skipped = read(pack(text))
    assert (frame["name"].to_list(), skipped) == (["chat gpt-4o", "b"], [])


def test_a_list_of_documents_is_read() -> None:
    """A JSON array of export requests is all of them."""
    assert read(json.dumps([document(span()), document(span())], indent=1))[0].height == 2


def test_a_torn_document_is_told_once() -> None:
    """A pretty-printed document that breaks off is one report, not one per line."""
    text = json.dumps(document(*[span() for _ in range(20)]), indent=2)
    frame, skipped = read(text[:-40])
    assert frame.height == 0
    assert len(skipped) == 1
    assert skipped[0].line == 1


def test_lone_surrogates_and_bare_nan_are_read() -> None:
    """What JavaScript and Python serialisers write beyond strict JSON does not cost the line."""
    text = line(span(name="a")).replace('"intValue": "40"', '"stringValue": "\\ud83d"')
    text += "\n" + line(span(name="b")).replace('{"intValue": "40"}', '{"doubleValue": NaN}')
    frame, skipped = read(text)
    assert (frame["name"].to_list(), skipped) == (["a", "b"], [])
    assert values.from_json(frame["attributes"][0])["gen_ai.usage.input_tokens"] == "\ud83d"


def test_an_empty_file_is_told() -> None:
    """Nothing in the file is not the same as an import that worked."""
    assert read(b"")[1] == [Skipped(1, "the file is empty", 0)]
    assert read(b"\n \n")[1] == [Skipped(1, "the file is empty", 0)]
    assert read(gzip.compress(b""))[1] == [Skipped(1, "the file is empty", 0)]


def test_zstd_is_named() -> None:
    """A compression that is not read is named, with what to do."""
    assert "zstd -d" in read(b"\x28\xb5\x2f\xfd rest")[1][0].reason


def test_a_missing_file_is_a_research_error(tmp_path: Path) -> None:
    """A path that cannot be opened is named."""
    with pytest.raises(ConfigurationError, match=r"absent\.jsonl cannot be read"):
        list(read_frames(tmp_path / "absent.jsonl", on_skip=lambda skip: None))


def test_batches_hold_at_most_so_many_rows() -> None:
    """A large file comes in frames of bounded size, together the whole, in order."""
    text = "\n".join(line(*[span(name=f"{n}-{m}") for m in range(7)]) for n in range(9))
    frames = list(read_frames(io.BytesIO(text.encode()), on_skip=lambda skip: None, batch=10))
    assert [frame.height for frame in frames] == [10] * 6 + [3]
    assert pl.concat(frames)["name"].to_list() == [f"{n}-{m}" for n in range(9) for m in range(7)]


def test_a_pipe_is_read_like_a_file() -> None:
    """A stream that gives a few bytes at a time and cannot seek is read whole."""

    class Slow(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self.rest = content

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            part, self.rest = self.rest[:7], self.rest[7:]
            buffer[: len(part)] = part
            return len(part)

    text = "\n".join(line(span(name=str(n))) for n in range(5)).encode()
    for content in (text, gzip.compress(text), proto(*"abcde").SerializeToString()):
        frames = list(read_frames(Slow(content), on_skip=lambda skip: None))  # type: ignore[arg-type]
        assert pl.concat(frames).height == 5


def test_every_real_capture_is_read_whole() -> None:
    """Every span of every capture in the fixtures is read, none skipped, whatever instrumentation wrote it."""
    files = sorted((FIXTURES / "otlp").glob("*.jsonl"))
    expected = json.loads((FIXTURES / "expected.json").read_text())["files"]
    assert len(files) > 50
    for path in files:
        frame, skipped = read(path)
        about = expected.get(path.name) or expected[path.stem]
        assert skipped == [], path.name
        assert frame.height == about["n_spans"], path.name
        assert frame["trace_id"].str.contains("^[0-9a-f]{32}$").all()
