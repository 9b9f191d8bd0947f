"""Two experiments at once, in one process: every span lands in the right one.

An experiment follows the context, like a span does: across tasks and `asyncio.to_thread` by
itself, into a thread of your own with `exp.activate()`.
"""

from __future__ import annotations

import asyncio
import threading

from opentelemetry import trace

import otel_research as otr

tracer = trace.get_tracer("my-app")


async def study(name: str, calls: int) -> otr.Experiment:
    with otr.experiment(name) as exp:

        async def call(number: int) -> None:
            with tracer.start_as_current_span(f"{name} call", attributes={"number": number}):
                await asyncio.sleep(0.001)

        await asyncio.gather(*(call(number) for number in range(calls)))

        def in_a_thread() -> None:
            with exp.activate(), tracer.start_as_current_span(f"{name} thread"):
                pass

        thread = threading.Thread(target=in_a_thread)
        thread.start()
        await asyncio.to_thread(thread.join)
    return exp


async def main() -> None:
    for exp in await asyncio.gather(study("left", 30), study("right", 50)):
        names = exp.spans().collect()["name"].value_counts().sort("name").rows()
        print(exp.name, names)
        assert all(span.startswith(exp.name) for span, _ in names)


asyncio.run(main())
