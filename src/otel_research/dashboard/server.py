"""The server: loopback by default, its token in the address it prints."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from otel_research.errors import MissingExtra
from otel_research.ingest.listening import EVERYWHERE, LOOPBACK, bound, bracketed, shown


class Serving:
    """A dashboard on a socket of its own. `url` holds the token."""

    def __init__(
        self,
        store: str | None,
        host: str = "127.0.0.1",
        port: int = 8765,
        *,
        token: str | None = None,
        rules: Sequence[str] = (),
        webhooks: Sequence[str] = (),
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        try:
            import uvicorn
        except ImportError:
            raise MissingExtra("uvicorn", "serve") from None
        from otel_research.dashboard.app import Dashboard
        from otel_research.dashboard.guard import Guard, saved_token

        self._socket = bound(host, port, "--port")
        self.port: int = self._socket.getsockname()[1]
        self.token = token or saved_token()
        self.dashboard = Dashboard(store, rules, webhooks)
        hosts, named = (*map(bracketed, LOOPBACK), *_own_names(host)), tuple(map(bracketed, allowed_hosts))
        guarded = Guard(self.dashboard, token=self.token, hosts=hosts, port=self.port, named=named)
        config = uvicorn.Config(
            guarded, log_level="warning", access_log=False, ws="none", server_header=False, date_header=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self.address = f"http://{shown(host)}:{self.port}/"
        self.url = f"{self.address}?token={self.token}"

    async def run(self, on_ready: Callable[[], Awaitable[None] | None] = lambda: None) -> None:
        """Serve until stopped; `on_ready` is called as soon as requests are answered."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)
        if self._server.started:
            said = on_ready()
            if said is not None:
                await said
        while not self._server.should_exit and not serving.done():
            await asyncio.sleep(0.1)
        self.dashboard.hang_up()
        await serving

    def stop(self) -> None:
        """Let `run` return."""
        self._server.should_exit = True


def _own_names(host: str) -> tuple[str, ...]:
    """What a browser may call a server that listens on `host`: for every address of this machine, all its names."""
    if host in LOOPBACK:
        return ()
    if host not in EVERYWHERE:
        return (bracketed(host),)
    from otel_research.environment import addresses

    return tuple(map(bracketed, addresses()))


def run(parts: list[Callable[[], Awaitable[Any]]]) -> None:
    """Run the parts of a server together until one ends or the user interrupts."""

    async def together() -> None:
        tasks = [asyncio.ensure_future(part()) for part in parts]
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(together())
