"""What goes on in one experiment, to everybody who watches it: sections once, then only what changed.

One loop per watched experiment asks its worker; every watcher has a queue. A watcher that comes
later, or again, is first sent what is known.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from otel_research.dashboard.pool import Pool
from otel_research.errors import ResearchError

SECTIONS = ("head", "tail", "metrics", "curves", "models", "notes", "environment", "intervals", "quality")
POLL_SECONDS = 1.0
FULL_SECONDS = 5.0
"""Between two computations of everything while an experiment runs."""
SHARE = 0.25
"""Of one core at most: what takes 5 s is computed every 20 s."""
LONG_SECONDS = 6.0
"""Intervals that take longer are computed once at the start, and again when the experiment is over."""
WAITING = 200
"""Events that wait for a slow watcher; beyond that it is sent everything anew."""

Event = tuple[str, bytes]


class Broadcast:
    """One experiment's events. `subscribe` starts the loop; the last one to leave ends it."""

    def __init__(self, pool: Pool, experiment_id: str) -> None:
        self._pool = pool
        self._id = experiment_id
        self._known: dict[str, bytes] = {}
        self._watchers: set[asyncio.Queue[Event | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._needless: str | None = None
        """While it runs, the section that says what another one says."""

    def subscribe(self) -> asyncio.Queue[Event | None]:
        """A queue of events, which begins with all that is known; None means: connect again."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(WAITING)
        for name, data in self._known.items():
            queue.put_nowait((name, data))
        self._watchers.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return queue

    def leave(self, queue: asyncio.Queue[Event | None]) -> None:
        """Nobody reads this queue any more."""
        self._watchers.discard(queue)

    def hang_up(self) -> None:
        """Every watcher is told to connect again."""
        for queue in list(self._watchers):
            self._end(queue)

    def close(self) -> None:
        """End the loop."""
        if self._task is not None:
            self._task.cancel()

    # -- the loop -----------------------------------------------------------------------

    async def _run(self) -> None:
        is_running, full_at, pause = True, float("-inf"), FULL_SECONDS
        while self._watchers:
            try:
                state = await self._poll() if full_at > 0 and is_running else None
                if is_running and (state not in (None, "running") or time.monotonic() - full_at >= pause):
                    begun = time.monotonic()
                    is_running = await self._refresh()
                    full_at = time.monotonic()
                    pause = max(FULL_SECONDS, (full_at - begun) / SHARE)
                self._told_problem(None)
            except Exception as error:
                # The next look may succeed: a file was replaced under us, a worker was ended.
                self._told_problem(
                    str(error) if isinstance(error, ResearchError) else f"{type(error).__name__}: {error}"
                )
            await asyncio.sleep(POLL_SECONDS)

    def _told_problem(self, text: str | None) -> None:
        if text != self._problem:
            self._problem = text
            self._send("problem", {"text": text})

    async def _refresh(self) -> bool:
        """Compute every section again; whether the experiment still runs (or that is not known: nobody waited)."""
        is_running = True
        for number, name in enumerate(SECTIONS):
            if not self._watchers:
                return True
            if is_running and name == self._needless:
                continue
            begun = time.monotonic()
            try:
                data = await self._pool.ask(self._id, "section", experiment=self._id, name=name, fresh=number == 0)
            except ResearchError as error:
                if name == "head":
                    raise
                data = {"problem": str(error)}
            if name == "head":
                is_running = data["experiment"]["state"] == "running"
            self._send(f"section:{name}", data)
            if name in ("metrics", "intervals") and "all" in data:
                self._send("full_metrics", data["all"])
            if name == "intervals":
                # The same numbers twice, with and without intervals, only where intervals take long.
                self._needless = "metrics" if time.monotonic() - begun < LONG_SECONDS else "intervals"
        if not is_running:
            await self._pool.ask(self._id, "forget", experiment=self._id)
        return is_running

    async def _poll(self) -> str:
        """Tell what is new; the experiment's state."""
        events, state = await self._pool.ask(self._id, "news", experiment=self._id)
        for name, data in events:
            self._send(name, data)
        return str(state)

    def _send(self, name: str, data: Any) -> None:
        encoded = msgspec.json.encode(data)
        is_section = name.startswith("section:")
        if is_section and self._known.get(name) == encoded:
            return
        if is_section or name == "metrics_update":
            self._known[name] = encoded
        for queue in list(self._watchers):
            try:
                queue.put_nowait((name, encoded))
            except asyncio.QueueFull:
                # Too slow: it starts over with what is known, rather than with a gap that nobody sees.
                self._end(queue)

    def _end(self, queue: asyncio.Queue[Event | None]) -> None:
        self._watchers.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)
