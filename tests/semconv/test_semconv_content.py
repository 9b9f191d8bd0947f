"""`content="drop"` and `"hash"`: nothing that anybody wrote reaches a store, and the numbers stay what they are."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import captures
import polars as pl
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, Status, StatusCode
from variants import CONTENT, COUNTS

import otel_research as otr
from otel_research.capture.content import Content
from otel_research.semconv import normalise
from otel_research.semconv.calls import mark
from otel_research.semconv.content import is_harmless, kept
from otel_research.spans import schema
from otel_research.testing import recording

SECRET = "xSECRETx"
NAMES = re.compile(r"(?i)^(?:.*model.*|.*finish_reasons?|stop_reason|type|role|id|.*session_id|.*user_id|.*provider.*|service_?tier|status)$")  # fmt: skip
"""Keys inside JSON texts whose values are names."""
TOLD_BY_KEY = re.compile(r"role|type|finish|\.name$|\.id$|format|version|count|template\.|mime|kind")
POLICIES = pytest.mark.parametrize("policy", ["drop", "hash"])


def secret(key: str, value: Any) -> Any:
    """The value with a secret in every place that may hold content."""
    if isinstance(value, list):
        return [secret(key, one) for one in value]
    if not isinstance(value, str) or COUNTS.search(key):
        return value
    if CONTENT.search(key) and not TOLD_BY_KEY.search(key):
        return _inside(key, value) if value.startswith(("{", "[", '"')) else SECRET
    if value.startswith(("{", "[", '"')):
        return _inside(key, value)
    return f"{SECRET} {value}, he said to her" if len(value.split()) > 3 or len(value) > 128 else value


def _inside(key: str, text: str) -> str:
    try:
        inner = json.loads(text)
        return json.dumps(secret(key, inner) if isinstance(inner, str) else _leaves(inner, key.rpartition(".")[2]))
    except ValueError:
        return text[0] + f"'note': '{SECRET}', " + text[1:]


def _leaves(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _leaves(one, name) for name, one in value.items()} | {"note": SECRET}
    if isinstance(value, list):
        return [_leaves(one, key) for one in value]
    return SECRET if isinstance(value, str) and not NAMES.match(key) else value


def anywhere() -> dict[str, Any]:
    """Secrets under keys that nobody knows, in every type that an attribute may have."""
    return {
        "acme.note": SECRET,
        "acme.notes": [SECRET, "b"],
        "acme.map": {"inner": {"deep": SECRET}},
        "acme.bytes": SECRET.encode(),
        "gen_ai.agent.description": f"You are {SECRET}",
        "gen_ai.agent.name": f"a text of more than four words: {SECRET}",
        "experiment.trial.failure_reason": f"said {SECRET}",
        "error.message": SECRET,
        "url.full": f"https://api.x/v1?q={SECRET}",
        "db.query.text": f"select {SECRET}",
        "gen_ai.evaluation.explanation": SECRET,
        "embedding.embeddings.0.embedding.text": SECRET,
    }


def replay(name: str, provider: TracerProvider) -> int:
    """Every span of a capture once more, with secrets, through the SDK; how many."""
    rows = captures.raw(name).to_dicts()
    for row in rows:
        told = {key: secret(key, value) for key, value in json.loads(row["attributes"]).items()}
        link = Link(SpanContext(1, 2, is_remote=True), {"acme.link": SECRET})
        span = provider.get_tracer(row["scope"] or "x", row["scope_version"]).start_span(
            row["name"], attributes={**told, **anywhere()}, links=[link], start_time=row["start_ns"]
        )
        for event in json.loads(row["events"]):
            own = {key: secret(key, value) for key, value in event["attributes"].items()}
            span.add_event(event["name"], {**own, "acme.event": SECRET, "content": SECRET}, event["time_ns"])
        span.add_event(f"the user said {SECRET}")
        span.add_event("exception", {"exception.type": "openai.RateLimitError", "exception.message": f"429: {SECRET}", "exception.stacktrace": SECRET})  # fmt: skip
        span.set_status(Status(StatusCode.ERROR, f"RateLimitError: Error code: 429 - {SECRET}"))
        span.end(row["end_ns"])
    return len(rows)


def provider() -> TracerProvider:
    resource = Resource({"service.name": "s", "process.command_args": ["--prompt", SECRET]})
    unlimited = SpanLimits(max_attributes=SpanLimits.UNSET, max_attribute_length=SpanLimits.UNSET)
    return TracerProvider(resource=resource, span_limits=unlimited, shutdown_on_exit=False)


def written(folder: Path) -> bytes:
    """Every byte of every file below, and every text of every Parquet file unpacked."""
    found = io.BytesIO()
    for path in folder.rglob("*"):
        if path.is_file():
            found.write(path.read_bytes())
            if path.suffix == ".parquet":
                found.write(pl.read_parquet(path).write_csv().encode())
    return found.getvalue()


@POLICIES
def test_no_secret_reaches_the_journal_the_table_or_the_quarantine(policy: Any, tmp_path: Path) -> None:
    """A secret in any attribute, event, link, message or resource of any dialect is in no file, before or after sealing."""
    host = provider()
    otr.configure(store=f"disk:{tmp_path}", provider=host, content=policy)
    try:
        with otr.experiment("secrets") as exp:
            count = sum(replay(name, host) for name in captures.names())
            late = host.get_tracer("late").start_span("late", attributes={"gen_ai.prompt": SECRET})
            journal = written(tmp_path)
            otr.stop_experiment(exp, timeout=0)
        late.end()
        rows = exp.spans().collect()
    finally:
        close()
    assert rows.height >= count
    assert len(journal) > 1_000_000
    assert SECRET.encode() not in journal
    assert SECRET.encode() not in written(tmp_path)
    assert set(rows["error_kind"].drop_nulls()) >= {"rate_limit"}


def close() -> None:
    from otel_research import recorder
    from otel_research.capture import registry

    registry.open_spans.clear()
    current = recorder.current()
    if current is not None:
        current.close()


@POLICIES
@pytest.mark.parametrize("store", ["disk", "memory"])
def test_no_secret_passes_the_exporter(policy: Any, store: str, tmp_path: Path) -> None:
    """The exporter has the same policy, whether its store takes frames or rows."""
    host = provider()
    exporter = otr.ExperimentExporter(f"disk:{tmp_path}" if store == "disk" else "memory:", "ab" * 16, content=policy)
    host.add_span_processor(SimpleSpanProcessor(exporter))
    for name in captures.names()[::8]:
        replay(name, host)
    exporter.force_flush()
    journal = written(tmp_path)
    rows = exporter._library.scan("ab" * 16).collect()
    exporter.shutdown()
    assert rows.height > 100
    assert SECRET not in rows.write_csv()
    assert SECRET.encode() not in journal + written(tmp_path)


def test_the_exporter_takes_the_policy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument OTEL_RESEARCH_CONTENT decides, and a word that is no policy is refused."""
    monkeypatch.setenv("OTEL_RESEARCH_CONTENT", "drop")
    host, exporter = provider(), otr.ExperimentExporter("memory:", "cd" * 16)
    host.add_span_processor(SimpleSpanProcessor(exporter))
    host.get_tracer("t").start_span("s", attributes={"gen_ai.prompt": SECRET, "n": 1}).end()
    assert json.loads(exporter._library.scan("cd" * 16).collect()["attributes"][0]) == {"n": 1}
    with pytest.raises(otr.ConfigurationError, match="not a policy"):
        otr.ExperimentExporter("memory:", content="some")  # type: ignore[arg-type]


