"""What capture costs: CPU per span against a bare SDK span, memory and disk per span, all in one run.

    python benchmarks/capture.py [--spans 20000] [--threads 1 4] [--rounds 7] [--json]

Each variant makes the same spans through the real SDK. CPU is of the whole process
(`time.process_time`: background threads count), so that other programs on the machine do not.
Rounds are interleaved, each variant is compared with the bare span of its own round, and the
median of those ratios is given. Ratios are what to read; nothing here gates.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import otel_research as otr
import otel_research.store.memory

GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-9J3uGZ5Yq0bJt7n3kqvVxS1c",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.max_tokens": 512,
    "gen_ai.request.seed": 7,
    "gen_ai.usage.input_tokens": 412,
    "gen_ai.usage.output_tokens": 88,
    "gen_ai.usage.cache_read.input_tokens": 128,
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.response.time_to_first_chunk": 0.231,
    "server.address": "api.openai.com",
    "server.port": 443,
    "gen_ai.conversation.id": "conv-4711",
    "user.id": "user-42",
    "app.step": "answer",
}


class Encoding(SpanExporter):
    """Encodes to OTLP protobuf as the OTLP exporters do, and sends it nowhere."""

    def export(self, spans: Any) -> SpanExportResult:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


@contextmanager
def bare() -> Iterator[TracerProvider]:
    yield TracerProvider(sampler=ALWAYS_ON, resource=Resource({"service.name": "bench"}), shutdown_on_exit=False)


@contextmanager
def in_memory() -> Iterator[TracerProvider]:
    with bare() as provider:
        provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
        yield provider


@contextmanager
def batch_otlp() -> Iterator[TracerProvider]:
    with bare() as provider:
        # A queue that holds every span: the price of encoding all of them, not of dropping half.
        processor = BatchSpanProcessor(Encoding(), max_queue_size=10_000_000, max_export_batch_size=512)
        provider.add_span_processor(processor)
        yield provider
        processor.shutdown()


def ours(url: str, **settings: Any) -> Callable[[], Any]:
    @contextmanager
    def variant() -> Iterator[TracerProvider]:
        with bare() as provider, tempfile.TemporaryDirectory() as folder:
            recorder = otr.configure(store=url.replace("TMP", folder), provider=provider, **settings)
            exp = otr.start_experiment("bench", condition="a", session_id="s")
            try:
                yield provider
            finally:
                recorder.end(exp.id, 0.0)
                otr.lifecycle._live.clear()
                otr.context.set_process_scope(None)
                recorder.close()

    return variant


VARIANTS: dict[str, Callable[[], Any]] = {
    "bare SDK span": bare,
    "in-memory exporter": in_memory,
    "batch + OTLP encoding": batch_otlp,
    "ours, memory": ours("memory:"),
    "ours, disk": ours("disk:TMP/s"),
    "ours, disk, starts=False": ours("disk:TMP/s", starts=False),
}


def cpu_per_span(variant: Callable[[], Any], spans: int, threads: int, attributes: dict[str, Any]) -> float:
    """Microseconds of CPU for one span."""
    with variant() as provider:
        tracer = provider.get_tracer("bench", "1")

        def work(count: int) -> None:
            for _ in range(count):
                tracer.start_span("chat gpt-4o-mini", attributes=attributes).end()

        work(200)
        gc.collect()
        before = time.process_time()
        if threads == 1:
            work(spans)
        else:
            pool = [threading.Thread(target=work, args=(spans // threads,)) for _ in range(threads)]
            [thread.start() for thread in pool]
            [thread.join() for thread in pool]
        if variant is batch_otlp:
            provider.force_flush(60_000)
        return (time.process_time() - before) / spans * 1e6


def rounds_of(options: argparse.Namespace, threads: int, attributes: dict[str, Any]) -> dict[str, list[float]]:
    """Variant -> CPU per span in each round."""
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name, variant in VARIANTS.items():
            found[name].append(cpu_per_span(variant, options.spans, threads, attributes))
    return found


def compared(found: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Variant -> its CPU, its ratio to a bare span, and what it adds as a part of what batch + OTLP adds."""
    bare_rounds = found["bare SDK span"]

    def median(of: Callable[[float, float], float], name: str) -> float:
        return statistics.median(of(ours, theirs) for ours, theirs in zip(found[name], bare_rounds, strict=True))

    batch_adds = median(lambda value, base: value - base, "batch + OTLP encoding")
    return {
        name: {
            "us": statistics.median(found[name]),
            "ratio": median(lambda value, base: value / base, name),
            "of_batch": median(lambda value, base: value - base, name) / batch_adds,
        }
        for name in found
    }


def sizes(attributes_of: Callable[[int], dict[str, Any]], spans: int = 20_000) -> dict[str, float]:
    """Bytes per span of 18 GenAI attributes: what a memory store holds, and what is on disk after compaction."""
    with tempfile.TemporaryDirectory() as folder:
        memory, disk = otr.store.memory.MemoryStore(), f"disk:{folder}/s"
        for store in (memory, disk):
            with bare() as provider:
                recorder = otr.configure(store=store, provider=provider)
                with otr.experiment("bench", condition="a", session_id="s") as exp:
                    tracer = provider.get_tracer("bench", "1")
                    for number in range(spans):
                        tracer.start_span("chat gpt-4o-mini", attributes=attributes_of(number)).end()
                    if store is memory:
                        used = sum(buffer.segment.at for buffer in memory._held[exp.id].segments)
                recorder.close()
        parquet = sum(path.stat().st_size for path in Path(folder).glob("s/*/parquet/*"))
    return {"held_bytes": used / spans, "disk_bytes": parquet / spans}


def varied(number: int) -> dict[str, Any]:
    """The attributes of one call among many: an id of 128 random bits, token counts, a time, users that come back."""
    chance = random.Random(number)
    return {
        **GENAI,
        "gen_ai.response.id": f"chatcmpl-{chance.getrandbits(128):032x}",
        "gen_ai.usage.input_tokens": chance.randrange(200, 800),
        "gen_ai.usage.output_tokens": chance.randrange(20, 200),
        "gen_ai.response.time_to_first_chunk": round(chance.uniform(0.1, 0.6), 3),
        "gen_ai.conversation.id": f"conv-{number // 10}",
        "user.id": f"user-{number % 97}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=20_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = [
        {"span": label, "threads": threads, "variant": name, **numbers}
        for label, attributes in (("2 attributes", {"a": 1, "b": "x"}), ("18 GenAI attributes", GENAI))
        for threads in options.threads
        for name, numbers in compared(rounds_of(options, threads, attributes)).items()
    ]
    per_span = {"equal": sizes(lambda number: GENAI), "differing": sizes(varied)}
    if options.json:
        print(json.dumps({"cpu": results, "bytes": per_span}))
        return
    print(f"{'span':22}{'threads':>8}  {'variant':28}{'CPU us':>8}{'ratio':>7}{'of batch':>10}")
    for row in results:
        part = "" if row["variant"] == "bare SDK span" else f"{row['of_batch']:10.2f}"
        print(f"{row['span']:22}{row['threads']:>8}  {row['variant']:28}{row['us']:8.2f}{row['ratio']:7.2f}{part}")
    print("\nbytes per span of 18 GenAI attributes")
    for name, size in per_span.items():
        print(
            f"  {name:10} {size['held_bytes']:5.0f} held while buffered, {size['disk_bytes']:4.0f} on disk after compaction"
        )


if __name__ == "__main__":
    main()
