"""A receiver with a certificate: OpenTelemetry's own exporters over TLS, and nobody without it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from receivers import Served, message

from otel_research.errors import ConfigurationError
from otel_research.handle import Experiment
from otel_research.ingest.certificate import certificate


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    chain, key = str(folder / "server.pem"), str(folder / "server.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    named = ["-subj", "/CN=otel-research", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *named, "-out", chain, "-keyout", key], check=True, capture_output=True
    )
    return chain, key


def test_exporters_over_tls(
    serve: Callable[..., Served],
    found: Callable[..., Experiment],
    pem: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both ports take spans from who trusts the certificate, and nothing in plain text."""
    chain, key = pem
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests believes them before what it is told
        monkeypatch.delenv(variable, raising=False)
    served = serve("--otlp-certificate", chain, "--otlp-key", key)
    trusted = grpc.ssl_channel_credentials(Path(chain).read_bytes())
    exporters = (
        HttpExporter(endpoint=f"https://127.0.0.1:{served.ports['http']}/v1/traces", certificate_file=chain),
        GrpcExporter(endpoint=f"https://127.0.0.1:{served.ports['grpc']}", credentials=trusted),
    )
    for number, exporter in enumerate(exporters):
        span = TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span(f"encrypted {number}")
        span.end()
        assert exporter.export([span]) is SpanExportResult.SUCCESS  # type: ignore[list-item]
        exporter.shutdown()
    with pytest.raises(OSError, match=r"closed|reset"):
        served.post(message(1).SerializeToString())
    assert sorted(found().spans().collect()["name"]) == ["encrypted 0", "encrypted 1"]


def test_files_that_are_no_certificate(pem: tuple[str, str]) -> None:
    """Said before anything listens: one without the other, no file, no key of it."""
    chain, key = pem
    assert certificate(None, None) is None
    for wrong in ((chain, None), (None, key), (chain, "missing.pem"), (chain, chain), (key, key)):
        with pytest.raises(ConfigurationError, match="--otlp-certificate"):
            certificate(*wrong)
