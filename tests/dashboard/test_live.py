"""While a run goes on: the page follows it, through a restart of the server, to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import opened, until
from stores import Made, Server

import otel_research as otr
from otel_research.handle import Experiment
from otel_research.store.library import Library

RUN = """
import sys, time
import otel_research as otr
from otel_research import alerts
from opentelemetry import trace
otr.configure(store=sys.argv[1])
tracer = trace.get_tracer("app")
CALL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
with otr.experiment("going on", alerts=[alerts.Budget(0.002)]) as exp:
    print(exp.id, flush=True)
    number = 0
    while not sys.stdin.closed and number < 3000:
        with exp.arm(("a", "b")[number % 2]), exp.trial(item=number // 2):
            with tracer.start_as_current_span("chat gpt-4o-mini", attributes=CALL):
                time.sleep(0.05)
        number += 1
        import select
        if select.select([sys.stdin], [], [], 0)[0]:
            break
"""


class Run:
    """A program that records until it is told to stop."""

    def __init__(self, store: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        environment = {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, store],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        self.id = self.process.stdout.readline().strip()

    def stop(self) -> None:
        """Let it end its experiment."""
        if self.process.poll() is None:
            self.process.communicate("stop\n", timeout=60)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(f"disk:{tmp_path / 'store'}")
    yield made
    made.stop()


def number(page: Any, what: str) -> float:
    text = page.locator("#now .strip div", has_text=what).locator("b").first.inner_text()
    return float(text.replace(",", "").split()[0])


def test_the_page_follows_a_run_through_a_restart_to_its_end(
    browser: Any, run: Run, tmp_path: Path, artefacts: Path
) -> None:
    """Values change, an alert appears, the server dies and comes back, and at the end the numbers are the library's."""
    made = Made(tmp_path / "store")
    serving = Server(made, tmp_path / "state")
    try:
        with opened(browser, serving) as watched:
            page = watched.open(f"/experiment/{run.id}")
            page.wait_for_selector("#now b")
            assert page.inner_text("header .badge.live") == "live"
            first = number(page, "calls in all")
            until(
                page,
                f"[...document.querySelectorAll('#now div')].some(d => d.textContent.includes('calls in all') && parseFloat(d.textContent.replace(',', '')) > {first + 5})",
            )
            page.wait_for_selector("#notes td:has-text('the budget is spent')")
            page.wait_for_selector("#time .alert", state="attached")
            page.screenshot(path=artefacts / "live-light-1280.png", full_page=True)

            watched.may_fail = True
            serving.stop()
            page.wait_for_selector("header .badge.away")
            serving = Server(made, tmp_path / "state", serving.port)
            page.wait_for_selector("header .badge.live")
            watched.may_fail = False
            again = number(page, "calls in all")
            until(
                page,
                f"[...document.querySelectorAll('#now div')].some(d => d.textContent.includes('calls in all') && parseFloat(d.textContent.replace(',', '')) > {again})",
            )

            run.stop()
            until(
                page,
                "document.querySelector('header').textContent.includes('stopped') && document.querySelector('#top > .badge').textContent === 'complete'",
            )
            library = Library(made.url)
            expected = otr.metrics_by(Experiment(library.get(run.id), library), "condition", unit="trial")["a"]
            assert expected.latency is not None
            until(
                page,
                f"(document.querySelector('#conditions td[data-value]') || {{dataset: {{}}}}).dataset.value == {expected.latency.p50!r}",
            )
    finally:
        serving.stop()


def test_watching_in_the_terminal_ends_with_the_run(run: Run, tmp_path: Path) -> None:
    """`watch --json`: lines of JSON while it runs, the state last."""
    import json

    watching = subprocess.Popen(
        [sys.executable, "-m", "otel_research.cli", "watch", run.id, "--json", "--store", f"disk:{tmp_path / 'store'}"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["event"] == "metrics_update"
    deadline = time.monotonic() + 60
    while json.loads(watching.stdout.readline())["event"] != "span":
        assert time.monotonic() < deadline
    run.stop()
    events = [json.loads(line) for line in watching.stdout]
    assert watching.wait(30) == 0
    assert events[-1]["event"] == "state"
    assert events[-1]["data"] == {"state": "stopped"}
    assert "full_metrics" in {event["event"] for event in events}
    assert [event["data"]["rule"] for event in events if event["event"] == "alert"] in ([], ["Budget"])


def test_the_server_evaluates_rules_over_the_store(run: Run, tmp_path: Path) -> None:
    """Nobody looks, the program has no such rule: the alert is in the experiment's record all the same, once."""
    made = Made(tmp_path / "store")
    serving = Server(made, tmp_path / "state", 0, "--alert", "tokens > 1000 over 10", "--alert", "budget > 1000")
    try:
        library = Library(made.url)
        deadline = time.monotonic() + 90
        while not (
            told := [note for note in library.catalogue.annotations(run.id) if note.get("rule") == "TokenThreshold"]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert told[0]["kind"] == "alert"
        assert told[0]["value"] > 1000
    finally:
        serving.stop()


@pytest.mark.parametrize(
    "options", [("--alert", "speed > 3"), ("--alert", "budget > 5", "--webhook", "ftp://x"), ("--port", "1")]
)
def test_serve_refuses_what_cannot_work_at_once(options: tuple[str, ...], tmp_path: Path) -> None:
    """With exit code 2 and one line that says what to do."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if options == ("--port", "1") and os.geteuid() == 0:
        import socket

        taken = socket.create_server(("127.0.0.1", 0))
        options = ("--port", str(taken.getsockname()[1]))
    run = subprocess.run(
        [sys.executable, "-m", "otel_research.cli", "serve", "--store", f"disk:{tmp_path}", *options],
        capture_output=True, text=True, env=environment, timeout=60,
    )  # fmt: skip
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
