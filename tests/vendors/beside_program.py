"""A program that a vendor's package traces, alone or beside us: real calls of a real client, the same in every run.

    python beside_program.py VENDOR ORDER RATIO QUESTIONS MODEL_URL SINK_URL STORE

Run by `beside.py`. ORDER says when `otel_research` is set up: never ("without"), "after" the vendor, "before" it, or
"joined": before it, and with an experiment of the environment that runs already.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

Question = Callable[[int], AbstractContextManager[Any]]


class Vendor(NamedTuple):
    """What a vendor's set-up leaves: its client, its own way to open a span, and how it is told to send what it has."""

    client: Any
    question: Question
    flush: Callable[[], object]


class Repeated(IdGenerator):
    """The same trace ids in every run, so that samplers decide alike and runs can be compared trace by trace."""

    # One sequence each: Logfire draws an id more for a span that is recorded than for one that is not.
    traces, spans = random.Random(7), random.Random(8)

    def generate_span_id(self) -> int:
        return Repeated.spans.getrandbits(64)

    def generate_trace_id(self) -> int:
        return Repeated.traces.getrandbits(128)


def repeat_ids() -> None:
    """The SDK's source of ids, and ours that replaces it, draw from the same sequences."""
    from otel_research.capture.ids import ExperimentIdGenerator

    for generator in (RandomIdGenerator, ExperimentIdGenerator):
        generator.generate_span_id = Repeated.generate_span_id  # type: ignore[method-assign,assignment]
        generator.generate_trace_id = Repeated.generate_trace_id  # type: ignore[method-assign,assignment]


def openai_client(model: str) -> Any:
    import openai

    return openai.OpenAI(base_url=f"{model}/v1", api_key="unused", max_retries=0)


def flush_global() -> None:
    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]


def logfire(model: str, sink: str, ratio: float) -> Vendor:
    import logfire as package

    package.configure(
        token="pylf_v1_local_unused",
        send_to_logfire=True,
        console=False,
        inspect_arguments=False,
        advanced=package.AdvancedOptions(base_url=sink, id_generator=Repeated()),
        sampling=package.SamplingOptions(head=ratio),
    )
    package.instrument_openai()
    return Vendor(
        openai_client(model), lambda number: package.span("question {number}", number=number), package.force_flush
    )


def phoenix(model: str, sink: str, ratio: float) -> Vendor:
    from phoenix.otel import register

    sampler = {} if ratio == 1 else {"sampler": ParentBasedTraceIdRatio(ratio)}
    endpoint: Any = {"endpoint": f"{sink}/v1/traces", "protocol": "http/protobuf"}
    own: Any = {"id_generator": Repeated(), **sampler}  # its tracers do not take the stock generator
    provider = register(project_name="beside", batch=True, auto_instrument=True, verbose=False, **endpoint, **own)
    tracer: Any = provider.get_tracer("program")

    def question(number: int) -> AbstractContextManager[Any]:
        opened: AbstractContextManager[Any] = tracer.start_as_current_span(
            f"question {number}", openinference_span_kind="chain"
        )
        return opened

    return Vendor(openai_client(model), question, provider.force_flush)


def langfuse(model: str, sink: str, ratio: float) -> Vendor:
    from langfuse import Langfuse
    from langfuse.openai import OpenAI

    made = Langfuse(
        public_key="pk-lf-beside", secret_key="sk-lf-beside", base_url=sink, sample_rate=None if ratio == 1 else ratio
    )
    client = OpenAI(base_url=f"{model}/v1", api_key="unused", max_retries=0)

    def question(number: int) -> AbstractContextManager[Any]:
        opened: AbstractContextManager[Any] = made.start_as_current_observation(name=f"question {number}")
        return opened

    return Vendor(client, question, made.flush)


def mlflow(model: str, sink: str, ratio: float) -> Vendor:
    import mlflow as package

    package.set_experiment("beside")
    package.openai.autolog()
    # Its provider comes with its first span, and without its sampler if there is another one by then.
    package.tracing.enable()
    return Vendor(
        openai_client(model),
        lambda number: package.start_span(f"question {number}"),
        lambda: package.flush_trace_async_logging(),
    )


def openlit(model: str, sink: str, ratio: float) -> Vendor:
    import openlit as package

    # Its prices are read from the network unless they are given.
    package.init(application_name="beside", otlp_endpoint=sink, disable_metrics=True, pricing_json=os.environ["PRICES"])
    return Vendor(openai_client(model), lambda number: package.start_trace(f"question {number}"), flush_global)


def traceloop(model: str, sink: str, ratio: float) -> Vendor:
    from traceloop.sdk import Traceloop
    from traceloop.sdk.instruments import Instruments
    from traceloop.sdk.tracing.context_manager import get_tracer

    Traceloop.init(
        app_name="beside",
        api_endpoint=sink,
        api_key="unused",
        telemetry_enabled=False,
        instruments={Instruments.OPENAI},
        sampler=None if ratio == 1 else ParentBasedTraceIdRatio(ratio),
    )
    with get_tracer() as tracer:
        own = tracer
    return Vendor(openai_client(model), lambda number: own.start_as_current_span(f"question {number}"), flush_global)


def handmade(model: str, sink: str, ratio: float) -> Vendor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{sink}/v1/traces")))
    trace.set_tracer_provider(provider)
    OpenAIInstrumentor().instrument()
    tracer = trace.get_tracer("by hand")
    return Vendor(
        openai_client(model), lambda number: tracer.start_as_current_span(f"question {number}"), provider.force_flush
    )


VENDORS: dict[str, Callable[[str, str, float], Vendor]] = {
    one.__name__: one for one in (handmade, logfire, phoenix, langfuse, mlflow, openlit, traceloop)
}


def ask(vendor: Vendor, questions: int) -> None:
    """Three spans a question: the vendor's own way, plain OpenTelemetry, and the call as it is instrumented."""
    tracer = trace.get_tracer("program")
    for number in range(questions):
        with vendor.question(number), tracer.start_as_current_span(f"work {number}"):
            vendor.client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": f"What is {number} + 17?"}]
            )


def main(name: str, order: str, ratio: float, questions: int, model: str, sink: str, store: str) -> None:
    import otel_research as otr

    repeat_ids()
    if order == "joined":
        os.environ["OTEL_RESEARCH_EXPERIMENT"] = "beside"
    if order in ("before", "joined"):
        otr.configure(store=store)
    vendor = VENDORS[name](model, sink, ratio)
    if order == "after":
        otr.configure(store=store)
    if order in ("before", "after"):
        otr.start_experiment("beside")
    Repeated.traces.seed(7)  # an experiment has an id too
    ask(vendor, questions)
    vendor.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
