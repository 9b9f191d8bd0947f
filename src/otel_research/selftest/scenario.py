"""What is done to a program, and what that program is given."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ID_SIZE = 8
"""Bytes of a span id on the pipe."""
_AT_ONCE = 4096 // ID_SIZE
"""Ids that a pipe takes in one piece, whoever else writes to it."""
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 412,
    "gen_ai.usage.output_tokens": 88,
}
"""Attributes of a span of the programs: a call of a model."""


@dataclass(frozen=True)
class Host:
    """What a scenario's program is given: its place, and a pipe to say which spans have ended."""

    folder: Path
    """The store's folder."""
    pipe: int

    @property
    def store(self) -> str:
        """The store's URL."""
        return f"disk:{self.folder}"

    @contextmanager
    def recording(self, **settings: Any) -> Iterator[Any]:
        """Record a process-wide experiment into the store; gives a tracer."""
        import otel_research as otr
        from otel_research.testing import recording

        with recording(self.store, **settings) as (_, provider):
            begun = otr.start_experiment("selftest")
            yield provider.get_tracer("otel_research.selftest", "1")
            otr.stop_experiment(begun.id)

    def call(self, tracer: Any, number: int = 0) -> None:
        """Make one span and say so after `end()` has returned."""
        self.say(ended_call(tracer, number))

    def calls(self, tracer: Any, count: int) -> None:
        """Make many, and say so once."""
        self.say(*(ended_call(tracer, number) for number in range(count)))

    def say(self, *span_ids: int) -> None:
        """These have ended: their `end()` has returned."""
        for first in range(0, len(span_ids), _AT_ONCE):
            part = span_ids[first : first + _AT_ONCE]
            os.write(self.pipe, b"".join(span_id.to_bytes(ID_SIZE, "big") for span_id in part))


def ended_call(tracer: Any, number: int = 0) -> int:
    """Make one span; its id, once `end()` has returned."""
    span = tracer.start_span("chat gpt-4o-mini", attributes={**CALL, "number": number})
    span.end()
    return int(span.get_span_context().span_id)


def in_threads(threads: int, work: Callable[[], object]) -> None:
    """The same work in several threads at once, to its end."""
    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One way to treat a program badly."""

    name: str
    says: str
    """What happens to the program, in a line."""
    program: Callable[[Host], None]
    """Runs in a process of its own."""
    expected: int | None = None
    """Spans that the program ends; None where it is killed in the middle."""
    kill_after: int | None = None
    """SIGKILL once it has said this many."""
    wrap: Callable[[list[str], Path], list[str]] = lambda command, folder: command
    """What the program's command line is run in, for a store in this folder."""
