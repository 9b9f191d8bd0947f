"""What the dashboard's tests look at: a store with experiments made for it, and a server over it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.trace import StatusCode

import otel_research as otr
from otel_research import alerts
from otel_research.testing import recording

MODELS = {"baseline": "gpt-4o-mini", "cot": "gpt-4o", "unpriced": "no-such-model"}
NASTY = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
NAMES = (
    NASTY,
    "../../etc/passwd",
    "evil \u202egnp.exe\u202c name",
    "tab\there\x07bell\x1b[31mred",
    "'\"><b>bold</b>",
    "{{7*7}}${7*7}",
)


@dataclass
class Made:
    """Ids by the name that the tests use."""

    folder: Path
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"disk:{self.folder}"


def make(folder: Path) -> Made:
    """A store with an ablation, a study of three, and one with hostile names."""
    made = Made(folder)
    with recording(made.url) as (_, provider):
        tracer = provider.get_tracer("app", "1.0")
        made.ids["ablation"] = _ablation(tracer, "prompt-ablation", 60, seed=1)
        for number in range(3):
            made.ids[f"study{number}"] = _ablation(
                tracer, f"replication {number}", 20, seed=10 + number, study="three labs"
            )
        made.ids["hostile"] = _hostile(tracer)
        with otr.experiment("nothing yet") as empty:
            made.ids["empty"] = empty.id
    return made


def _ablation(tracer: Any, name: str, items: int, *, seed: int, study: str | None = None) -> str:
    drawn = random.Random(seed)
    rules = [alerts.TokenThreshold(1500, every=0)]
    with otr.experiment(
        name,
        hypothesis="thinking aloud is slower and better",
        tags=["dataset:mmlu"],
        study=study,
        sample_size=items,
        alerts=rules,
    ) as exp:
        for item in range(items):
            for condition in drawn.sample(("baseline", "cot"), 2):
                with exp.arm(condition), exp.trial(item=f"q{item}") as trial:
                    _call(tracer, drawn, condition)
                    if item % 20 == 3:
                        trial.fail("no answer")
                    trial.score("accuracy", drawn.random() < (0.7 if condition == "baseline" else 0.85))
        with exp.aside("judge"):
            _call(tracer, drawn, "baseline")
    exp.exclude({"item_id": "q1"}, reason="the question was wrong")
    return exp.id


def _call(tracer: Any, drawn: random.Random, condition: str) -> None:
    model = MODELS[condition if drawn.random() > 0.1 else "unpriced"]
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": drawn.randint(50, 900),
        "gen_ai.usage.output_tokens": drawn.randint(10, 800),
        "gen_ai.input.messages": json.dumps(
            [{"role": "user", "parts": [{"type": "text", "content": "What is 6 times 7?"}]}]
        ),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": "It is 42."}]}]
        ),
    }
    with tracer.start_as_current_span(f"chat {model}", attributes=attributes) as span:
        span.add_event("gen_ai.choice", {"index": 0})
        with tracer.start_as_current_span("retrieve"):
            time.sleep(0.001)
        time.sleep(drawn.lognormvariate(-5.0 if condition == "baseline" else -4.6, 0.4))
        if drawn.random() < 0.06:
            span.set_attribute("error.type", "RateLimitError")
            span.set_status(StatusCode.ERROR, "429")


def _hostile(tracer: Any) -> str:
    with otr.experiment("a <b>hostile<b> one", hypothesis=NASTY, tags=[NASTY]) as exp:
        for name in NAMES:
            with exp.arm(name), exp.trial(item=name) as trial:
                attributes = {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": name,
                    "gen_ai.usage.input_tokens": 10,
                    "gen_ai.usage.output_tokens": 1,
                    "error.type": name,
                    f"key {name}": name,
                    "gen_ai.input.messages": json.dumps(
                        [{"role": name, "parts": [{"type": "text", "content": NASTY}]}]
                    ),
                    "long": "x" * 1_000_000,
                }
                with tracer.start_as_current_span(name, attributes=attributes) as span:
                    span.add_event(name, {name: name})
                    span.set_status(StatusCode.ERROR, name)
                for number in range(6):
                    trial.score(f"score {number}", True, explanation=name)
    exp.exclude({"item_id": "nobody"}, reason=NASTY)
    return exp.id


class Server:
    """`otel-research serve` as a process of its own."""

    def __init__(self, made: Made, state: Path, port: int = 0, *options: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        environment = {
            **kept,
            "XDG_STATE_HOME": str(state),
            "XDG_CACHE_HOME": str(state),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "otel_research.cli", "serve", "--store", made.url, "--port", str(port),
             # Ports of its own: on the standard ones it would receive what other tests send.
             "--otlp-http", "0", "--otlp-grpc", "0", *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://127.0.0.1:" in line, line + self.process.stdout.read()
        self.ready_after = time.monotonic() - self.began
        self.url = line.split()[-1]
        self.address, _, self.token = self.url.partition("?token=")
        self.port = int(self.address.rstrip("/").rpartition(":")[2])

    def stop(self) -> None:
        """As Ctrl+C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            raise
