"""OTLP in protobuf, and evaluation results in logs."""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData
from otlp_samples import PARENT, SPAN, START, TRACE, proto, read, span

from otel_research.spans import values


def varint(size: int) -> bytes:
    out = b""
    while size > 0x7F:
        out, size = out + bytes([size & 0x7F | 0x80]), size >> 7
    return out + bytes([size])


def framed(*messages: bytes, four: bool) -> bytes:
    return b"".join((len(m).to_bytes(4, "big") if four else varint(len(m))) + m for m in messages)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("names", [("a",), ("a", "b" * 300), tuple("abcdefghijklmnopqrstuvwxyz" * 8)])
def test_protobuf_in_every_framing(pack: Any, names: tuple[str, ...]) -> None:
    """One message, varint-delimited messages and the collector's four-byte framing give the same spans."""
    whole = proto(*names).SerializeToString()
    request = ExportTraceServiceRequest.FromString(whole).SerializeToString()
    for content in (whole, request):
        assert read(pack(content))[0]["name"].to_list() == list(names)
    for four in (False, True):
        frame, skipped = read(pack(framed(whole, whole, four=four)))
        assert (frame["name"].to_list(), skipped) == ([*names, *names], [])


def test_protobuf_values_equal_json_values() -> None:
    """The same span in protobuf and in JSON is the same row."""
    nested = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()])))]))  # fmt: skip
    made = Span(
        trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), parent_span_id=bytes.fromhex(PARENT), name="n", kind=2,
        start_time_unix_nano=START, end_time_unix_nano=START + 1, flags=1,
        attributes=[KeyValue(key="deep", value=nested), KeyValue(key="raw", value=AnyValue(bytes_value=b"\0\1")), KeyValue(key="f", value=AnyValue(double_value=math.inf))],
        events=[Span.Event(name="e", time_unix_nano=5)], links=[Span.Link(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(PARENT))],
        dropped_events_count=4,
    )  # fmt: skip
    made.status.code = 1
    from_proto, _ = read(
        TracesData(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[made])])]).SerializeToString()
    )
    raw = base64.b64encode(b"\0\1").decode()
    in_json = span(
        name="n", kind=2, endTimeUnixNano=str(START + 1), flags=1, status={"code": 1}, droppedEventsCount=4,
        attributes=[
            {"key": "deep", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}, {}]}}}]}}},
            {"key": "raw", "value": {"bytesValue": raw}}, {"key": "f", "value": {"doubleValue": "Infinity"}},
        ],
        events=[{"name": "e", "timeUnixNano": "5"}], links=[{"traceId": TRACE, "spanId": PARENT}],
    )  # fmt: skip
    from_json, _ = read(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [in_json]}]}]}))
    assert from_proto.equals(from_json)


def test_torn_protobuf_keeps_what_is_whole() -> None:
    """Messages before the cut are imported, the cut is reported."""
    whole = proto("a", "b").SerializeToString()
    frame, skipped = read(framed(whole, whole, four=False)[:-5])
    assert frame.height == 2
    assert "cut off" in skipped[0].reason
    frame, skipped = read((whole + whole)[:-5])
    assert (frame.height, skipped[0].line) == (2, 2)


def test_a_bad_protobuf_span_is_told() -> None:
    """A span without ids is reported by name, its neighbours are imported."""
    made = proto("good", "bad")
    made.resource_spans[0].scope_spans[0].spans[1].span_id = b""
    frame, skipped = read(made.SerializeToString())
    assert frame["name"].to_list() == ["good"]
    assert "'bad'" in skipped[0].reason


def test_metrics_and_noise_are_not_spans() -> None:
    """Other protobuf and other bytes are reported, never imported as something."""
    metrics = MetricsData(resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=[Metric(name="m")])])])
    for content in (metrics.SerializeToString(), b"\x01\x02\x03 not a file of ours", bytes(range(256))):
        frame, skipped = read(content)
        assert (frame.height, len(skipped)) == (0, 1), content[:20]


def evaluation(**more: str) -> list[KeyValue]:
    said = {"gen_ai.evaluation.name": "accuracy", "gen_ai.evaluation.score.label": "pass"} | more
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in said.items()]


def test_evaluation_results_become_score_rows() -> None:
    """A logged evaluation result is a score row below its span, in both encodings, the same on every import."""
    ids = {"trace_id": bytes.fromhex(TRACE), "span_id": bytes.fromhex(SPAN)}
    score = LogRecord(event_name="gen_ai.evaluation.result", time_unix_nano=START, attributes=evaluation(), **ids)
    score.attributes.append(KeyValue(key="gen_ai.evaluation.score.value", value=AnyValue(double_value=0.9)))
    other = LogRecord(event_name="gen_ai.user.message", time_unix_nano=START, **ids)
    logs = LogsData(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[score, other, other])])])
    frame, skipped = read(logs.SerializeToString())
    assert [(skip.line, skip.records) for skip in skipped] == [(1, 2)]
    row = frame.row(0, named=True)
    assert (row["trace_id"], row["parent_span_id"], row["start_ns"], row["scope"]) == (
        TRACE,
        SPAN,
        START,
        "otel_research",
    )
    assert values.from_json(row["attributes"]) == {
        "gen_ai.evaluation.name": "accuracy",
        "gen_ai.evaluation.score.label": "pass",
        "gen_ai.evaluation.score.value": 0.9,
        "experiment.row": "score",
    }
    in_json = {
        "eventName": "gen_ai.evaluation.result", "timeUnixNano": str(START), "traceId": TRACE, "spanId": SPAN,
        "attributes": [
            {"key": "gen_ai.evaluation.name", "value": {"stringValue": "accuracy"}},
            {"key": "gen_ai.evaluation.score.label", "value": {"stringValue": "pass"}},
            {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.9}},
        ],
    }  # fmt: skip
    again, _ = read(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [in_json]}]}]}))
    assert again.equals(frame)


def test_different_scores_of_one_span_are_different_rows() -> None:
    """Two results about one span at one time differ in their ids; one result read twice does not."""
    records = [
        {"attributes": [{"key": "event.name", "value": {"stringValue": "gen_ai.evaluation.result"}}, {"key": "gen_ai.evaluation.name", "value": {"stringValue": name}}], "timeUnixNano": "5"}
        for name in ("a", "b", "a")
    ]  # fmt: skip
    frame, _ = read(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}))
    assert frame["span_id"].n_unique() == 2
    assert frame["trace_id"].str.len_chars().unique().to_list() == [32]
