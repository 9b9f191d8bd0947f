"""One export request to an OTLP endpoint, as the standard variables configure it."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from otel_research.errors import ConfigurationError, PushFailed
from otel_research.ingest.signals import TRACES

PROTOCOLS = ("http/protobuf", "grpc")
_RETRIED_HTTP = frozenset({429, 502, 503, 504})
_RETRIED_GRPC = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
_ATTEMPTS = 7
_LONGEST_WAIT = 30.0


class TooLarge(Exception):
    """The endpoint does not take a message of this size; a smaller one it may."""


class Answer(NamedTuple):
    """What the endpoint said about one request."""

    rejected: int
    why: str


@dataclass
class Target:
    """An endpoint and how to talk to it; what is not given comes from the OTEL_EXPORTER_OTLP_* variables."""

    endpoint: str | None = None
    protocol: str | None = None
    wait: Callable[[float], object] = time.sleep
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        from opentelemetry.util.re import parse_env_headers

        self.protocol = self.protocol or _told("PROTOCOL") or PROTOCOLS[0]
        if self.protocol not in PROTOCOLS:
            raise ConfigurationError(f"the protocol {self.protocol!r} is not spoken: use {' or '.join(PROTOCOLS)}.")
        self.url = _url(self.endpoint, self.protocol)
        self.headers = dict(parse_env_headers(_told("HEADERS") or "", liberal=True))
        self._timeout = _seconds(_told("TIMEOUT"))
        self._is_packed = _told("COMPRESSION") == "gzip"
        self._post: Callable[[bytes], Answer] = self._by_grpc() if self.protocol == "grpc" else self._by_http()

    def send(self, body: bytes) -> Answer:
        """The answer to one request; what can be tried again is, with growing pauses.

        Raises `TooLarge`, and `PushFailed` for what the endpoint will not take or does not answer.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return self._post(body)
            except _Later as later:
                if attempt == _ATTEMPTS - 1:
                    raise PushFailed(f"{self.url} does not take spans: {later.why}.") from later
                self.wait(min(later.seconds if later.seconds is not None else 0.5 * 2**attempt, _LONGEST_WAIT))
        raise AssertionError("unreachable")

    def _by_http(self) -> Callable[[bytes], Answer]:
        import requests

        session = requests.Session()
        session.headers.update({"content-type": "application/x-protobuf", **self.headers})
        session.verify = _told("CERTIFICATE") or True
        key, certificate = _told("CLIENT_KEY"), _told("CLIENT_CERTIFICATE")
        session.cert = (certificate, key) if certificate and key else certificate

        def post(body: bytes) -> Answer:
            packed = {"content-encoding": "gzip"} if self._is_packed else {}
            data = gzip.compress(body, 6) if self._is_packed else body
            try:
                answer = session.post(self.url, data, headers=packed, timeout=self._timeout, allow_redirects=False)
            except (requests.ConnectionError, requests.Timeout) as error:
                raise _Later(f"it does not answer ({type(error).__name__})") from error
            except requests.RequestException as error:
                raise PushFailed(f"{self.url} cannot be sent to: {error}") from error
            if answer.status_code in _RETRIED_HTTP:
                raise _Later(f"status {answer.status_code}", _delay(answer.headers.get("retry-after")))
            if answer.status_code == 413:
                raise TooLarge
            if not answer.ok or answer.is_redirect:
                raise PushFailed(f"{self.url} answered {answer.status_code}: {_why(answer)}")
            return _read(answer.content) if "protobuf" in answer.headers.get("content-type", "") else Answer(0, "")

        return post

    def _by_grpc(self) -> Callable[[bytes], Answer]:
        import grpc

        scheme, _, address = self.url.partition("://")
        options = [("grpc.max_send_message_length", -1)]
        if scheme == "https":
            root, key, certificate = (
                _file(_told(name)) for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
            )
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(root, key, certificate), options)
        else:
            channel = grpc.insecure_channel(address, options)
        export: Any = channel.unary_unary(f"/{TRACES.service}/Export", None, None)
        metadata = tuple((name.lower(), value) for name, value in self.headers.items())
        packing = grpc.Compression.Gzip if self._is_packed else grpc.Compression.NoCompression

        def post(body: bytes) -> Answer:
            try:
                return _read(export(body, timeout=self._timeout, metadata=metadata, compression=packing))
            except grpc.RpcError as error:
                code = error.code().name
                delay = _retry_info(error)
                if code in _RETRIED_GRPC or (code == "RESOURCE_EXHAUSTED" and delay is not None):
                    raise _Later(f"{code}: {error.details()}", delay) from error
                if code == "RESOURCE_EXHAUSTED":
                    raise TooLarge from error
                raise PushFailed(f"{self.url} answered {code}: {error.details()}") from error

        return post


class _Later(Exception):
    """Not now."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.seconds = seconds


def _told(name: str) -> str | None:
    """One of the standard variables, the one for traces first."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or None


def _url(endpoint: str | None, protocol: str) -> str:
    """Where requests go: the variable for traces as it is, the others with the signal's path behind them."""
    own = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    base = endpoint or own or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if base is None:
        base = "http://localhost:4317" if protocol == "grpc" else "http://localhost:4318"
    if "://" not in base:
        base = f"http://{base}"
    if protocol == "grpc":
        return base.rstrip("/")
    is_whole = (endpoint is None and own is not None) or base.rstrip("/").endswith("/v1/traces")
    return base if is_whole else base.rstrip("/") + "/v1/traces"


def _seconds(text: str | None) -> float:
    try:
        return float(text or 10)
    except ValueError:
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_TIMEOUT={text} is no number of seconds.") from None


def _delay(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None


def _file(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read(body: bytes) -> Answer:
    said = TRACES.response().FromString(body).partial_success
    return Answer(said.rejected_spans, said.error_message)


def _why(answer: Any) -> str:
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status

    if "protobuf" in answer.headers.get("content-type", ""):
        try:
            return str(Status.FromString(answer.content).message) or answer.reason
        except DecodeError:
            pass
    return str(answer.text[:300].strip() or answer.reason)


def _retry_info(error: Any) -> float | None:
    """Seconds after which to try again, where the endpoint said so."""
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
