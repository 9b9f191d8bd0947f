"""What is exported as OTLP comes back the same, and any OTLP reader understands it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_research.errors import ResearchError
from otel_research.formats import export, otlp
from otel_research.formats.otlp_read import read_frames
from otel_research.spans import schema, values

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "spans" / "otlp"
RAW = schema.polars_schema(schema.RAW)


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(RAW) | row for row in rows], schema=RAW)


def there_and_back(spans: pl.DataFrame) -> pl.DataFrame:
    stream = io.BytesIO()
    otlp.write([spans], stream)
    stream.seek(0)
    skipped: list[Any] = []
    frames = list(read_frames(stream, on_skip=skipped.append))
    assert skipped == []
    return pl.concat(frames)


text = st.text(max_size=8)
number = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**62))
value = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(alphabet=st.characters(), max_size=6),
        st.binary(max_size=4), st.just("\ud83d"),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
attributes = st.dictionaries(
    st.one_of(text, st.sampled_from(["experiment.id", "session.id", "experiment.repetition", "$int"])),
    value,
    max_size=5,
)
ids = {
    "trace_id": st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda text: text.strip("0")),
    "span_id": st.text("0123456789abcdef", min_size=16, max_size=16).filter(lambda text: text.strip("0")),
}
row = st.fixed_dictionaries(
    {
        **ids,
        "parent_span_id": st.one_of(st.none(), ids["span_id"]),
        "name": st.one_of(st.none(), text),
        "kind": st.sampled_from([None, "internal", "server", "client", "producer", "consumer"]),
        "status": st.sampled_from([None, "ok", "error", "unset", "interrupted"]),
        "status_message": st.one_of(st.none(), text),
        "start_ns": st.one_of(st.none(), number),
        "end_ns": st.one_of(st.none(), number),
        "mono_start_ns": st.one_of(st.none(), number),
        "experiment_id": st.sampled_from([None, "abc"]),
        "condition": st.sampled_from([None, "", "a"]),
        "repetition": st.one_of(st.none(), st.integers(0, 9)),
        "aside": st.sampled_from([None, "judge"]),
        "sample_weight": st.sampled_from([None, 1.0, 12.5]),
        "is_sampled": st.sampled_from([None, True, False]),
        "scope": st.sampled_from([None, "", "openai"]),
        "scope_version": st.sampled_from([None, "", "1.0"]),
        "resource": st.sampled_from([None, "{}", '{"service.name": "spaced"}', '{"a":{"$int":"99999999999999999999"}}']),
        "attributes": st.one_of(st.none(), st.just("not json"), attributes.map(values.to_json)),
        "events": st.one_of(
            st.sampled_from([None, "[]", "[3]", '[{"name":"e","time_ns":null,"attributes":{}}]', '[{"name":"e","extra":1}]']),
            attributes.map(lambda found: values.to_json([{"name": "e", "time_ns": 7, "attributes": found}])),
        ),
        "links": st.sampled_from([None, "[]", '[{"trace_id":"x","span_id":"y","attributes":{}}]', f'[{{"trace_id":"{"a" * 32}","span_id":"{"b" * 16}","attributes":{{"k":1}}}}]']),
        "dropped_attributes": st.sampled_from([None, 0, 3]),
    }
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(rows=st.lists(row, min_size=1, max_size=4))
def test_any_row_comes_back_the_same(rows: list[dict[str, Any]]) -> None:
    """Whatever a RAW row holds, writing and reading it gives exactly that row, in its place."""
    spans = frame(*rows)
    assert there_and_back(spans).to_dicts() == spans.to_dicts()


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(row, min_size=1, max_size=4))
def test_the_written_file_is_valid_otlp(rows: list[dict[str, Any]]) -> None:
    """Each line is JSON that protobuf's own strict reader takes as an export request with all the spans."""
    stream = io.BytesIO()
    assert otlp.write([frame(*rows)], stream) == len(rows)
    spans = 0
    for line in stream.getvalue().splitlines():
        document = json.loads(line)
        for member in (
            m for group in document["resourceSpans"] for scope in group["scopeSpans"] for m in scope["spans"]
        ):
            # Ids are hex in OTLP and base64 in protobuf's JSON: the one difference between the two.
            for holder in (member, *member["links"]):
                holder.update({key: "" for key in ("traceId", "spanId", "parentSpanId") if key in holder})
        parsed = json_format.ParseDict(document, ExportTraceServiceRequest())
        spans += sum(len(scope.spans) for group in parsed.resource_spans for scope in group.scope_spans)
    assert spans == len(rows)


def test_a_captured_span_carries_one_extra_attribute_at_most() -> None:
    """What OTLP has no place for travels in one attribute, which a reader of ours removes again."""
    captured = {"trace_id": "a" * 32, "span_id": "b" * 16, "name": "n", "kind": "client", "status": "interrupted", "start_ns": 5,
                "mono_start_ns": 3, "sample_weight": 10.0, "experiment_source": "context", "attributes": '{"k":1}',
                "scope": "s", "resource": "{}", "is_sampled": False, "last_seen_ns": 9,
                "dropped_attributes": 0, "dropped_events": 0, "dropped_links": 0}  # fmt: skip
    stream = io.BytesIO()
    otlp.write([frame(captured)], stream)
    member = json.loads(stream.getvalue())["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert [pair["key"] for pair in member["attributes"]] == ["k", "otel_research.raw"]
    assert json.loads(member["attributes"][1]["value"]["stringValue"]) == {
        "experiment_source": "context", "sample_weight": 10.0, "mono_start_ns": 3, "last_seen_ns": 9, "status": "interrupted",
        "is_sampled": False,
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.jsonl"))[::6], ids=lambda path: path.stem)
def test_real_spans_need_no_extra_attribute(path: Path) -> None:
    """Spans that came as OTLP leave as OTLP, byte for byte in every column, with nothing added."""
    spans = pl.concat(read_frames(path, on_skip=lambda skip: pytest.fail(str(skip))))
    stream = io.BytesIO()
    otlp.write([spans], stream)
    assert b"otel_research.raw" not in stream.getvalue()
    assert there_and_back(spans).equals(spans)


def test_a_foreign_side_attribute_is_harmless() -> None:
    """An attribute of that name that holds something else changes nothing of the span."""
    for strange in ("no json", "3", '{"status":5,"no_such_column":1,"start_ns":1.5}'):
        spans = frame({"trace_id": "a" * 32, "span_id": "b" * 16, "start_ns": 5, "attributes": values.to_json({"otel_research.raw": strange})})  # fmt: skip
        assert there_and_back(spans)["start_ns"].item() == 5


def test_a_span_without_ids_is_refused_by_name() -> None:
    """OTLP cannot hold a span without ids, and the message names it."""
    with pytest.raises(ResearchError, match="span 'lost' cannot be written as OTLP: an id is missing"):
        otlp.write([frame({"name": "lost"})], io.BytesIO())


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_export_writes_otlp(tmp_path: Path, compression: str | None) -> None:
    """`export(frame, "otlp")` streams a lazy frame, with any derived columns beside, to a file that reads back."""
    rows = [{"trace_id": "a" * 32, "span_id": f"{n:016x}", "name": str(n), "start_ns": n} for n in range(1, 2501)]
    spans = frame(*rows).with_columns(cost_usd=1.0)
    path = export(spans.lazy(), "otlp", tmp_path / "spans.out", compression=compression)
    back = pl.concat(read_frames(path, on_skip=lambda skip: pytest.fail(str(skip))))
    assert back.equals(spans.select(RAW.names()))
