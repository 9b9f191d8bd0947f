"""Opt-in baggage: opaque ids, to hosts of the list only; real HTTP clients and servers on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import requests
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import otel_research as otr
from otel_research.capture.baggage import is_on
from otel_research.testing import recording

SERVING = """
from http.server import BaseHTTPRequestHandler, HTTPServer
from opentelemetry import baggage, context, propagate

otr.configure(baggage=["127.0.0.1"])
otr.join_experiment(os.environ["WIDE"])

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        token = context.attach(propagate.extract({key.lower(): value for key, value in self.headers.items()}))
        with tracer.start_as_current_span("serve", kind=trace.SpanKind.SERVER):
            tracer.start_span("inside").end()
        told.append(dict(baggage.get_all()))
        context.detach(token)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass

told = []
server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.handle_request()
server.handle_request()
print(*told)
"""


class Server:
    """A server on loopback that keeps what it is sent, and serves inside the context that came in."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.redirect: str | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.headers.append({key.lower(): value for key, value in self.headers.items()})
                if server.redirect is not None and self.path == "/go":
                    self.send_response(302)
                    self.send_header("Location", server.redirect)
                else:
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    made = Server(), Server()
    yield made
    for server in made:
        server.close()


@pytest.fixture
def client() -> Iterator[RequestsInstrumentor]:
    """The requests library, instrumented by OpenTelemetry's own package."""
    instrumentor = RequestsInstrumentor()
    yield instrumentor
    instrumentor.uninstrument()


@pytest.fixture(autouse=True)
def propagator_stays() -> Iterator[None]:
    before = propagate.get_global_textmap()
    yield
    assert propagate.get_global_textmap() is before


def test_by_default_nothing_goes_out(servers: tuple[Server, Server], client: Any) -> None:
    """Without the opt-in no request carries anything of an experiment."""
    with recording("memory:") as (_, provider):
        client.instrument(tracer_provider=provider)
        with otr.experiment("secret name", condition="secret arm"):
            requests.get(f"http://127.0.0.1:{servers[0].port}/", timeout=10)
    (headers,) = servers[0].headers
    assert "traceparent" in headers
    assert "baggage" not in headers
    assert "secret" not in str(headers)


def test_only_hosts_of_the_list_and_only_ids(servers: tuple[Server, Server], client: Any) -> None:
    """The listed one gets experiment and trial as hex digits; the other gets nothing, names go to neither."""
    listed, other = servers
    with recording("memory:", baggage=[f"127.0.0.1:{listed.port}"]) as (_, provider):
        client.instrument(tracer_provider=provider)
        block = otr.experiment("secret name", tags=["secret tag"], session_id="secret session")
        with block as exp, exp.arm("secret arm", factors={"secret": "level"}), exp.trial(item="secret item") as trial:
            for server in servers:
                requests.get(f"http://127.0.0.1:{server.port}/", timeout=10)
        requests.get(f"http://127.0.0.1:{listed.port}/", timeout=10)
    assert listed.headers[0]["baggage"] == f"otel_research={exp.id}-{trial.id}"
    assert "baggage" not in other.headers[0]
    assert "baggage" not in listed.headers[1], "outside any experiment there is nothing to tell"
    assert "secret" not in str([listed.headers, other.headers])


def test_a_second_request_with_the_same_headers() -> None:
    """A client that asks for every hop of a redirect takes our entry off before a host that is not on the list."""
    with recording("memory:", baggage=["api.internal"]) as (_, provider), otr.experiment("x") as exp:
        token = context.attach(baggage.set_baggage("user", "mine"))
        told: list[dict[str, Any]] = []
        headers: dict[str, Any] = {}
        for host in ("api.internal", "elsewhere.example"):
            attributes = {"server.address": host}
            with provider.get_tracer("t").start_as_current_span("c", kind=trace.SpanKind.CLIENT, attributes=attributes):
                propagate.inject(headers)
            told.append(dict(headers))
        context.detach(token)
        raw: dict[str, Any] = {"Baggage": f"a=1, otel_research={exp.id}".encode(), "other": "x"}
        propagate.inject(raw)
    assert told[0]["baggage"] == f"user=mine,otel_research={exp.id}"
    assert told[1]["baggage"] == "user=mine"
    assert raw == {"Baggage": b"a=1", "other": "x"}


def test_a_redirect_that_a_client_follows_by_itself(servers: tuple[Server, Server], client: Any) -> None:
    """A known limit: `requests` sends its headers on to where a listed host redirects it; they hold no name."""
    listed, other = servers
    listed.redirect = f"http://127.0.0.1:{other.port}/there"
    with recording("memory:", baggage=[f"127.0.0.1:{listed.port}"]) as (_, provider):
        client.instrument(tracer_provider=provider)
        with otr.experiment("secret name", condition="secret") as exp:
            requests.get(f"http://127.0.0.1:{listed.port}/go", timeout=10)
    assert other.headers[0].get("baggage") in (None, f"otel_research={exp.id}")
    assert "secret" not in str(other.headers)


