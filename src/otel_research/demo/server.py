"""A small model server on loopback, for demonstrations and tests with real clients.

    with ModelServer(seed=0) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="unused")

It speaks OpenAI's chat completions and embeddings and Anthropic's messages, plain and
streamed, and keeps a ledger of what it answered. Needs the extra `serve`.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from otel_research.demo.ledger import ServerLedger
from otel_research.demo.profiles import PROFILES, Faults, ModelProfile
from otel_research.errors import ConfigurationError, MissingExtra, ResearchError

if TYPE_CHECKING:
    import uvicorn

    from otel_research.demo.app import App

_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 10.0


class ModelServer:
    """Serves demonstration models from a thread of this process until closed.

    Answers depend on `seed`, the request's body and how often that very body came before,
    never on timing. `latency_scale` multiplies every drawn latency: 0 answers at once.
    `answers` maps questions to right answers where they are not sums such as "12 * 34".
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        models: tuple[ModelProfile, ...] = PROFILES,
        faults: Faults | None = None,
        answers: Mapping[str, str] | None = None,
        latency_scale: float = 1.0,
        port: int = 0,
    ) -> None:
        if latency_scale < 0:
            raise ConfigurationError(f"latency_scale is {latency_scale!r}; a latency cannot be negative.")
        self.seed = seed
        self.models = models
        self.faults = faults or Faults()
        self.ledger = ServerLedger()
        self._answers = dict(answers or {})
        self._latency_scale = latency_scale
        self._wanted_port = port
        self._running: _Running | None = None

    def __repr__(self) -> str:
        state = f"at {self._running.url}" if self._running else "not running"
        return f"<ModelServer seed={self.seed} {state}, {self.ledger!r}>"

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The server's root: the `base_url` of an Anthropic client."""
        if self._running is None:
            raise ResearchError("the model server is not running; use `with ModelServer(...) as server:`.")
        return self._running.url

    @property
    def base_url(self) -> str:
        """The `base_url` of an OpenAI client."""
        return f"{self.url}/v1"

    def start(self) -> ModelServer:
        """Answer requests from now on; a started server stays as it is."""
        if self._running is None:
            self._running = _Running(self._app(), self._wanted_port)
        return self

    def close(self) -> None:
        """Hang up on whoever still waits, free the port and end the thread. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    def _app(self) -> App:
        try:
            from otel_research.demo.app import App
        except ModuleNotFoundError as exc:
            raise MissingExtra(exc.name or "starlette", "serve") from exc
        return App(
            seed=self.seed,
            models=self.models,
            faults=self.faults,
            answers=self._answers,
            latency_scale=self._latency_scale,
            ledger=self.ledger,
        )


class _Running:
    """The thread, socket and event loop of a started server."""

    def __init__(self, app: App, port: int) -> None:
        self._app = app
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = _listen(port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        # An empty context: the starter's experiment, trial and span stay out of the server.
        self._thread = threading.Thread(
            target=contextvars.Context().run, args=(self._run,), name="otel-research-model-server", daemon=True
        )
        self._thread.start()
        self._ready.wait(_START_TIMEOUT)
        if self._loop is None:
            self._socket.close()
            raise ResearchError(f"the model server did not start at {self.url}: {self._error!r}") from self._error

    def stop(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._hang_up)
        self._thread.join(_STOP_TIMEOUT)
        self._socket.close()
        if self._thread.is_alive():
            raise ResearchError(f"the model server at {self.url} did not stop within {_STOP_TIMEOUT:.0f} s.")

    def _hang_up(self) -> None:
        if self._app.closing is not None and not self._app.closing.done():
            self._app.closing.set_result(None)

    def _run(self) -> None:
        # Instrumentations of web servers and sockets leave alone what happens under this key.
        otel_context.attach(otel_context.set_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._app.closing = loop.create_future()
        await _uvicorn(self._app, self._app.closing, lambda: self._started(loop)).serve([self._socket])

    def _started(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready.set()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as exc:
        listener.close()
        raise ResearchError(
            f"the model server cannot listen on port {port}: {exc}. Use port=0 for a free one."
        ) from exc
    listener.listen(1024)
    return listener


def _uvicorn(app: App, closing: asyncio.Future[None], started: Any) -> uvicorn.Server:
    """Uvicorn without its logging set-up, ticking loop and signal handlers."""
    try:
        import uvicorn
    except ModuleNotFoundError as exc:
        raise MissingExtra("uvicorn", "serve") from exc

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

        async def main_loop(self) -> None:
            await self.on_tick(0)
            await closing

    config = uvicorn.Config(
        app.router(),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    # Set afterwards: as an argument it would silence the access log of the host's own uvicorn too.
    config.access_log = False
    return Server(config)
