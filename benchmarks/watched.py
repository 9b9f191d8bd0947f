"""What being watched costs the run: `python benchmarks/watched.py [--rounds 10] [--seconds 3]`.

One process records at a steady pace; beside it are the dashboard with an open page (its events) and
`otel-research watch`. In every second block these are stopped (SIGSTOP), in the others they go on, so
that both kinds of block meet the same machine. CPU is of the recording process alone, per span.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

import psutil

RUN = """
import sys, time
import otel_research as otr
from opentelemetry import trace
otr.configure(store=sys.argv[1])
tracer = trace.get_tracer("app")
CALL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
with otr.experiment("watched or not") as exp:
    print(exp.id, flush=True)
    for line in sys.stdin:
        spans, cpu, until = 0, time.process_time(), time.monotonic() + float(line)
        while time.monotonic() < until:
            for _ in range(50):
                with exp.arm("ab"[spans % 2]), tracer.start_as_current_span("chat", attributes=CALL):
                    spans += 1
            time.sleep(0.025)
        print(spans, time.process_time() - cpu, flush=True)
"""


class Recorded:
    """The process whose CPU is measured."""

    def __init__(self, store: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUN, store], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.id = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def block(self, seconds: float) -> tuple[int, float]:
        """(spans, CPU microseconds per span) of so many seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        spans, cpu = self._line().split()
        return int(spans), 1e6 * float(cpu) / int(spans)

    def end(self) -> None:
        self._process.communicate(timeout=60)


class Watchers:
    """A dashboard with a page open, and `watch`; stopped and let go on together."""

    def __init__(self, store: str, experiment_id: str, folder: str) -> None:
        environment = {**os.environ, "XDG_STATE_HOME": folder, "XDG_CACHE_HOME": folder}
        command = [sys.executable, "-m", "otel_research.cli"]
        self._serve = subprocess.Popen(
            [*command, "serve", "--store", store, "--port", "0", "--no-otlp"],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self._serve.stdout is not None
        address, _, token = self._serve.stdout.readline().split()[-1].partition("?token=")
        port = address.rstrip("/").rpartition(":")[2]
        self.seen = {"page": 0, "watch": 0}
        asked = urllib.request.Request(
            f"{address}events?experiment={experiment_id}", headers={"cookie": f"otel-research-{port}={token}"}
        )
        self._watch = subprocess.Popen(
            [*command, "watch", experiment_id, "--json", "--store", store],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        threading.Thread(target=self._read_page, args=(asked,), daemon=True).start()
        threading.Thread(target=self._read_watch, daemon=True).start()

    def _read_page(self, asked: urllib.request.Request) -> None:
        with contextlib.suppress(OSError), urllib.request.urlopen(asked, timeout=600) as events:
            for line in events:
                self.seen["page"] += line.startswith(b"event:")

    def _read_watch(self) -> None:
        assert self._watch.stdout is not None
        for _ in self._watch.stdout:
            self.seen["watch"] += 1

    def send(self, number: signal.Signals) -> None:
        """A signal to the dashboard, its workers and `watch`."""
        for process in (psutil.Process(self._serve.pid), psutil.Process(self._watch.pid)):
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    one.send_signal(number)

    def end(self) -> None:
        self.send(signal.SIGCONT)
        self._serve.send_signal(signal.SIGINT)
        self._serve.wait(20)
        self._watch.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = f"disk:{Path(folder) / 'store'}"
        run = Recorded(store)
        watchers = Watchers(store, run.id, folder)
        while not all(watchers.seen.values()):
            run.block(0.5)
        ratios, spans = [], 0
        for _ in range(chosen.rounds):
            made, watched = run.block(chosen.seconds)
            watchers.send(signal.SIGSTOP)
            more, alone = run.block(chosen.seconds)
            watchers.send(signal.SIGCONT)
            ratios.append(watched / alone)
            spans += made + more
            print(f"watched {watched:6.1f} us of CPU per span, alone {alone:6.1f}", flush=True)
        run.end()
        watchers.end()
    low, middle, high = statistics.quantiles(ratios, n=4)
    seen = ", ".join(f"{name} {number:,}" for name, number in watchers.seen.items())
    print(f"{spans:,} spans, load {os.getloadavg()[0]:.1f}; events seen: {seen}")
    print(f"watched / alone: {middle:.3f} (quartiles {low:.3f} to {high:.3f} of {len(ratios)} pairs)")


if __name__ == "__main__":
    main()
