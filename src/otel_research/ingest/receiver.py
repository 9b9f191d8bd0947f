"""The two doors together: sockets, token, and a server for each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from otel_research.context import environment
from otel_research.errors import ConfigurationError, MissingExtra
from otel_research.ingest.certificate import Certificate
from otel_research.ingest.http import HttpDoor
from otel_research.ingest.inbox import DEFAULT_NAME, Inbox
from otel_research.ingest.listening import LOOPBACK, bound, bracketed
from otel_research.ingest.rpc import GrpcDoor
from otel_research.store.library import Library

LARGEST = 8 << 20
"""Bytes of a body, packed or unpacked; `--max-body` sets another limit."""
OPTIONS = ("--otlp-http", "--otlp-grpc")
"""Of `otel-research serve`, for the two ports."""


class Receiver:
    """Receives OTLP on two ports; None for a port opens none. Port 0 is any that is free.

    Args:
        store: URL of the store; default as everywhere.
        host: address to listen on. One that is not loopback needs a token.
        http_port: of OTLP over HTTP.
        grpc_port: of OTLP over gRPC.
        token: what senders have to send as `authorization: Bearer TOKEN`.
        experiment: id or name of the experiment for spans that name none.
        largest: bytes of a body, packed or unpacked.
        tls: the certificate of both ports; None: plain HTTP and gRPC.

    Raises:
        ConfigurationError: a port is taken, the token is missing, or a content policy is set that a
            receiver cannot keep: it stores what others send as it comes.
        MissingExtra: the extra `serve` is not installed.
    """

    def __init__(
        self,
        store: str | None,
        host: str = "127.0.0.1",
        http_port: int | None = 4318,
        grpc_port: int | None = 4317,
        *,
        token: str | None = None,
        experiment: str = DEFAULT_NAME,
        largest: int = LARGEST,
        tls: Certificate | None = None,
    ) -> None:
        _check(host, token)
        with contextlib.ExitStack() as undo:
            # A port that is taken is told before anything begins.
            self._sockets = [
                None if port is None else undo.enter_context(contextlib.closing(bound(host, port, option)))
                for port, option in ((http_port, OPTIONS[0]), (grpc_port, OPTIONS[1]))
            ]
            self.http_port, self.grpc_port = (each and each.getsockname()[1] for each in self._sockets)
            self.inbox = Inbox(Library(store or environment().get("store")), experiment)
            self.scheme = "http" if tls is None else "https"
            self._http = _http_server(self.inbox, token, largest, tls)
            address = f"{bracketed(host)}:{self.grpc_port}"
            self._grpc = GrpcDoor(self.inbox, address, token=token, largest=largest, tls=tls)
            undo.pop_all()

    @property
    def is_ready(self) -> bool:
        """Whether it answers on all its ports."""
        is_http_up = self.http_port is None or self._http.started
        return is_http_up and (self.grpc_port is None or self._grpc.has_started)

    async def run(self) -> None:
        """Serve until cancelled, or until one of the doors fails."""
        http, grpc = self._sockets
        running = [] if http is None else [self._http.serve(sockets=[http])]
        if grpc is not None:
            # gRPC opens the address itself.
            grpc.close()
            running.append(self._grpc.run())
        await asyncio.gather(*running)

    def close(self) -> None:
        """Take no more, and seal what was received. Idempotent."""
        for each in self._sockets:
            if each is not None:
                each.close()
        self.inbox.close()


def _check(host: str, token: str | None) -> None:
    if host not in LOOPBACK and not token:
        raise ConfigurationError(
            f"a receiver on {host} is reachable from outside and needs a token: --otlp-token TOKEN. "
            "Without one, listen on 127.0.0.1."
        )
    policy = environment().get("content") or "full"
    if policy != "full":
        raise ConfigurationError(
            f"OTEL_RESEARCH_CONTENT={policy} cannot be kept by the receiver: it stores what programs send as it comes. "
            "Set the policy in the programs that send, and unset it here."
        )


def _http_server(inbox: Inbox, token: str | None, largest: int, tls: Certificate | None) -> Any:
    try:
        import uvicorn
    except ImportError:
        raise MissingExtra("uvicorn", "serve") from None

    class Server(uvicorn.Server):
        """One that leaves the process's signals to others."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        HttpDoor(inbox, token=token, largest=largest), log_level="warning", access_log=False, ws="none",
        lifespan="off", server_header=False, date_header=False, timeout_graceful_shutdown=1,
        ssl_certfile=None if tls is None else tls.chain, ssl_keyfile=None if tls is None else tls.key,
    )  # fmt: skip
    return Server(config)
