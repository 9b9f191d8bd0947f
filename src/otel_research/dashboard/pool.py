"""Worker processes: started when something is asked, one per subject of interest, let go when idle."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from otel_research.errors import ResearchError

MOST = 2
"""Worker processes at a time: each holds one experiment's rows."""
IDLE_SECONDS = 20.0
"""A worker that nobody has asked for so long ends, and its memory with it."""
LONGEST_LINE = 1 << 28


class WorkerFailed(ResearchError):
    """The process that computes ended or met an error of ours."""


class Worker:
    """One process and the questions that wait for it; they are answered one at a time."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = itertools.count(1)
        # One question at a time: the process answers in order.
        self._asking = asyncio.Lock()
        self.used_at = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a question waits for its answer."""
        return self._asking.locked()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    async def ask(self, ask: str, **arguments: Any) -> Any:
        """The answer; raises `WorkerFailed` where the process failed, `ResearchError` where the question is wrong."""
        async with self._asking:
            self.used_at = time.monotonic()
            process = await self._running()
            number = next(self._numbers)
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(msgspec.json.encode({"number": number, "ask": ask, "with": arguments}) + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            except (OSError, ValueError, asyncio.CancelledError):
                # A line that nobody waits for would be taken for the next answer.
                self.end()
                raise
            finally:
                self.used_at = time.monotonic()
        if not line:
            code = await process.wait()
            self._process = None
            raise WorkerFailed(f"the process that computes ended with {code} while it was asked for {ask!r}.")
        answer = msgspec.json.decode(line)
        if "error" in answer:
            raise (WorkerFailed if answer.get("is_ours") else ResearchError)(answer["error"])
        return answer["answer"]

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "otel_research.dashboard.worker",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LONGEST_LINE,
                env=_quiet(os.environ, self._store), start_new_session=True,
            )  # fmt: skip
        return self._process

    def end(self) -> None:
        """Let the process go: its input ends, and it with it; a busy one is killed."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if self.is_busy:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def _quiet(environment: Mapping[str, str], store: str) -> dict[str, str]:
    """The environment without what would make the worker record or export itself; not in its arguments, which
    everybody on the machine can read."""
    kept = {name: value for name, value in environment.items() if not name.startswith("OTEL_")}
    return {**kept, "OTEL_SDK_DISABLED": "true", "OTEL_RESEARCH_STORE": store}


class Pool:
    """Workers by what they work on, so that an experiment's rows stay with one."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._workers: dict[str, Worker] = {}

    async def ask(self, about: str, ask: str, **arguments: Any) -> Any:
        """Ask the worker of this subject."""
        return await self._worker(about).ask(ask, **arguments)

    def _worker(self, about: str) -> Worker:
        if about not in self._workers:
            idle = sorted((w.used_at, name) for name, w in self._workers.items() if not w.is_busy)
            if len(self._workers) >= MOST and idle:
                self._workers.pop(idle[0][1]).end()
            # Where all are busy, one more waits its turn at the least recently used one.
            if len(self._workers) >= MOST:
                return min(self._workers.values(), key=lambda worker: worker.used_at)
            self._workers[about] = Worker(self._store)
        return self._workers[about]

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [worker.pid for worker in self._workers.values() if worker.pid is not None]

    def tidy(self) -> None:
        """Let go of the workers that nobody has asked for a while."""
        now = time.monotonic()
        for about, worker in list(self._workers.items()):
            if not worker.is_busy and now - worker.used_at > IDLE_SECONDS:
                self._workers.pop(about).end()

    def close(self) -> None:
        """Let go of all."""
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()
