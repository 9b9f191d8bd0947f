"""OTLP over HTTP: an ASGI application for `/v1/traces` and `/v1/logs`."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from otel_research.ingest.inbox import Inbox
from otel_research.ingest.refusal import Refused
from otel_research.ingest.signals import SIGNALS, Signal
from otel_research.ingest.unpack import too_large, unpacked

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_AT_ONCE = 16
"""Bodies of the largest size that are in memory at the same time."""
_PATHS = {f"/v1/{signal.name}": signal for signal in SIGNALS}


class HttpDoor:
    """Answers export requests with an OTLP status; everything is journaled before the answer."""

    def __init__(self, inbox: Inbox, *, token: str | None, largest: int) -> None:
        self._inbox = inbox
        self._token = token
        self._largest = largest
        self._held = 0
        """Bytes of bodies that are being read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            signal = self._admitted(scope, headers, kind)
            body = await self._body(receive, headers)
            answer = self._answered(signal, body, headers.get("content-encoding", "").strip().lower(), kind)
        except Refused as refusal:
            await _refuse(send, refusal, kind)
        except Exception as error:
            # What is wrong with us is not the sender's to lose: it may send it again.
            await _refuse(send, Refused(503, f"internal error: {type(error).__name__}", retry_after=30), kind)
            raise
        else:
            await _send(send, 200, JSON if kind == JSON else PROTOBUF, answer)

    def _admitted(self, scope: Scope, headers: dict[str, str], kind: str) -> Signal:
        """What is sent; raises `Refused` before anything is read."""
        signal = _PATHS.get(scope["path"])
        if signal is None:
            raise Refused(404, f"{scope['path'][:80]} is not received here; {' and '.join(_PATHS)} are.")
        if scope["method"] != "POST":
            raise Refused(405, "export requests are POSTed.")
        check_token(self._token, headers.get("authorization"))
        if "origin" in headers:
            raise Refused(403, "requests from web pages are refused.")
        if kind not in (PROTOBUF, JSON):
            raise Refused(415, f"Content-Type {kind[:40]!r} is not understood; send {PROTOBUF} or {JSON}.")
        return signal

    async def _body(self, receive: Receive, headers: dict[str, str]) -> bytes:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._largest:
            raise too_large(self._largest)
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the sender left before its body was complete.")
                chunk = message.get("body", b"")
                size += len(chunk)
                self._held += len(chunk)
                if size > self._largest:
                    raise too_large(self._largest)
                if self._held > _AT_ONCE * self._largest:
                    raise Refused(429, "too much is being sent at the same time.", retry_after=1)
                chunks.append(chunk)
                if not message.get("more_body"):
                    return b"".join(chunks)
        finally:
            self._held -= size

    def _answered(self, signal: Signal, body: bytes, encoding: str, kind: str) -> bytes:
        plain = unpacked(body, encoding, self._largest)
        if kind == JSON:
            from google.protobuf.json_format import MessageToJson

            taken = self._inbox.take(signal, signal.read_json(plain))
            said: str = MessageToJson(signal.answer(taken.refused, taken.why))
            return said.encode()
        taken = self._inbox.take(signal, signal.read(plain), plain)
        encoded: bytes = signal.answer(taken.refused, taken.why).SerializeToString()
        return encoded


def check_token(wanted: str | None, given: str | None) -> None:
    """Whether the sender may send; raises `Refused`."""
    if wanted is None:
        return
    scheme, _, token = (given or "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), wanted.encode()):
        raise Refused(401, "send the receiver's token: OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN.")


async def _refuse(send: Send, refusal: Refused, kind: str) -> None:
    more = [] if refusal.retry_after is None else [(b"retry-after", str(refusal.retry_after).encode())]
    more += [(b"allow", b"POST")] if refusal.status == 405 else []
    more += [(b"www-authenticate", b"Bearer")] if refusal.status == 401 else []
    if kind == JSON:
        await _send(send, refusal.status, JSON, json.dumps(refusal.as_json()).encode(), more)
    else:
        await _send(send, refusal.status, PROTOBUF, refusal.as_status(), more)


async def _send(send: Send, status: int, kind: str, body: bytes, more: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
