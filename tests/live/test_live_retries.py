"""A call that is sent more than once: one call, its attempts, and its waiting apart from its work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from clients import Anthropic
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr
from otel_research.demo.profiles import Faults
from otel_research.demo.server import ModelServer
from otel_research.testing import recording

REFUSED_ONCE = Faults(rate_limit=1, server_error=0, slow=0, persistence=0, retry_after_ms=100)


@pytest.fixture
def refusing() -> Iterator[ModelServer]:
    """A server that refuses every request the first time and answers it the second."""
    with ModelServer(seed=3, faults=REFUSED_ONCE, latency_scale=0) as server:
        yield server


def only_call(exp: otr.Experiment) -> dict[str, Any]:
    (row,) = exp.spans().filter("is_call").collect().to_dicts()
    return row


def test_a_client_that_counts_its_retries(refusing: ModelServer) -> None:
    """anthropic says on its span how often it sent the request again: one call, as many attempts as the server saw."""
    provider = TracerProvider(shutdown_on_exit=False)
    with recording(provider=provider), otr.experiment("retried") as exp:
        client = Anthropic(refusing.url, provider, traces=True)
        client._client = client._client.with_options(max_retries=2)
        client.plain("What is 1 + 17?")
    assert refusing.ledger.drain()
    row = only_call(exp)
    assert (row["attempts"], row["error_type"]) == (len(refusing.ledger.exchanges), None)
    assert row["attempts"] == 2


class TracedTransport(httpx2.HTTPTransport):
    """A span for every request that is sent, as an instrumentation of the HTTP client makes them."""

    def __init__(self, tracer: trace.Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        told = {"http.request.method": request.method, "url.full": str(request.url)}
        with self._tracer.start_as_current_span("POST", kind=trace.SpanKind.CLIENT, attributes=told) as span:
            response = super().handle_request(request)
            response.read()
            span.set_attribute("http.response.status_code", response.status_code)
            return response


def test_a_client_whose_requests_are_spans(refusing: ModelServer) -> None:
    """Where each request is a span below the call, back-off is the time between them, and work is the rest."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    provider = TracerProvider(shutdown_on_exit=False)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    try:
        with recording(provider=provider), otr.experiment("retried") as exp:
            http = httpx2.Client(transport=TracedTransport(provider.get_tracer("http.client")))
            client = openai.OpenAI(base_url=f"{refusing.url}/v1", api_key="unused", max_retries=2, http_client=http)
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "What is 1 + 17?"}])
    finally:
        OpenAIInstrumentor().uninstrument()
    assert refusing.ledger.drain()
    row = only_call(exp)
    assert row["attempts"] == len(refusing.ledger.exchanges) == 2
    assert row["error_type"] is None
    assert 50 < row["backoff_ms"] < row["duration_ms"]
    requests = exp.spans().filter(role="http").collect()
    between = (requests["start_ns"].max() - requests["end_ns"].min()) / 1e6
    assert row["backoff_ms"] == pytest.approx(between)
