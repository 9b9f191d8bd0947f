"""Who may ask: token, Host and Origin, sizes, methods; and the headers that every answer carries."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_QUERY = 4096
LONGEST_PATH = 1024
_TOKEN_BYTES = 24
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


def saved_token(folder: Path | None = None) -> str:
    """The token of this user, made once: a page that is open survives a restart of the server.

    It lies in the user's state folder (XDG_STATE_HOME), readable by the user alone. Where it cannot be
    kept there, every start has a new one.
    """
    state = folder or Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "otel-research"
    path = state / "serve-token"
    try:
        kept = path.read_text().strip()
        if len(kept) >= _TOKEN_BYTES:
            return kept
    except OSError:
        pass
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(token + "\n")
    except OSError:
        pass
    return token


class Guard:
    """Wraps an application: refuses whoever may not ask, before anything is read."""

    def __init__(self, app: App, *, token: str, hosts: tuple[str, ...], port: int, named: tuple[str, ...] = ()) -> None:
        self._app = app
        self._token = token
        self._hosts = {f"{host}:{port}" for host in hosts} | ({*hosts} if port == 80 else set())
        # Names that the user allows are mostly those of a proxy, which listens on a port of its own.
        self._named = frozenset(name.lower() for name in named)
        self._cookie = f"otel-research-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        given = _query_token(scope)
        if given is not None:
            # The token moves from the address, which is kept and copied, into a cookie.
            await self._welcome(scope, send)
            return
        await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if len(scope["query_string"]) > LONGEST_QUERY or len(scope["raw_path"] or b"") > LONGEST_PATH:
            return 414, "The address is too long."
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "The dashboard only reads: use GET."
        host = headers.get("host", "").lower()
        is_named = re.sub(r":\d+$", "", host) in self._named
        if host not in self._hosts and not is_named:
            return 421, "This server does not answer under that Host name. Open the address that it printed."
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", *[f"https://{host}"] * is_named):
            return 403, "Requests from other sites are refused."
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and _query_token(scope) is None:
            # A link from another site may be followed, with the token in it or not at all.
            return 403, "Requests from other sites are refused."
        if not self._knows(_query_token(scope) or _cookie_of(headers, self._cookie)):
            return 401, "Open the address with the token, as `otel-research serve` printed it."
        return None

    def _knows(self, token: str | None) -> bool:
        return token is not None and hmac.compare_digest(token.encode(), self._token.encode())

    async def _welcome(self, scope: Scope, send: Send) -> None:
        rest = [part for part in scope["query_string"].split(b"&") if part and not part.lower().startswith(b"token=")]
        # A path that begins with two slashes would be another host's address.
        target = b"/" + (scope["raw_path"] or b"/").lstrip(b"/") + (b"?" + b"&".join(rest) if rest else b"")
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000".encode()
        await _answer(send, 303, "", ((b"location", target), (b"set-cookie", cookie)))


def _query_token(scope: Scope) -> str | None:
    if b"token=" not in scope["query_string"]:
        return None
    values = parse_qs(scope["query_string"].decode("latin-1")).get("token")
    return values[0] if values else None


def _cookie_of(headers: MutableMapping[str, str], name: str) -> str | None:
    for part in headers.get("cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None


async def _answer(send: Send, status: int, text: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *HEADERS, *more]})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return wrapped
