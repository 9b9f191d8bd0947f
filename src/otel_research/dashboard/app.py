"""Addresses: pages, data, events, downloads. Everything is read-only."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from otel_research.dashboard.broadcast import SECTIONS, Broadcast
from otel_research.dashboard.catalogue import Shelf
from otel_research.dashboard.pool import Pool, WorkerFailed
from otel_research.dashboard.sentinel import Sentinel
from otel_research.errors import ResearchError, UnknownExperiment
from otel_research.experiments import is_id

if TYPE_CHECKING:
    from starlette.requests import Request

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
FORMATS = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "jsonl": "application/jsonl"}
HEARTBEAT_SECONDS = 15.0


class Dashboard:
    """The application over one store."""

    def __init__(self, store: str | None, rules: Sequence[str] = (), webhooks: Sequence[str] = ()) -> None:
        self.shelf = Shelf(store)
        self._sentinel = Sentinel(self.shelf, rules, webhooks) if rules else None
        self.pool = Pool(self.shelf.opened_by)
        self._broadcasts: dict[str, Broadcast] = {}
        self._costs: dict[tuple[str, Any], Any] = {}
        # By name: what is not in the folder at the start does not exist.
        self._files = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}
        addresses = (
            ("/", self.page),
            ("/experiment/{id}", self.page),
            ("/experiment/{id}/trace/{trace}", self.page),
            ("/compare", self.page),
            ("/study/{name}", self.page),
            ("/static/{name}", self.static),
            ("/api/experiments", self.experiments),
            ("/api/experiments/{id}/cost", self.cost),
            ("/api/experiments/{id}/trace/{trace}", self.trace),
            ("/api/experiments/{id}/spans.{format}", self.download),
            ("/api/experiments/{id}/conditions", self.conditions),
            ("/api/experiments/{id}/{section}", self.section),
            ("/api/compare", self.compare),
            ("/api/study/{name}", self.study),
            ("/events", self.events),
        )
        # A router and not an application class: instrumentations patch that one.
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in addresses]
        self.router = Router(routes, lifespan=self._lifespan)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI; what went wrong is said in JSON, without a trace of our insides."""
        try:
            await self.router(scope, receive, send)
        except HTTPException as error:
            await JSONResponse({"error": error.detail}, error.status_code)(scope, receive, send)
        except UnknownExperiment as error:
            await JSONResponse({"error": str(error)}, 404)(scope, receive, send)
        except WorkerFailed as error:
            await JSONResponse({"error": str(error)}, 500)(scope, receive, send)
        except ResearchError as error:
            await JSONResponse({"error": str(error)}, 400)(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _lifespan(self, router: Any) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._tidy())]
        if self._sentinel is not None:
            tasks.append(asyncio.create_task(self._sentinel.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for broadcast in self._broadcasts.values():
                broadcast.close()
            self.pool.close()

    def hang_up(self) -> None:
        """Let open pages go: a server that ends waits for them, and would have to cut them off."""
        for broadcast in self._broadcasts.values():
            broadcast.hang_up()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            self.pool.tidy()

    # -- pages and their files ------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """One document for every page: its script looks at the address."""
        return self._file("index.html")

    async def static(self, request: Request) -> Response:
        """A script, a style sheet or the icon."""
        return self._file(request.path_params["name"])

    def _file(self, name: str) -> Response:
        path = self._files.get(name)
        if path is None:
            raise HTTPException(404, "There is no such file.")
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})

    # -- data -----------------------------------------------------------------------------

    async def experiments(self, request: Request) -> Response:
        """The list, as far as the records tell."""
        asked = {name: request.query_params.get(name, "") for name in ("text", "tag", "study", "state")}
        lines = await asyncio.to_thread(lambda: self.shelf.listed(**asked))
        if "format" in request.query_params:
            return await self._table(request, "experiments", "experiments", lines=lines)
        return _json({"store": self.shelf.url, "experiments": lines})

    async def cost(self, request: Request) -> Response:
        """What an experiment cost; kept while its record does not change."""
        record = self.shelf.record(_id(request))
        key = (record.id, record.content_hash)
        if record.content_hash is None or key not in self._costs:
            self._costs[key] = await self.pool.ask("list", "cost", experiment=record.id)
        return _json(self._costs[key])

    async def section(self, request: Request) -> Response:
        """One section of an experiment."""
        name = request.path_params["section"]
        if name not in SECTIONS:
            raise HTTPException(404, f"There is no section {name[:40]!r}; there are {', '.join(SECTIONS)}.")
        experiment = self.shelf.record(_id(request)).id
        if name == "metrics" and "format" in request.query_params:
            return await self._table(request, "metrics", f"{experiment}-metrics", experiment=experiment)
        return _json(await self.pool.ask(experiment, "section", experiment=experiment, name=name, fresh=True))

    async def conditions(self, request: Request) -> Response:
        """The names of an experiment's conditions."""
        experiment = self.shelf.record(_id(request)).id
        return _json({"conditions": await self.pool.ask("pages", "conditions", experiment=experiment)})

    async def trace(self, request: Request) -> Response:
        """One trace with everything in it."""
        experiment = self.shelf.record(_id(request)).id
        return _json(await self.pool.ask("pages", "trace", experiment=experiment, trace=request.path_params["trace"]))

    async def compare(self, request: Request) -> Response:
        """A baseline against candidates, each "ID" or "ID:condition"."""
        baseline = request.query_params.get("baseline", "")
        candidates = request.query_params.getlist("candidate")
        if "format" in request.query_params:
            return await self._table(request, "compare", "comparison", baseline=baseline, candidates=candidates)
        return _json(await self.pool.ask("pages", "compare", baseline=baseline, candidates=candidates))

    async def study(self, request: Request) -> Response:
        """The experiments of a study as one claim."""
        name = request.path_params["name"]
        if "format" in request.query_params:
            return await self._table(request, "study", "study", name=name)
        return _json(await self.pool.ask("pages", "study", name=name))

    async def download(self, request: Request) -> Response:
        """The spans as a file; written whole before it is sent."""
        record = self.shelf.record(_id(request))
        return await self._written(request.path_params["format"], record.id, "export", experiment=record.id)

    async def _table(self, request: Request, of: str, called: str, /, **asked: Any) -> Response:
        """What a page shows, as a file."""
        return await self._written(request.query_params["format"], called, "table", of=of, **asked)

    async def _written(self, format: str, called: str, ask: str, /, **asked: Any) -> Response:
        if format not in FORMATS:
            raise HTTPException(404, f"There is no format {format[:20]!r}; there are {', '.join(FORMATS)}.")
        folder = tempfile.TemporaryDirectory(prefix="otel-research-")
        path = Path(folder.name) / f"{called}.{format}"
        await self.pool.ask("pages", ask, format=format, path=str(path), **asked)
        after = BackgroundTask(folder.cleanup)
        return FileResponse(path, media_type=FORMATS[format], filename=path.name, background=after)

    # -- events ---------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """Server-sent events of one experiment."""
        asked = request.query_params.get("experiment", "")
        if not is_id(asked):
            raise HTTPException(400, "events are of one experiment: /events?experiment=ID.")
        self.shelf.record(asked)
        broadcast = self._broadcasts.setdefault(asked, Broadcast(self.pool, asked))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(_stream(broadcast), media_type="text/event-stream", headers=headers)


async def _stream(broadcast: Broadcast) -> AsyncIterator[bytes]:
    queue = broadcast.subscribe()
    try:
        yield b"retry: 1000\n\n"
        while True:
            try:
                event = await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if event is None:
                return
            yield b"event: " + event[0].encode() + b"\ndata: " + event[1] + b"\n\n"
    finally:
        broadcast.leave(queue)


def _id(request: Request) -> str:
    found: str = request.path_params["id"]
    if not is_id(found):
        raise HTTPException(404, "That is not an experiment id: 8 to 64 lower-case hex digits.")
    return found


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers={"cache-control": "no-store"})