def without_content(row: dict[str, Any], policy: Any) -> dict[str, Any]:
    content = Content(policy, lambda where, error: pytest.fail(f"{where}: {error}"))
    events = [
        event | {"name": content.event_name(event["name"]), "attributes": content.applied(event["attributes"])}
        for event in json.loads(row["events"])
    ]
    return row | {
        "name": content.span_name(row["name"]),
        "status_message": content.message(row["status_message"]),
        "attributes": json.dumps(content.applied(json.loads(row["attributes"])), separators=(",", ":")),
        "events": json.dumps(events, separators=(",", ":")),
    }


@POLICIES
def test_the_numbers_stay_without_content(policy: Any) -> None:
    """Calls, models, tokens, kinds of failure and times of every capture are the same without what was said."""
    rows = [row | {"experiment_id": name} for name in captures.names() for row in captures.raw(name).to_dicts()]
    whole, bare = (
        mark(normalise(pl.DataFrame(found, schema=schema.polars_schema(schema.RAW)).lazy())).collect().to_dicts()
        for found in (rows, [without_content(row, policy) for row in rows])
    )
    columns = (
        "role", "is_call", "excluded_because", "operation", "provider", "request_model", "response_model",
        "finish_reason", *captures.COUNTS, "ttft_ms", "streaming", "error_kind", "reported_cost_usd", "tool_name",
        "agent_name", "conversation_id", "temperature", "response_id",
    )  # fmt: skip
    differing = [
        (one["experiment_id"], one["name"], name, one[name], other[name])
        for one, other in zip(whole, bare, strict=True)
        for name in columns
        if one[name] != other[name]
    ]
    assert differing == []


def test_names_stay_and_texts_go() -> None:
    """The allow-list: read as a name and looking like one."""
    assert kept("gen_ai.request.model", "gpt-4o") == "gpt-4o"
    assert kept("gen_ai.request.model", "a\nsecret") is None
    assert kept("gen_ai.response.finish_reasons", ["stop"]) == ["stop"]
    assert kept("unknown.key", "gpt-4o") is None
    assert kept("unknown.key", 5) == 5
    assert kept("embedding.vector", [0.1, 0.2]) is None
    assert kept("llm.invocation_parameters", '{"model": "m", "system": "be kind"}') == '{"model": "m"}'
    assert kept("haystack.component.output", '{"replies": [{"meta": {"model": "m", "x": "y"}}]}') == '{"replies": [{"meta": {"model": "m"}}]}'  # fmt: skip
    assert kept("metadata.usage_object", "{'cached_tokens': 3, 'note': 'x'}") == "{'cached_tokens': 3}"
    assert not is_harmless("gen_ai.input.messages")
    assert not is_harmless("output.value")


@POLICIES
def test_calls_that_stand_only_in_events_stay_calls(policy: str) -> None:
    """LlamaIndex's own events: the model and the counts are kept, the messages are not."""
    model = {"span_id": "OpenAI.chat-1", "model_dict.model_name": "gpt-4o", "messages": f'[{{"text": "{SECRET}"}}]'}
    answer = {"response.raw.id": "chatcmpl-1", "response.raw.usage.prompt_tokens": 40, "response.raw.usage.completion_tokens": 12, "response.message.blocks": SECRET}  # fmt: skip
    with recording(content=policy) as (_, host), otr.experiment("index") as exp:
        with host.get_tracer("llamaindex.opentelemetry.tracer").start_as_current_span("OpenAI.chat") as span:
            span.add_event("LLMChatStartEvent", model)
            span.add_event("LLMChatEndEvent", answer)
        row = exp.spans().filter(pl.col("scope").str.starts_with("llama")).collect().row(0, named=True)
    assert (row["is_call"], row["request_model"], row["input_tokens"], row["output_tokens"]) == (True, "gpt-4o", 40, 12)
    assert SECRET not in str(row)
