"""What the dashboard costs: `python benchmarks/dashboard.py [--spans 1000000] [--browser]`.

Time until the server answers, its memory before and after a page was filled, the memory of the process that computes,
and in Chromium the time to the first paint and to the first numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import polars as pl
import psutil

from otel_research import semconv
from otel_research.experiments import ExperimentRecord, new_id
from otel_research.spans.digest import content_hash
from otel_research.spans.schema import RAW, STORED, names, polars_schema
from otel_research.store.disk import DiskStore

PART = 100_000


def filled(root: Path, count: int) -> str:
    """A stopped experiment of that many calls under two conditions; its id."""
    store, experiment_id, drawn = DiskStore(root), new_id(), random.Random(1)
    first = time.time_ns() - count * 3_000_000
    for begin in range(0, count, PART):
        made = [row(experiment_id, first, index, drawn) for index in range(begin, min(begin + PART, count))]
        frame = semconv.normalise(pl.DataFrame(made, schema=polars_schema(RAW)).lazy()).select(names(STORED)).collect()
        store.append(frame.to_arrow().combine_chunks().to_batches()[0])
    # As the end of a run leaves it.
    store.seal(experiment_id, is_over=True)
    told = dict.fromkeys(
        ("open", "interrupted", "received", "filtered", "sampled_out", "duplicates", "late", "outside"), 0
    )
    ledger = {**told, "started": count, "ended": count, "stored": count, "lost": {}, "errors": {}}
    store.put_experiment(
        ExperimentRecord(
            id=experiment_id, name="many", state="stopped", ended_by="user", started_ns=first,
            stopped_ns=time.time_ns(), ledger=ledger,
            content_hash=content_hash(store.scan(experiment_id)),
        )
    )  # fmt: skip
    return experiment_id


def row(experiment_id: str, first: int, index: int, drawn: random.Random) -> dict[str, object]:
    start = first + index * 3_000_000
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": ("gpt-4o-mini", "gpt-4o")[index % 2],
        "gen_ai.usage.input_tokens": drawn.randint(50, 800), "gen_ai.usage.output_tokens": drawn.randint(5, 300),
    }  # fmt: skip
    return {
        "experiment_id": experiment_id, "condition": ("baseline", "treatment")[index % 2], "experiment_source": "context",
        "sample_weight": 1.0, "trace_id": f"{index:032x}", "span_id": f"{index + 1:016x}", "name": "chat",
        "kind": "client", "start_ns": start, "end_ns": start + int(drawn.lognormvariate(6, 0.5) * 1e6),
        "status": "error" if drawn.random() < 0.02 else "unset", "scope": "app", "attributes": json.dumps(attributes),
        "events": "[]", "links": "[]",
    }  # fmt: skip


PARTS = {
    "captured and lost": "header .facts strong",
    "conditions": "#conditions tbody tr",
    "pictures": "#ecdf path",
    "models": "#models tbody tr",
    "intervals": "#conditions td .ci",
    "data quality": "#quality h2 .sub",
}
"""Of the page, in the order in which it is filled."""


class Peak(threading.Thread):
    """The most memory that the server and its workers have held."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.server = self.workers = 0
        self._process = psutil.Process(pid)
        self.is_over = False

    def run(self) -> None:
        while not self.is_over:
            try:
                self.server = max(self.server, self._process.memory_info().rss)
                self.workers = max(self.workers, sum(child.memory_info().rss for child in self._process.children()))
            except psutil.Error:
                pass
            time.sleep(0.05)


def painted(url: str, address: str, experiment_id: str) -> dict[str, float]:
    """Seconds in Chromium: first paint, and when each part of the page had its numbers; then as a second visitor."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1_800_000)
        page.goto(url)
        page.wait_for_selector("tr.row .cost:not(:has-text('…'))")
        found = {}
        for visit in ("", ", again"):
            began = time.monotonic()
            page.goto(f"{address}experiment/{experiment_id}")
            for name, selector in PARTS.items():
                page.wait_for_selector(selector, state="attached")
                found[name + visit] = time.monotonic() - began
            paint = page.evaluate(
                "performance.getEntriesByType('paint').find(e => e.name === 'first-contentful-paint').startTime"
            )
            found["first contentful paint" + visit] = paint / 1000
        browser.close()
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--browser", action="store_true", help="also measure in Chromium")
    parser.add_argument("--store", type=Path, help="keep the store here, and use it again")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = chosen.store or Path(folder) / "store"
        experiment_id = next((path.parent.name for path in root.glob("*/experiment.json")), None)
        experiment_id = experiment_id or filled(root, chosen.spans)
        command = [sys.executable, "-m", "otel_research.cli", "serve", "--store", f"disk:{root}", "--port", "0"]
        command += ["--no-otlp"]
        began = time.monotonic()
        server = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": folder, "XDG_CACHE_HOME": folder},
        )
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        print(f"{chosen.spans:,} spans; load {os.getloadavg()[0]:.1f}")
        print(f"ready after                {time.monotonic() - began:8.2f} s")
        peak = Peak(server.pid)
        peak.start()
        try:
            if chosen.browser:
                for name, seconds in painted(url, url.partition("?")[0], experiment_id).items():
                    print(f"{name:26} {seconds:8.2f} s")
            time.sleep(0.5)
            print(f"server, at most            {peak.server / 1e6:8.1f} MB")
            print(f"workers, at most           {peak.workers / 1e6:8.1f} MB")
        finally:
            peak.is_over = True
            server.send_signal(signal.SIGINT)
            server.wait(20)


if __name__ == "__main__":
    main()
