"""The server's HTTP side: routes, waiting, streaming and the record of what was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from otel_research.demo.anthropic_wire import AnthropicWire
from otel_research.demo.ledger import Exchange, Outcome, ServerLedger
from otel_research.demo.model import Ask, Plan, Usage, count_tokens, plan
from otel_research.demo.openai_wire import OpenAIWire, embeddings_answer, read_embeddings
from otel_research.demo.profiles import Faults, ModelProfile
from otel_research.demo.wire import BadRequest, JsonObject, Wire

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_OPENAI = OpenAIWire()
_ANTHROPIC = AnthropicWire()
_MESSAGES = {429: "Rate limit reached. Please try again later.", 500: "The server had an error. Please try again."}


class HungUp(Exception):
    """The caller went away, or the server is closing, before the answer was complete."""


class App:
    """Answers requests on one event loop; everything random about them is decided in `model.plan`."""

    def __init__(
        self,
        *,
        seed: int,
        models: tuple[ModelProfile, ...],
        faults: Faults,
        answers: Mapping[str, str],
        latency_scale: float,
        ledger: ServerLedger,
    ) -> None:
        self._seed = seed
        self._models = {model.name: model for model in models}
        self._faults = faults
        self._answers = answers
        self._scale = latency_scale
        self._ledger = ledger
        # What came of the earlier arrivals of a request: how many, and whether the last one failed.
        self._history: dict[str, tuple[int, bool]] = {}
        self.closing: asyncio.Future[None] | None = None

    def router(self) -> Router:
        """The routes as an ASGI application.

        A bare router, not `Starlette(...)`: instrumentations patch that class, and the
        server must not appear in the experiment it serves.
        """
        return Router(
            [
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/v1/messages", self._message, methods=["POST"]),
                Route("/v1/models", self._list, methods=["GET"]),
            ]
        )

    async def _chat(self, request: Request) -> Reply | Response:
        return await self._serve(request, _OPENAI, _OPENAI.read)

    async def _message(self, request: Request) -> Reply | Response:
        return await self._serve(request, _ANTHROPIC, _ANTHROPIC.read)

    async def _embeddings(self, request: Request) -> Reply | Response:
        return await self._serve(request, _OPENAI, read_embeddings)

    async def _list(self, request: Request) -> JSONResponse:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "demo"} for name in self._models]
        return JSONResponse({"object": "list", "data": data})

    async def _serve(
        self, request: Request, wire: Wire, read: Callable[[str, Mapping[str, Any]], Ask]
    ) -> Reply | Response:
        path = request.url.path
        try:
            body = await _json_object(request)
            ask = read(path, body)
        except ClientDisconnect:
            # Hung up before the request was whole: nothing was asked.
            return Response(status_code=499)
        except BadRequest as problem:
            return JSONResponse(wire.error(400, str(problem)), status_code=400)
        profile = self._models.get(ask.model)
        if profile is None:
            known = ", ".join(self._models)
            message = f"The model {ask.model!r} does not exist. This server has: {known}."
            return JSONResponse(wire.error(404, message), status_code=404)
        decided, attempt = self._decide(ask, profile)
        answer: JsonObject | None = None
        if path.endswith("/embeddings") and not decided.is_failure:
            decided = msgspec.structs.replace(decided, usage=Usage(input=count_tokens(ask.texts)))
            answer = embeddings_answer(decided, ask, body, self._seed)
        self._ledger.arrived()
        return Reply(self, wire, ask, decided, _exchange(request, ask, decided, attempt), answer)

    def _decide(self, ask: Ask, profile: ModelProfile) -> tuple[Plan, int]:
        attempt, failed_before = self._history.get(ask.body_hash, (0, False))
        decided = plan(
            ask,
            profile,
            seed=self._seed,
            attempt=attempt,
            failed_before=failed_before,
            faults=self._faults,
            answers=self._answers,
        )
        self._history[ask.body_hash] = (attempt + 1, decided.is_failure)
        return decided, attempt

    def settle(self, exchange: Exchange, outcome: Outcome) -> None:
        """Write into the ledger what became of an exchange."""
        self._ledger.settled(msgspec.structs.replace(exchange, outcome=outcome))

    async def wait(self, gone: asyncio.Future[None], milliseconds: float) -> None:
        """Let the drawn latency pass; raises `HungUp` as soon as there is nobody to answer."""
        assert self.closing is not None
        await asyncio.wait(
            {gone, self.closing}, timeout=milliseconds * self._scale / 1000, return_when="FIRST_COMPLETED"
        )
        if gone.done() or self.closing.done():
            raise HungUp


class Reply:
    """One answer on its way: waits, sends, and settles the ledger exactly once.

    Settled before the last bytes leave, so that a caller that has its answer finds it in
    the ledger.
    """

    def __init__(
        self, app: App, wire: Wire, ask: Ask, plan: Plan, exchange: Exchange, answer: JsonObject | None
    ) -> None:
        self._app = app
        self._wire = wire
        self._ask = ask
        self._plan = plan
        self._exchange = exchange
        self._answer = answer
        self._is_settled = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Send the answer through ASGI."""
        gone = asyncio.ensure_future(_hang_up(receive))
        try:
            if self._ask.stream and not self._plan.is_failure:
                await self._stream(gone, send)
            else:
                await self._app.wait(gone, self._plan.delay_ms)
                await self._send_whole(send)
        except HungUp:
            await _abort(send)
        finally:
            gone.cancel()
            self._settle("abandoned")

    def _settle(self, outcome: Outcome) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._app.settle(self._exchange, outcome)

    async def _send_whole(self, send: Send) -> None:
        plan, headers = self._plan, [(b"content-type", b"application/json")]
        if plan.is_failure:
            data = self._wire.error(plan.status, _MESSAGES[plan.status])
        else:
            data = self._answer if self._answer is not None else self._wire.answer(plan, self._ask)
        if plan.retry_after_ms is not None:
            headers.append((b"retry-after-ms", str(plan.retry_after_ms).encode()))
        body = json.dumps(data).encode()
        headers.append((b"content-length", str(len(body)).encode()))
        headers.append((b"x-request-id", f"req_{plan.id}".encode()))
        self._settle("failed" if plan.is_failure else "answered")
        await send({"type": "http.response.start", "status": plan.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, gone: asyncio.Future[None], send: Send) -> None:
        plan = self._plan
        await self._app.wait(gone, plan.first_token_ms)
        headers = [(b"content-type", b"text/event-stream"), (b"x-request-id", f"req_{plan.id}".encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        generation = plan.delay_ms - plan.first_token_ms
        sent_at, last = 0.0, b""
        for part, text in self._wire.events(plan, self._ask):
            if part > sent_at:
                await self._app.wait(gone, (part - sent_at) * generation)
                sent_at = part
            if last:
                await send({"type": "http.response.body", "body": last, "more_body": True})
            last = text.encode()
        self._settle("answered")
        await send({"type": "http.response.body", "body": last})


async def _json_object(request: Request) -> JsonObject:
    try:
        body = await request.json()
    except ValueError as exc:
        raise BadRequest(f"could not parse the JSON body: {exc}") from exc
    if not isinstance(body, dict):
        raise BadRequest("the JSON body must be an object")
    return body


def _exchange(request: Request, ask: Ask, decided: Plan, attempt: int) -> Exchange:
    retry = request.headers.get("x-stainless-retry-count", "0")
    return Exchange(
        path=request.url.path,
        model=ask.model,
        status=decided.status,
        outcome="abandoned",
        body_hash=ask.body_hash,
        attempt=attempt,
        retry=int(retry) if retry.isdigit() else 0,
        is_stream=ask.stream,
        delay_ms=decided.delay_ms,
        input_tokens=decided.usage.input,
        output_tokens=decided.usage.output,
        cached_tokens=decided.usage.cached,
        reasoning_tokens=decided.usage.reasoning,
    )


async def _hang_up(receive: Receive) -> None:
    """Returns when the caller's connection is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _abort(send: Send) -> None:
    """End an exchange that nobody waits for; what a closed connection says to that is of no interest."""
    try:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    except Exception:
        return
