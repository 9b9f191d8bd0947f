"""Why a request is not taken. The sender's next step hangs on the status: 429 and 503 are tried again, others never."""

from __future__ import annotations

UNAVAILABLE = 14
_GRPC = {400: 3, 401: 16, 403: 7, 404: 12, 405: 12, 413: 8, 415: 3, 429: 14, 500: 13, 503: UNAVAILABLE}
"""HTTP status -> gRPC status code. RESOURCE_EXHAUSTED without a delay tells a sender not to try again."""


class Refused(Exception):
    """A request that is not taken, or not now."""

    def __init__(self, status: int, why: str, *, retry_after: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.retry_after = retry_after
        """Seconds after which the sender may try again; None: never."""

    @property
    def grpc_code(self) -> int:
        """The same as a number of gRPC."""
        return _GRPC.get(self.status, 2)

    def as_status(self) -> bytes:
        """The body of an HTTP refusal: a `google.rpc.Status`, as the OTLP specification demands."""
        from google.rpc.status_pb2 import Status

        encoded: bytes = Status(code=self.grpc_code, message=self.why).SerializeToString()
        return encoded

    def as_json(self) -> dict[str, object]:
        """The same for a sender of JSON."""
        return {"code": self.grpc_code, "message": self.why}
