"""What is captured live, what is imported from the same spans, and what the server says are one and the same."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
import pytest
from clients import CLIENTS, SUMS, Client, Use
from google.protobuf.json_format import MessageToJson
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_research as otr
from otel_research.demo.ledger import Exchange
from otel_research.demo.profiles import NO_FAULTS, Faults
from otel_research.demo.server import ModelServer
from otel_research.spans.schema import ALL, IDENTITY, names
from otel_research.testing import recording

ONLY_LIVE = ("mono_start_ns", "mono_end_ns", "is_sampled", "experiment_source")
"""What the official encoder does not send (the monotonic clock, the sampled flag), and the way a row came here."""
LOSES_REFUSED_STREAMS = ("pydantic_ai",)
"""Clients whose own span of a stream that was refused at once says nothing about it."""
REFUSING = Faults(rate_limit=1, server_error=0, slow=0, persistence=1, retry_after_ms=1)


@dataclass(frozen=True)
class Run:
    """One client's session: the live experiment, the spans that its host exported, and the servers' words."""

    client: str
    live: otr.Experiment
    spans: Sequence[ReadableSpan]
    exchanges: tuple[Exchange, ...]

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """The metrics of the live experiment."""
        return _numbers(self.live)

    @cached_property
    def calls(self) -> pl.DataFrame:
        """The rows that count."""
        return self.live.spans().filter("is_call").collect()


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda use: use.__name__)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Every client once; all tests look at that one session."""
    use: Use = request.param
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with (
        recording(provider=provider),
        ModelServer(seed=3, faults=NO_FAULTS, latency_scale=0) as server,
        ModelServer(seed=3, faults=REFUSING, latency_scale=0) as refusing,
    ):
        with otr.experiment(use.__name__) as live:
            with use(provider, server.url) as client:
                _session(live, client)
            with use(provider, refusing.url) as client, live.arm("refused"), live.trial(item="refused"):
                _refused(client, use.__name__)
        assert server.ledger.drain()
        assert refusing.ledger.drain()
        yield Run(
            use.__name__,
            live,
            exporter.get_finished_spans(),
            (*server.ledger.exchanges, *refusing.ledger.exchanges),
        )


def _session(live: otr.Experiment, client: Client) -> None:
    for number, question in enumerate(SUMS):
        with live.arm("plain"), live.trial(item=number):
            client.plain(question)
        with live.arm("stream"), live.trial(item=number):
            client.stream(question)
        with live.arm("async"), live.trial(item=number):
            asyncio.run(_asynchronously(client, question))
    with live.arm("tools"), live.trial(item="tools"):
        client.tools("What is the weather in Oslo?")


async def _asynchronously(client: Client, question: str) -> None:
    await asyncio.gather(client.plain_async(question), client.stream_async(question))


def _refused(client: Client, name: str) -> None:
    # Two spans of a refused stream stand side by side without usage: that they are one request, only their times
    # can tell, and a loaded machine pulls those apart.
    ask = client.plain_async if name == "both_anthropic" else client.stream_async
    with contextlib.suppress(Exception):
        client.plain(SUMS[0])
    with contextlib.suppress(Exception):
        asyncio.run(ask(SUMS[0]))


def as_json(spans: Sequence[ReadableSpan]) -> bytes:
    """One export request per span, as protobuf's own JSON: ids in base64, enums by name."""
    return b"".join(MessageToJson(encode_spans([span]), indent=None).encode() + b"\n" for span in spans)


def as_protobuf(spans: Sequence[ReadableSpan]) -> bytes:
    """What an OTLP exporter would have sent."""
    content: bytes = encode_spans(spans).SerializeToString()
    return content


@pytest.mark.parametrize("encoded", [as_json, as_protobuf])
def test_the_import_path_equals_the_live_path(run: Run, encoded: Any) -> None:
    """Every column of every row is the same, and so is every number."""
    (imported,) = otr.import_spans(io.BytesIO(encoded(run.spans)), store="memory:")
    assert imported.id == run.live.id
    columns = [name for name in names(ALL) if name not in ONLY_LIVE]
    live = run.live.spans().select(columns).sort(IDENTITY).collect()
    again = imported.spans().select(columns).sort(IDENTITY).collect()
    differing = [name for name in columns if not live[name].equals(again[name])]
    assert differing == []
    assert live.height == len(run.spans)
    assert _numbers(imported) == run.numbers


