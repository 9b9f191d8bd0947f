"""Real senders: OpenTelemetry's exporters in Python and JavaScript, and rotel, an agent in Rust."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from receivers import Served, wait_for_port
from tests.doc_blocks import SETUPS, titled

import otel_research as otr
from otel_research.handle import Experiment

SPANS = 300
ID = "0123456789abcdef0123456789abcdef"
PACKAGES = ("sdk-trace-node@2", "exporter-trace-otlp-proto", "exporter-trace-otlp-http")


def send(exporter: SpanExporter, spans: int = SPANS, **attributes: Any) -> dict[str, dict[str, Any]]:
    """Spans of a program with the stock pipeline; id -> what each is."""
    provider = TracerProvider(resource=Resource.create({"service.name": "sender"}))
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
    tracer = provider.get_tracer("sender", "2.0")
    made = {}
    for number in range(spans):
        given = {"gen_ai.request.model": "gpt-4o-mini", "number": number, **attributes}
        with tracer.start_as_current_span(f"chat {number}", kind=SpanKind.CLIENT, attributes=given) as span:
            span.add_event("token", {"index": number})
            if number % 10 == 0:
                span.set_status(Status(StatusCode.ERROR, "refused"))
        context: Any = span.get_span_context()
        made[f"{context.span_id:016x}"] = {
            "name": f"chat {number}",
            "start_ns": span.start_time,
            "end_ns": span.end_time,
        }
    assert provider.force_flush(30_000)
    provider.shutdown()
    return made


def assert_stored(experiment: Experiment, made: dict[str, dict[str, Any]]) -> None:
    rows = experiment.spans().collect()
    assert {
        row["span_id"]: {name: row[name] for name in ("name", "start_ns", "end_ns")} for row in rows.to_dicts()
    } == made
    assert rows.height == len(made)
    ledger = experiment.ledger()
    assert (ledger.received, ledger.stored, ledger.lost_total) == (len(made), len(made), 0)
    assert ledger.is_balanced


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_python_over_http(
    serve: Callable[..., Served], found: Callable[..., Experiment], compression: Compression
) -> None:
    """What OpenTelemetry's HTTP exporter sends is stored, whole and once, however it is packed."""
    served = serve()
    made = send(HttpExporter(endpoint=f"{served.http}/v1/traces", compression=compression))
    assert_stored(found(), made)
    row = found().spans().filter(name="chat 10").collect().to_dicts()[0]
    assert (row["status"], row["status_message"], row["scope"], row["kind"]) == ("error", "refused", "sender", "client")
    assert json.loads(row["attributes"]) == {"gen_ai.request.model": "gpt-4o-mini", "number": 10}
    assert json.loads(row["resource"])["service.name"] == "sender"
    assert json.loads(row["events"])[0]["attributes"] == {"index": 10}


def test_python_over_grpc(serve: Callable[..., Served], found: Callable[..., Experiment]) -> None:
    """The same over gRPC, with gzip."""
    from grpc import Compression as Packing

    served = serve()
    made = send(GrpcExporter(endpoint=served.grpc, insecure=True, compression=Packing.Gzip))
    assert_stored(found(), made)


def test_a_receiver_that_stops_seals_what_it_has(
    serve: Callable[..., Served], found: Callable[..., Experiment]
) -> None:
    """After a polite end the experiment is stopped, with its hash and a ledger that balances."""
    served = serve("--experiment", "night run")
    made = send(HttpExporter(endpoint=f"{served.http}/v1/traces"))
    assert served.stop() == 0
    experiment = found("night run")
    assert (experiment.record.state, experiment.record.ended_by) == ("stopped", "user")
    assert experiment.record.content_hash is not None
    assert experiment.record.ledger["stored"] == len(made)
    assert_stored(experiment, made)


def test_spans_go_where_they_say(
    serve: Callable[..., Served], tmp_path: Path, found: Callable[..., Experiment]
) -> None:
    """A program elsewhere takes part in an experiment by its id; what names none goes to the default."""
    served = serve()
    exporter = HttpExporter(endpoint=f"{served.http}/v1/traces")
    ours = send(exporter, 50, **{"experiment.id": ID, "experiment.name": "joint", "experiment.condition": "b"})
    others = send(HttpExporter(endpoint=f"{served.http}/v1/traces"), 20)
    assert_stored(found("joint"), ours)
    assert found("joint").id == ID
    assert set(found("joint").spans().collect()["condition"]) == {"b"}
    assert set(found("joint").spans().collect()["experiment_source"]) == {"attributes"}
    assert_stored(found(), others)


def test_spans_reach_an_experiment_that_runs(serve: Callable[..., Served], tmp_path: Path) -> None:
    """A running experiment's own spans and those received for it are one experiment, one ledger, a process each."""
    served = serve()
    with otr.testing.recording(f"disk:{tmp_path / 'store'}") as (_, provider):
        running = otr.start_experiment("joint")
        with provider.get_tracer("here").start_as_current_span("here"):
            pass
        send(HttpExporter(endpoint=f"{served.http}/v1/traces"), 30, **{"experiment.id": running.id})
        assert running.spans().collect().height == 31
        assert served.stop() == 0
        assert running.record.state == "running"
        otr.stop_experiment(running)
        ledger = running.ledger()
        assert (ledger.started, ledger.ended, ledger.received, ledger.stored) == (1, 1, 30, 31)
        assert ledger.is_balanced
        each = running.ledgers().values()
        assert sorted((one.ended, one.received, one.stored) for one in each) == [(0, 30, 30), (1, 0, 1)]


