"""`push`: an experiment sent to any OTLP endpoint; what arrives is what was there."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from receivers import Served

import otel_research as otr
from otel_research.cli import main
from otel_research.errors import PushFailed
from otel_research.handle import Experiment
from otel_research.spans.schema import RAW, names
from otel_research.store.library import Library

SPANS = 103


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables and no state of the developer's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("ENDPOINT", "HEADERS", "PROTOCOL", "COMPRESSION"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


@pytest.fixture
def recorded(tmp_path: Path) -> Experiment:
    """An experiment with trials, odd values and a span that never ended."""
    with otr.testing.recording(f"disk:{tmp_path / 'origin'}") as (recorder, provider):
        running = otr.start_experiment("origin", condition="a")
        tracer = provider.get_tracer("app", "1.0")
        for number in range(SPANS - 2):
            with tracer.start_as_current_span(f"work {number}", attributes={"number": number}) as span:
                span.add_event("moment", {"share": number / 3})
        with tracer.start_as_current_span(
            "odd", attributes={"nan": float("nan"), "bytes": b"\x00\xff", "text": "ä\x00"}
        ):
            pass
        tracer.start_span("never ended")
        stopped = otr.stop_experiment(running, timeout=0)
        recorder.flush()
        experiment_id = stopped.id
    library = Library(f"disk:{tmp_path / 'origin'}")
    return Experiment(library.get(experiment_id), library)


class Backend(http.server.BaseHTTPRequestHandler):
    """An OTLP backend that answers as it is told."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        server.headers.append(dict(self.headers))
        status, headers, answer = server.answers.pop(0) if server.answers else (200, {}, b"")
        if status == 200:
            message = ExportTraceServiceRequest.FromString(body)
            spans = [span for group in message.resource_spans for scope in group.scope_spans for span in scope.spans]
            server.taken += [span.name for span in spans]
        self.send_response(status)
        for name, text in ({"content-type": "application/x-protobuf"} | headers).items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.answers, server.taken, server.headers = [], [], []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def push(experiment: Experiment, *options: str) -> tuple[int, dict[str, Any]]:
    command = ["push", experiment.id, "--store", experiment.library.url, "--json", *options]
    run = CliRunner().invoke(main, command)
    return run.exit_code, json.loads(run.stdout) if run.stdout else {"error": run.stderr}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_arrives_is_what_was_there(
    serve: Callable[..., Served], tmp_path: Path, recorded: Experiment, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one store to another by OTLP: the same rows, column for column, a span that never ended included."""
    served = serve("--otlp-token", "sesame")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20sesame")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", served.grpc if protocol == "grpc" else served.http)
    code, told = push(recorded, "--batch", "20")
    assert (code, told["spans"], told["accepted"], told["rejected"]) == (0, SPANS, SPANS, 0)
    assert served.stop() == 0
    library = Library(f"disk:{tmp_path / 'store'}")
    wanted, given = (
        found.scan(recorded.id).select(names(RAW)).collect().sort("span_id") for found in (recorded.library, library)
    )
    assert wanted.height == told["spans"]
    for name in names(RAW):
        assert given[name].equals(wanted[name], null_equal=True), name
    ledger = Experiment(library.get(recorded.id), library).ledger()
    assert (ledger.interrupted, ledger.lost_total, ledger.is_balanced) == (1, 0, True)
    assert library.get(recorded.id).name == "origin"


def test_an_interrupted_push_goes_on(recorded: Experiment, backend: Any) -> None:
    """What the endpoint has answered for is not sent again by the same command, and --afresh begins anew."""
    status = Status(code=3, message="no more today")
    backend.answers = [(200, {}, b""), (200, {}, b""), (400, {}, status.SerializeToString())]
    code, told = push(recorded, "--endpoint", backend.url, "--batch", "20")
    assert code == 2
    assert "no more today" in told["error"]
    assert len(backend.taken) == 40
    code, told = push(recorded, "--endpoint", backend.url, "--batch", "20")
    assert (code, told["skipped"], told["accepted"]) == (0, 40, told["spans"] - 40)
    assert len(backend.taken) == len(set(backend.taken)) == told["spans"]
    assert push(recorded, "--endpoint", backend.url)[1]["skipped"] == 0


def test_what_is_rejected_is_told(recorded: Experiment, backend: Any) -> None:
    """A partial success is told in numbers, with the endpoint's own words, and in the exit code."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 7
    answer.partial_success.error_message = "too old"
    backend.answers = [(200, {}, answer.SerializeToString())]
    code, told = push(recorded, "--endpoint", backend.url + "/v1/traces")
    assert code == 1
    assert (told["accepted"], told["rejected"], told["reasons"]) == (told["spans"] - 7, 7, {"too old": 7})


def test_what_can_wait_waits(recorded: Experiment, backend: Any) -> None:
    """429 and 503 are tried again when the endpoint says, and too large a batch goes in halves."""
    backend.answers = [(503, {"retry-after": "0"}, b""), (429, {"retry-after": "0"}, b""), (413, {}, b"")]
    code, told = push(recorded, "--endpoint", backend.url)
    assert (code, told["accepted"]) == (0, told["spans"])
    assert len(backend.taken) == len(set(backend.taken)) == told["spans"]
    assert len(backend.headers) == 5


def test_an_endpoint_that_is_not_there(recorded: Experiment) -> None:
    """Nobody answers: an error that names the endpoint."""
    from otel_research.ingest.push import push as send
    from otel_research.ingest.sender import Target

    target = Target("http://127.0.0.1:9", wait=lambda seconds: None)
    with pytest.raises(PushFailed, match=r"http://127.0.0.1:9/v1/traces does not take spans"):
        send(recorded.spans(), recorded.record, target)
