"""What pricing adds: seconds for a million calls, against a single pass over the same columns.

python benchmarks/pricing.py [calls]
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

import polars as pl

from otel_research import pricing

MODELS = [
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("openai", "gpt-5.6-sol", None),
    ("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
    ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    ("deepseek", "deepseek-chat", None),
    ("gcp.gemini", "gemini-2.5-pro", None),
    ("aws.bedrock", "us.amazon.nova-lite-v1:0", None),
    ("ollama", "llama3.2", None),
]


def calls(count: int) -> pl.DataFrame:
    draw = random.Random(7)
    model = pl.Series("model", [draw.randrange(len(MODELS)) for _ in range(count)])
    columns = {
        name: pl.Series([MODELS[index][place] for index in range(len(MODELS))], dtype=pl.String).gather(model)
        for place, name in enumerate(("provider", "request_model", "response_model"))
    }
    tokens = pl.int_range(count, dtype=pl.Int64, eager=True)
    return pl.DataFrame(
        columns
        | {
            "input_tokens": tokens % 300_000 + 600,
            "output_tokens": tokens % 4_000 + 300,
            "cache_read_tokens": tokens % 500,
            "cache_write_tokens": tokens % 7,
            "reasoning_tokens": tokens % 290,
            "audio_input_tokens": pl.Series([None], dtype=pl.Int64).new_from_index(0, count),
            "audio_output_tokens": pl.Series([None], dtype=pl.Int64).new_from_index(0, count),
            "start_ns": 1_788_000_000_000_000_000 + tokens * 10_000_000_000,
            "reported_cost_usd": pl.Series([None], dtype=pl.Float64).new_from_index(0, count),
            "is_call": tokens % 3 != 0,
        }
    )


def timed(work: Callable[[], object]) -> float:
    runs = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        runs.append(time.perf_counter() - started)
    return min(runs)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    frame = calls(count).lazy()
    started = time.perf_counter()
    pricing.price(frame.head(3)).collect()
    first = time.perf_counter() - started
    scan = timed(lambda: frame.select(pl.col(pl.Int64).sum()).collect())
    priced = timed(lambda: pricing.price(frame).select("cost_nano_usd").sum().collect())
    streamed = timed(lambda: pricing.price(frame).select("cost_nano_usd").sum().collect(engine="streaming"))
    print(f"{count:,} rows; first price (loads the table): {first:.2f} s")
    print(f"price all: {priced:.3f} s = {priced / count * 1e9:.0f} ns a row; streaming engine: {streamed:.3f} s")
    print(f"for comparison, summing the same columns: {scan:.3f} s")


if __name__ == "__main__":
    main()