def test_what_came_in_is_the_servers_scope(client: Any, tmp_path: Path, start: Any) -> None:
    """Another process that takes part puts what it serves into the request's experiment and trial, and says so."""
    with recording(f"disk:{tmp_path / 'store'}", baggage=["127.0.0.1"]) as (_, provider):
        client.instrument(tracer_provider=provider)
        wide = otr.start_experiment("of the server's process")
        with otr.experiment("of the request", condition="a") as exp:
            serving = start(SERVING, OTEL_RESEARCH_EXPERIMENT_ID=exp.id, WIDE=wide.id)
            port = serving.stdout.readline().strip()
            with exp.trial(item="q") as trial:
                requests.get(f"http://127.0.0.1:{port}/", timeout=10)
            token = context.attach(Context())
            requests.get(f"http://127.0.0.1:{port}/", timeout=10, headers={"baggage": "user=1"})
            context.detach(token)
            out, err = serving.communicate(timeout=60)
            assert serving.returncode == 0, err
        otr.stop_experiment(wide)
        first, second = (
            each.where({"scope": "app"})
            .spans()
            .sort("start_ns")
            .select("name", "trial_id", "experiment_source")
            .collect()
            for each in (exp, wide)
        )
        parent = exp.spans().filter(pl.col("kind") == "client").select("trace_id", "span_id").collect().row(0)
        served = exp.spans().filter(pl.col("name") == "serve").select("trace_id", "parent_span_id").collect().row(0)
    assert first.rows() == [("serve", trial.id, "baggage"), ("inside", trial.id, "parent")]
    # The other request was made in the process-wide experiment of the client, which the server takes part in too.
    assert second.rows() == [("serve", None, "baggage"), ("inside", None, "parent")]
    assert served == parent
    assert out.split() == ["{}", "{'user':", "'1'}"]


@pytest.mark.parametrize(
    "told", ["", "nonsense", "e" * 32 + "-name", "../../etc", "E" * 32, "e" * 32, "e" * 32 + "-" + "1" * 16]
)
def test_what_a_stranger_sends_is_not_believed(told: str) -> None:
    """An entry that is none, or that names an experiment which does not run here, changes nothing for its spans."""
    with recording("memory:", baggage=["localhost"]) as (_, provider):
        tracer = provider.get_tracer("server")
        with otr.experiment("mine") as exp:
            pass
        came = propagate.extract({"baggage": f"otel_research={told},user=1"})
        tracer.start_span("stranger", context=came).end()
        assert exp.spans().collect().height == 0
        assert baggage.get_all(came) == {"user": "1"}


def test_a_host_without_baggage_keeps_its_own_to_itself() -> None:
    """Where the program's propagators leave baggage alone, only our entry is sent and read."""
    before: TextMapPropagator = propagate.get_global_textmap()
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    try:
        with recording("memory:", baggage=["api.internal"]) as (_, provider), otr.experiment("x") as exp:
            token = context.attach(baggage.set_baggage("user", "private"))
            tracer, carrier = provider.get_tracer("t"), dict[str, str]()
            call = tracer.start_as_current_span(
                "call", kind=trace.SpanKind.CLIENT, attributes={"url.full": "https://api.internal/v1"}
            )
            with call:
                propagate.inject(carrier)
            context.detach(token)
        assert carrier["baggage"] == f"otel_research={exp.id}"
        assert W3CBaggagePropagator().fields == {"baggage"}
    finally:
        propagate.set_global_textmap(before)


def test_without_a_client_span_nothing_is_told() -> None:
    """Where nobody says which host a request goes to, it gets nothing: also inside a span of a server's own."""
    with recording("memory:", baggage=["api.internal"]) as (_, provider), otr.experiment("x"):
        for kind in (trace.SpanKind.SERVER, trace.SpanKind.INTERNAL):
            carrier: dict[str, str] = {}
            with provider.get_tracer("t").start_as_current_span(
                "s", kind=kind, attributes={"server.address": "api.internal"}
            ):
                propagate.inject(carrier)
            assert carrier.keys() == {"traceparent"}
        propagate.inject(carrier := {})
        assert carrier == {}


@pytest.mark.parametrize(
    ("entry", "host", "port", "named"),
    [
        ("api.internal", "api.internal", "443", True),
        ("api.internal", "evil-api.internal", "443", False),
        ("api.internal", "api.internal.evil.com", "443", False),
        ("api.internal:8000", "api.internal", "8000", True),
        ("api.internal:8000", "api.internal", "", False),
        (".internal", "a.b.internal", "1", True),
        (".internal", "internal", "1", True),
        (".internal", "notinternal", "1", False),
        ("[::1]", "::1", "80", True),
        ("localhost", "", "", False),
    ],
)
def test_hosts_of_the_list(entry: str, host: str, port: str, named: bool) -> None:
    """Exact names, a port where one is given, subdomains only below a leading dot."""
    assert is_on((entry,), host, port) is named


@pytest.mark.parametrize(
    "hosts", ["api.internal", ["*"], ["https://api.internal"], ["a/b"], [""], [7], 7, ["*.internal"]]
)
def test_what_is_no_host(hosts: Any) -> None:
    """A scheme, a path, a wildcard or text instead of a list: refused by name, nothing is set up."""
    with pytest.raises(otr.ConfigurationError, match="baggage"):
        otr.configure(store="memory:", baggage=hosts)