# -- JavaScript ---------------------------------------------------------------------------------

PROGRAM = """
const { NodeTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-node');
const { OTLPTraceExporter } = require(process.argv[2]);
const exporter = new OTLPTraceExporter({ url: process.argv[3] });
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
const tracer = provider.getTracer('javascript', '1.0');
const made = {};
for (let number = 0; number < 300; number++) {
  const span = tracer.startSpan(`chat ${number}`, { kind: 2, attributes: {
    'gen_ai.request.model': 'gpt-4o-mini', 'share': number / 4, 'is_even': number % 2 === 0, 'list': ['ä', 'b'] } });
  span.end();
  const ns = (time) => String(BigInt(time[0]) * 1000000000n + BigInt(time[1]));
  made[span.spanContext().spanId] = { name: span.name, start_ns: ns(span.startTime), end_ns: ns(span.endTime) };
}
provider.forceFlush().then(() => provider.shutdown()).then(() => console.log(JSON.stringify(made)));
"""


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with OpenTelemetry for JavaScript, installed once per session."""
    folder = tmp_path_factory.mktemp("javascript")
    npm = shutil.which("npm")
    assert npm is not None, "npm is missing: the JavaScript senders need Node.js 18 or newer"
    packages = [f"@opentelemetry/{name}" for name in PACKAGES]
    (folder / "package.json").write_text("{}")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages]
    subprocess.run(command, check=True, cwd=folder, timeout=300, capture_output=True)
    (folder / "send.cjs").write_text(PROGRAM)
    return folder


@pytest.mark.parametrize("encoding", ["proto", "http"])
def test_javascript(
    serve: Callable[..., Served], found: Callable[..., Experiment], javascript: Path, encoding: str
) -> None:
    """What OpenTelemetry's JavaScript exporters send, in protobuf and in JSON, is stored whole and once."""
    served = serve()
    package = f"@opentelemetry/exporter-trace-otlp-{encoding}"
    command = ["node", "send.cjs", package, f"{served.http}/v1/traces"]
    run = subprocess.run(command, cwd=javascript, capture_output=True, text=True, timeout=60, check=True)
    told = json.loads(run.stdout)
    made = {
        span: {"name": each["name"], "start_ns": int(each["start_ns"]), "end_ns": int(each["end_ns"])}
        for span, each in told.items()
    }
    assert len(made) == SPANS
    assert_stored(found(), made)
    row = found().spans().filter(name="chat 3").collect().to_dicts()[0]
    said = {"gen_ai.request.model": "gpt-4o-mini", "share": 0.75, "is_even": False, "list": ["ä", "b"]}
    assert json.loads(row["attributes"]) == said


# -- rotel --------------------------------------------------------------------------------------


@pytest.fixture
def rotel(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start a rotel agent that passes spans on; the address of its HTTP receiver."""
    spec = find_spec("rotel")
    assert spec is not None, "rotel is missing; it is in the dependency group `test`"
    assert spec.origin is not None
    agents: list[subprocess.Popen[bytes]] = []

    def start(options: str) -> str:
        http, grpc = _free_port(), _free_port()
        options = options.replace("127.0.0.1:4318", f"127.0.0.1:{http}").replace("127.0.0.1:4317", f"127.0.0.1:{grpc}")
        command = [str(Path(str(spec.origin)).parent / "rotel-agent"), *shlex.split(options), "--batch-timeout", "50ms"]
        # Its binary is linked to Python's shared library, which no loader finds outside the usual folders.
        environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
        with (tmp_path / "rotel.log").open("wb") as log:
            agents.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=environment))
        wait_for_port(http)
        return f"http://127.0.0.1:{http}"

    yield start
    for agent in agents:
        agent.terminate()
        agent.wait(30)


SERVE, AGENT = titled(SETUPS)["agent"].code.splitlines()
"""The lines of the how-to: our receiver, and the agent that sends to it."""


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_rotel(
    serve: Callable[..., Served],
    found: Callable[..., Experiment],
    rotel: Callable[[str], str],
    wait_until: Callable[[Callable[[], bool]], None],
    protocol: str,
) -> None:
    """An agent in between may batch anew and pack with gzip: the same spans are stored, whole and once.

    As the how-to has it, but for the ports, which are free ones; and over gRPC as well.
    """
    words = shlex.split(SERVE)
    name = words[words.index("--experiment") + 1]
    served = serve("--experiment", name)
    http = AGENT.removeprefix("rotel ").replace("http://127.0.0.1:5318", served.http)
    grpc = http.replace(served.http, served.grpc).replace(
        "--otlp-exporter-protocol http", "--otlp-exporter-protocol grpc"
    )
    address = rotel(http if protocol == "http" else grpc)
    made = send(HttpExporter(endpoint=f"{address}/v1/traces"))
    wait_until(lambda: _count(found, name) == len(made))
    assert_stored(found(name), made)


def _count(found: Callable[..., Experiment], name: str) -> int:
    try:
        return int(found(name).spans().collect().height)
    except ValueError:
        # Nothing has arrived, so there is no experiment yet.
        return 0


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
