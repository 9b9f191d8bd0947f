"""Pydantic Logfire, and `pydantic_evals`, its evaluations. The service needs an account: what it stores is not asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from field.asked import ANSWER, PRICED, PROMPT, SCORES, UNPRICED
from field.tools import Tracing

TITLE = "Logfire"
PACKAGE = "logfire"
NOT_RUN = {"frames": "its service needs an account"}


def _set_up(backend: str) -> Any:
    import logfire

    logfire.configure(
        token="pylf_v1_local_unused",
        send_to_logfire=True,
        console=False,
        inspect_arguments=False,
        advanced=logfire.AdvancedOptions(base_url=backend),
    )
    return logfire


def trace(backend: str) -> Tracing:
    from opentelemetry import trace

    logfire = _set_up(backend)
    return Tracing(trace.get_tracer_provider(), logfire.force_flush, logfire.shutdown)


def is_span(received: Any) -> bool:
    """It sends notes that a span is open, too."""
    return b"pending_span" not in received.attributes.get("logfire.span_type", b"")


def cost() -> dict[str, Any]:
    """The attribute of the call's span: its client computes it, with the same price table (`genai-prices`) as ours."""
    import logfire
    import openai
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    processors = [SimpleSpanProcessor(kept)]
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=processors)
    logfire.instrument_openai()
    with _model_server() as url:
        client = openai.OpenAI(base_url=url, api_key="unused", http_client=openai.DefaultHttpxClient(trust_env=False))
        for model in (PRICED, UNPRICED):
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "What is 2 + 17?"}])
    costs = {str(one.attributes["gen_ai.request.model"]): one.attributes.get("operation.cost") for one in _of(kept)}
    return {"priced": costs[PRICED], "unpriced": costs[UNPRICED], "total": None}


def _of(kept: Any) -> list[Any]:
    return [one for one in kept.get_finished_spans() if "gen_ai.request.model" in one.attributes]


@contextmanager
def _model_server() -> Iterator[str]:
    """On loopback: which HTTP library the client is made of changes with its version."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


class _Model(BaseHTTPRequestHandler):
    """What a model's server would answer."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": "19"}
        usage = {"prompt_tokens": PROMPT, "completion_tokens": ANSWER, "total_tokens": PROMPT + ANSWER}
        told = {"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"]}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        body = json.dumps({**told, "choices": choices, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: its lines would stand among the answers."""


def intervals() -> dict[str, Any]:
    from pydantic_evals import Case, Dataset
    from pydantic_evals.evaluators import Evaluator

    class Right(Evaluator):  # type: ignore[type-arg]
        def evaluate(self, ctx: Any) -> float:
            return float(ctx.output)

    cases = [Case(name=str(item), inputs=item) for item in range(len(SCORES))]
    dataset = Dataset(name="field", cases=cases, evaluators=[Right()])

    async def control(item: int) -> float:
        return SCORES[item][0]

    report = dataset.evaluate_sync(control, progress=False)
    return {"of_one": sorted(report.averages().model_dump(exclude_none=True)), "of_two": []}