def _numbers(experiment: otr.Experiment) -> dict[str, Any]:
    """Every number under its path. Rows come in another order, so sums may differ in the last bit."""
    found: dict[str, Any] = {}
    for unit in ("call", "trial"):
        _flatten(unit, otr.calculate_metrics(experiment, unit=unit).to_dict(), found)
    assert any(isinstance(value, float) for value in found.values())
    return {path: pytest.approx(value, rel=1e-11) if type(value) is float else value for path, value in found.items()}


def _flatten(path: str, value: Any, found: dict[str, Any]) -> None:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in inner:
        _flatten(f"{path}.{key}", item, found)
    if not isinstance(value, (dict, list, tuple)):
        found[path] = value


def test_the_calls_are_the_servers(run: Run) -> None:
    """Calls, models and tokens, cached and reasoning ones included, are what the server counted."""
    assert run.calls.height == len(run.exchanges)
    assert otr.calculate_metrics(run.live).n == len(run.exchanges)
    truth = [one for one in run.exchanges if one.outcome == "answered"]
    counted = run.calls.filter(pl.col("input_tokens").is_not_null())
    columns = ("request_model", "input_tokens", "output_tokens", pl.col("cache_read_tokens").fill_null(0))
    expected = [(one.model, one.input_tokens, one.output_tokens, one.cached_tokens) for one in truth]
    assert sorted(counted.select(columns).rows()) == sorted(expected)
    assert sum(one.cached_tokens for one in truth) > 0
    # Anthropic's protocol has no count of reasoning tokens of its own.
    thought = sum(one.reasoning_tokens for one in truth if one.path.endswith("completions"))
    assert counted["reasoning_tokens"].sum() == thought
    totals = otr.calculate_metrics(run.live).tokens.by_model
    assert {model: (one["input"], one["output"]) for model, one in totals.items()} == {
        model: (sum(one.input_tokens for one in truth if one.model == model),
                sum(one.output_tokens for one in truth if one.model == model))
        for model in {one.model for one in truth}
    }  # fmt: skip


def test_the_errors_are_the_servers(run: Run) -> None:
    """Every refused request is a failed call of the kind that the server gave, or a call that is flagged."""
    assert [one.status for one in run.exchanges if one.outcome == "failed"] == [429, 429]
    refused = run.calls.filter(pl.col("condition") == "refused").sort("start_ns")
    kinds = refused["error_kind"].to_list()
    if run.client in LOSES_REFUSED_STREAMS:
        assert kinds == ["rate_limit", None]
        assert "usage_missing" in refused["flags"][1].split(",")
    else:
        assert kinds == ["rate_limit"] * 2
    reliability = otr.calculate_metrics(run.live).reliability
    assert reliability.failures == sum(kind is not None for kind in kinds)
    assert run.calls.filter(pl.col("condition") != "refused", pl.col("error_type").is_not_null()).is_empty()


def test_streams_are_the_servers(run: Run) -> None:
    """The calls that are streams are the server's, and only those have a time to the first token.

    Two clocks (the span's and the instrumentation's own) may disagree by a millisecond.
    """
    answered = run.calls.filter(pl.col("input_tokens").is_not_null())
    streams = sum(one.is_stream for one in run.exchanges if one.outcome == "answered")
    assert answered["streaming"].sum() == streams
    timed = answered.filter(pl.col("ttft_ms").is_not_null())
    assert timed["streaming"].all()
    assert timed.filter(pl.col("ttft_ms") > pl.col("duration_ms") + 1).is_empty()


def test_tools_and_agents_are_no_calls(run: Run) -> None:
    """Rows that stand around the calls repeat their tokens nowhere."""
    others = run.live.spans().filter(~pl.col("is_call")).collect()
    assert others.filter(pl.col("role") == "trial").height == 3 * len(SUMS) + 2
    assert others["cost_usd"].null_count() == others.height
    if run.client.startswith("pydantic_ai"):
        assert others.filter(pl.col("role") == "tool")["tool_name"].to_list() == ["weather"]
        assert others.filter(pl.col("role") == "agent").height == 4 * len(SUMS) + 3
