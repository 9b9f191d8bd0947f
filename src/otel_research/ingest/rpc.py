"""OTLP over gRPC: the same inbox behind `TraceService/Export` and `LogsService/Export`."""

from __future__ import annotations

import logging
from typing import Any

from otel_research.errors import ConfigurationError
from otel_research.ingest.certificate import Certificate
from otel_research.ingest.http import check_token
from otel_research.ingest.inbox import Inbox
from otel_research.ingest.refusal import Refused
from otel_research.ingest.signals import SIGNALS, Signal

_logger = logging.getLogger("otel_research")


class GrpcDoor:
    """A gRPC server on one address; `largest` bounds a message after its decompression, too."""

    def __init__(
        self, inbox: Inbox, address: str, *, token: str | None, largest: int, tls: Certificate | None = None
    ) -> None:
        self._inbox = inbox
        self._address = address
        self._token = token
        self._largest = largest
        self._tls = tls
        self.has_started = False

    def _server(self) -> Any:
        import grpc

        options = [
            ("grpc.max_receive_message_length", self._largest),
            # Two receivers on one port would each get some of the spans.
            ("grpc.so_reuseport", 0),
        ]
        # It belongs to the event loop that runs now.
        server = grpc.aio.server(options=options)
        for signal in SIGNALS:
            # Bytes in, bytes out: the message that is journaled is the one that came.
            export = grpc.unary_unary_rpc_method_handler(self._export(signal))
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(signal.service, {"Export": export}),))
        try:
            if self._tls is None:
                server.add_insecure_port(self._address)
            else:
                server.add_secure_port(self._address, self._tls.for_grpc())
        except RuntimeError as error:
            raise ConfigurationError(f"cannot listen on {self._address}: {error}.") from error
        return server

    def _export(self, signal: Signal) -> Any:
        async def export(body: bytes, context: Any) -> bytes:
            try:
                given = dict(context.invocation_metadata() or ()).get("authorization")
                check_token(self._token, given)
                taken = self._inbox.take(signal, signal.read(body), body)
            except Refused as refusal:
                await context.abort(*_abortion(refusal))
            except Exception as error:
                # What is wrong with us is not the sender's to lose: it may send it again.
                _logger.exception("otel_research: the receiver could not take a message")
                refused = Refused(503, f"internal error: {type(error).__name__}", retry_after=30)
                await context.abort(*_abortion(refused))
            answer: bytes = signal.answer(taken.refused, taken.why).SerializeToString()
            return answer

        return export

    async def run(self) -> None:
        """Serve until cancelled."""
        server = self._server()
        await server.start()
        self.has_started = True
        try:
            await server.wait_for_termination()
        finally:
            await server.stop(1.0)


def _abortion(refusal: Refused) -> tuple[Any, str, tuple[tuple[str, bytes], ...]]:
    """(code, message, trailers); a delay goes into a `RetryInfo`, as the OTLP specification demands."""
    import grpc

    code = next(code for code in grpc.StatusCode if code.value[0] == refusal.grpc_code)
    if refusal.retry_after is None:
        return code, refusal.why, ()
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    delay = RetryInfo()
    delay.retry_delay.seconds = refusal.retry_after
    packed = AnyMessage()
    packed.Pack(delay)
    status = Status(code=refusal.grpc_code, message=refusal.why, details=[packed])
    return code, refusal.why, (("grpc-status-details-bin", status.SerializeToString()),)
