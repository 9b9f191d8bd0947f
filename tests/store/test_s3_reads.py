"""What a query fetches from object storage, in bytes that went over the network."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import polars as pl
import pytest

from otel_research.store import s3
from otel_research.store.s3 import S3Store
from otel_research.testing import batch, rows

START = 1_700_000_000_000_000_000
ROWS = 4000


class _Meter(socketserver.ThreadingTCPServer):
    """A relay to the server that counts what comes back."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, endpoint: str) -> None:
        place = urlsplit(endpoint)
        self.server = (str(place.hostname), int(place.port or 80))
        self.received = 0
        # Protects the count: each connection has a thread.
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Relay)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Relay(socketserver.BaseRequestHandler):
    server: _Meter

    def handle(self) -> None:
        with socket.create_connection(self.server.server) as there:
            back = threading.Thread(target=self._back, args=(there,), daemon=True)
            back.start()
            while data := self.request.recv(1 << 16):
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)
            back.join()

    def _back(self, there: socket.socket) -> None:
        while data := there.recv(1 << 16):
            with self.server.lock:
                self.server.received += len(data)
            self.request.sendall(data)


@pytest.fixture
def fetched(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[pl.LazyFrame], int]]:
    """How many bytes a query fetches."""
    import os

    meter = _Meter(os.environ["AWS_ENDPOINT_URL"])
    threading.Thread(target=meter.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", meter.endpoint)

    def count(query: pl.LazyFrame) -> int:
        before = meter.received
        query.collect()
        return meter.received - before

    yield count
    meter.shutdown()
    meter.server_close()


@pytest.fixture
def whole(s3_bucket: str, fetched: Callable[[pl.LazyFrame], int], monkeypatch: pytest.MonkeyPatch) -> pl.LazyFrame:
    """An experiment that is over: one object of several row groups, with text that no compression makes small."""
    monkeypatch.setattr(s3, "_ROW_GROUP", 500)
    draw = random.Random(1)
    store = S3Store(f"s3://{s3_bucket}/reads")
    for first in range(0, ROWS, 2000):
        text = [f'{{"text":"{draw.randbytes(3000).hex()}"}}' for _ in range(2000)]
        store.append(batch(rows(2000, first=first).with_columns(attributes=pl.Series(text))))
    store.settle("e" * 32)
    return store.scan("e" * 32)


def test_columns_that_are_not_needed_stay_there(whole: pl.LazyFrame, fetched: Callable[[pl.LazyFrame], int]) -> None:
    """Two columns of seventy: a small part of the bytes."""
    everything = fetched(whole)
    assert everything > ROWS * 3000
    assert fetched(whole.select("condition", "duration_ms")) < everything / 5


def test_rows_outside_a_time_range_stay_there(whole: pl.LazyFrame, fetched: Callable[[pl.LazyFrame], int]) -> None:
    """The statistics of the row groups say which of them a filter can find anything in."""
    first, step = (
        whole.select(first=pl.col("start_ns").min(), step=pl.col("start_ns").sort().diff().median()).collect().row(0)
    )
    part = whole.filter(pl.col("start_ns").is_between(first, first + int(100 * step)))
    assert 0 < part.collect().height <= 102
    assert fetched(part) < fetched(whole) / 3
    assert fetched(whole.filter(pl.col("experiment_id") == "f" * 32)) < fetched(whole) / 5
