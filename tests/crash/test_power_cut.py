"""The power is cut on a real file system: what was promised to be durable is there when it comes back."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from disks import PowerDisk
from reading import left_in

pytestmark = pytest.mark.once  # what a disk does

ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "4")) // 2
PROGRAM = """
import os, struct, sys, threading, time
from opentelemetry import trace
import otel_research as otr
store, pipe, fsync, pause = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
otr.configure(store=f"disk:{store}", fsync=fsync)
otr.start_experiment("power")
tracer = trace.get_tracer("app")
def work():
    while True:
        span = tracer.start_span("s", attributes={"text": "x" * 50})
        span.end()
        os.write(pipe, struct.pack("<Qd", span.get_span_context().span_id, time.monotonic()))
        time.sleep(pause)
for _ in range(4):
    threading.Thread(target=work).start()
"""
_SAID = struct.Struct("<Qd")


class Said(NamedTuple):
    """A span that had ended at this moment (`time.monotonic`, one clock for all processes)."""

    span_id: int
    at: float


def until_the_power_goes(disk: PowerDisk, fsync: str, seconds: float, pause: float) -> tuple[list[Said], float]:
    """(what the program said before the cut, when the cut was)."""
    reading, writing = os.pipe()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-c", PROGRAM, str(disk.folder / "store"), str(writing), fsync, str(pause)]
    process = subprocess.Popen(
        command, pass_fds=(writing,), env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    )
    os.close(writing)
    data, began = bytearray(), None
    try:
        while began is None or time.monotonic() < began + seconds:
            if select.select([reading], [], [], 0.05)[0]:
                chunk = os.read(reading, 1 << 16)
                assert chunk, "the program has gone"
                data += chunk
                began = began or time.monotonic()
        cut_at = time.monotonic()
        disk.cut()
    finally:
        process.kill()
        process.wait()
    while chunk := os.read(reading, 1 << 16):
        data += chunk
    os.close(reading)
    whole = len(data) - len(data) % _SAID.size
    said = [Said(*fields) for fields in _SAID.iter_unpack(bytes(data[:whole]))]
    # Spans that ended while the cut was under way were promised nothing.
    return [one for one in said if one.at < cut_at], cut_at


@contextmanager
def longest_wait(folder: Path, waits: list[float]) -> Iterator[None]:
    """Adds how long the machine at most took meanwhile for what a sync needs: a thread's turn and a small fsync."""
    is_over, longest = threading.Event(), 0.0

    def probe() -> None:
        nonlocal longest
        with (folder / "probe").open("wb") as file:
            while not is_over.is_set():
                began = time.monotonic()
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
                is_over.wait(0.02)
                longest = max(longest, time.monotonic() - began)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        waits.append(longest)


@pytest.mark.parametrize(
    ("fsync", "interval", "pause"), [("span", 0.0, 0.0), ("0.1s", 0.1, 0.001), ("1s", 1.0, 0.001)], ids=str
)
def test_a_power_cut_costs_at_most_the_interval(tmp_path: Path, fsync: str, interval: float, pause: float) -> None:
    """ext4 stops between two writes; `span` loses nothing, the others what ended within the interval and a sync's time."""
    oldest, acknowledged, lost = 0.0, 0, 0
    waits: list[float] = []
    for number in range(ROUNDS):
        disk = PowerDisk(tmp_path / f"{number}.img", tmp_path / "mnt")
        with disk.on(), longest_wait(tmp_path, waits):
            said, cut_at = until_the_power_goes(disk, fsync, 1.7 + 0.37 * (number % 4), pause)
        with disk.on() as folder:
            stored = set(left_in(folder / "store").ended)
        missing = [one for one in said if one.span_id not in stored]
        assert len(said) > 20
        acknowledged, lost = acknowledged + len(said), lost + len(missing)
        oldest = max([oldest, *(cut_at - one.at for one in missing)])
    print(
        f"\nfsync={fsync}: {acknowledged} acknowledged, {lost} lost, the oldest {oldest:.3f} s before the cut; waits up to {max(waits):.3f} s"
    )
    if fsync == "span":
        assert lost == 0
    # A sync takes its time, and on a busy machine both the thread that calls it and the disk have to be waited for.
    assert oldest <= interval + 0.75 + max(waits)
    assert acknowledged > lost


def test_the_disk_does_lose_what_was_not_synced(tmp_path: Path) -> None:
    """The cut is one: without a sync, what was written a moment before is gone. Otherwise the test above shows nothing."""
    disk = PowerDisk(tmp_path / "disk.img", tmp_path / "mnt")
    with disk.on() as folder:
        with (folder / "synced").open("wb") as file:
            file.write(b"x" * 5000)
            file.flush()
            os.fsync(file.fileno())
        (folder / "unsynced").write_bytes(b"x" * 5000)
        disk.cut()
    with disk.on() as folder:
        assert (folder / "synced").read_bytes() == b"x" * 5000
        assert not (folder / "unsynced").exists() or (folder / "unsynced").read_bytes() != b"x" * 5000
