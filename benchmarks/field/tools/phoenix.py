"""Arize Phoenix: `phoenix.otel.register`, and its server on loopback with SQLite, read by its own client."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from field.asked import PRICED, SCORES, UNPRICED, call
from field.load import PER_TRIAL, trials
from field.tools import Tracing

TITLE = "Phoenix, `register(batch=True)`"
PACKAGE = "arize-phoenix"
VARIANTS = ("phoenix-default",)
PROJECT = "field"
NOT_RUN: dict[str, str] = {}
PATIENCE = 300
"""Seconds without a new span in the server's database until it is given up."""


def variant(name: str) -> ModuleType:
    """`register()` as it is without arguments: every span is a request of its own, which the program waits for."""
    made: Any = SimpleNamespace(TITLE="Phoenix, `register()`", PACKAGE=PACKAGE, NOT_RUN={})
    made.trace = lambda backend: trace(backend, batch=False)
    return made


def trace(backend: str, *, batch: bool = True) -> Tracing:
    from phoenix.otel import register

    endpoint = f"{backend}/v1/traces"
    provider = register(project_name=PROJECT, endpoint=endpoint, protocol="http/protobuf", batch=batch, verbose=False)
    return Tracing(provider, provider.force_flush, provider.shutdown)


@contextmanager
def _server() -> Iterator[str]:
    """The server, in the current folder."""
    ports = [_free_port(), _free_port()]
    told = {"PHOENIX_WORKING_DIR": str(Path.cwd()), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_TELEMETRY_ENABLED": "false"}
    told |= {"PHOENIX_PORT": str(ports[0]), "PHOENIX_GRPC_PORT": str(ports[1])}
    program = [str(Path(sys.executable).with_name("phoenix")), "serve"]
    with open("phoenix.log", "w") as log:
        process = subprocess.Popen(program, env={**os.environ, **told}, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{ports[0]}"
        _wait(f"{url}/healthz")
        yield url
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _wait(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise SystemExit("Phoenix does not start: see phoenix.log")


def _wait_for(count: int) -> None:
    """Until the server has worked off its queue.

    It answers as soon as spans are in memory (up to 20,000), and writes a hundred of them at a time into its database, each with
    several statements: minutes on a busy machine. Counted in the file, because asking the server takes its time from writing.
    """
    stored, idle = 0, 0
    while stored < count:
        if idle == PATIENCE:
            raise SystemExit(f"Phoenix has {stored} of {count} spans, and no new one since {idle} s: see phoenix.log")
        time.sleep(1)
        before, stored = stored, _stored()
        idle = idle + 1 if stored == before else 0


def _stored() -> int:
    with closing(sqlite3.connect("file:phoenix.db?mode=ro", uri=True, timeout=60)) as database:
        return int(database.execute("SELECT count(*) FROM spans").fetchone()[0])


def frame(count: int) -> dict[str, Any]:
    from phoenix.client import Client

    os.environ["OTEL_EXPORTER_OTLP_TIMEOUT"] = "60"  # the table is about reading: nothing may be lost on the way
    with _server() as url:
        tracing = trace(url)
        for _ in range(count // 20):
            trials(tracing.provider.get_tracer("program"), 20)
            tracing.flush()
        _wait_for(made := count * PER_TRIAL)
        read = Client(base_url=url).spans.get_spans_dataframe
        rows = len(read(project_identifier=PROJECT, timeout=600))
        more = len(read(project_identifier=PROJECT, timeout=600, limit=10 * made))
    return {
        "call": "`client.spans.get_spans_dataframe()`",
        "rows": rows,
        "unit": f"a row per span; {made:,} were in its database, and `limit={10 * made}` returned {more:,}",
    }


def cost() -> dict[str, Any]:
    import httpx

    asked = "{projects{edges{node{name costSummary{total{cost}} spans(first:9){edges{node{name costSummary{total{cost}}}}}}}}}"
    with _server() as url:
        tracing = trace(url)
        for model in (PRICED, UNPRICED):
            call(tracing.provider, model)
        tracing.close()
        for _ in range(60):
            projects = httpx.post(f"{url}/graphql", json={"query": asked}).json()["data"]["projects"]["edges"]
            (found,) = [one["node"] for one in projects if one["node"]["name"] == PROJECT] or [None]
            if found and found["costSummary"]["total"]["cost"] is not None and len(found["spans"]["edges"]) == 2:
                break
            time.sleep(1)
    costs = {one["node"]["name"]: one["node"]["costSummary"]["total"]["cost"] for one in found["spans"]["edges"]}
    return {
        "priced": costs[f"chat {PRICED}"],
        "unpriced": costs[f"chat {UNPRICED}"],
        "total": found["costSummary"]["total"]["cost"],
    }


def intervals() -> dict[str, Any]:
    from phoenix.client import Client

    with _server() as url:
        client = Client(base_url=url)
        asked = [{"item": item} for item in range(len(SCORES))]
        dataset = client.datasets.create_dataset(name="field", inputs=asked, outputs=[{}] * len(asked), timeout=60)
        for condition in (0, 1):
            ran = client.experiments.run_experiment(
                dataset=dataset,
                task=lambda input, at=condition: SCORES[input["item"]][at],
                evaluators={"right": lambda output: output},
                experiment_name=str(condition),
                print_summary=False,
            )
        kept = client.experiments.get(experiment_id=ran["experiment_id"])
    return {"of_one": sorted({*ran, *kept}), "of_two": []}
