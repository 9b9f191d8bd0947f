"""Rows per second into PostgreSQL with its indexes, from one writer and from four, and back.

A real PostgreSQL 18 from PyPI on this machine, started and removed by the script. Rows go the
way that deliveries take: batches of 10,000, each one transaction.

    python benchmarks/postgres.py --rows 100000
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.servers import PostgresServer

from otel_research.store.postgres import PostgresStore
from otel_research.testing import batch, rows

BATCH = 10_000
RESOURCE = '{"service.name":"bench","telemetry.sdk.language":"python","telemetry.sdk.name":"opentelemetry"}'


def write(url: str, first: int, count: int, ready: Any, told: Any) -> None:
    """Append `count` rows in batches, all made before the clock starts."""
    store = PostgresStore(url)
    batches = [
        batch(rows(min(BATCH, count - at), first=first + at, resource=RESOURCE)) for at in range(0, count, BATCH)
    ]
    store.append(batch(rows(1, "f" * 32, first=first)))  # the connection, the tables and the partition
    ready.wait()
    began = time.time()
    for one in batches:
        store.append(one)
    told.put((began, time.time()))
    store.close()


def measured(server: PostgresServer, writers: int, count: int) -> float:
    """Rows per second of all writers together."""
    import psycopg

    name = f"bench{writers}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = server.url(name)
    share = count // writers
    spawn = multiprocessing.get_context("spawn")
    ready, told = spawn.Barrier(writers), spawn.Queue()
    running = [spawn.Process(target=write, args=(url, at * share, share, ready, told)) for at in range(writers)]
    for process in running:
        process.start()
    times = [told.get() for _ in running]
    took = max(end for _, end in times) - min(begin for begin, _ in times)
    for process in running:
        process.join()
    began = time.time()
    store = PostgresStore(url)
    read = store.scan("e" * 32).collect().height
    assert read == share * writers, read
    print(f"    back, all columns: {read / (time.time() - began):,.0f} rows/s")
    began = time.time()
    store.scan("e" * 32).select("condition", "duration_ms").collect()
    print(f"    back, two columns: {read / (time.time() - began):,.0f} rows/s")
    return share * writers / took


def main() -> None:
    """Print the figures for one and for four writers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    count = parser.parse_args().rows
    server = PostgresServer()
    try:
        print(f"PostgreSQL 18, {os.cpu_count()} cores, {count:,} rows")
        for writers in (1, 4):
            print(f"  {writers} writer(s): {measured(server, writers, count):,.0f} rows/s")
    finally:
        server.close()


if __name__ == "__main__":
    main()
