"""`gen_ai.evaluation.result` as a log record: a score row of the experiment, and nothing else changes."""

from __future__ import annotations

import io
import logging
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry import trace
from opentelemetry._logs import Logger
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_research as otr
from otel_research.testing import recording

EVALUATION = "gen_ai.evaluation.result"
CALL: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
GOOD: dict[str, Any] = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.75}
LABELS = ("condition", "trial_id", "item_id", "repetition", "session_id", "aside")


@dataclass
class Program:
    """A host with spans and logs of its own, both exported somewhere."""

    recorder: otr.Recorder
    tracer: trace.Tracer
    spans: InMemorySpanExporter
    logger: Logger
    logs: InMemoryLogRecordExporter


@pytest.fixture
def program() -> Iterator[Program]:
    """Recording, with our log processor put on the host's LoggerProvider by hand."""
    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    loggers = LoggerProvider(shutdown_on_exit=False, resource=Resource({"service.name": "judge"}))
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    with recording(provider=provider) as (recorder, _):
        loggers.add_log_record_processor(otr.ExperimentLogProcessor(recorder))
        yield Program(recorder, provider.get_tracer("app"), spans, loggers.get_logger("judge"), logs)


def scores(exp: otr.Experiment) -> pl.DataFrame:
    return exp.spans().filter(pl.col("role") == "score").sort("start_ns").collect()


def test_it_is_a_score_row_of_its_span(program: Program) -> None:
    """Parent, time, labels and verdict are those of the record and of the span it points at."""
    with (
        otr.experiment("x") as exp,
        exp.arm("cot"),
        exp.trial(item="q1", repetition=2),
        program.tracer.start_as_current_span("chat", attributes=CALL) as span,
    ):
        program.logger.emit(timestamp=1_795_414_056_000_000_123, event_name=EVALUATION, attributes=GOOD)
    (row,) = scores(exp).to_dicts()
    call = exp.spans().filter(pl.col("name") == "chat").collect().row(0, named=True)
    assert row["parent_span_id"] == f"{span.get_span_context().span_id:016x}"
    assert (row["trace_id"], row["start_ns"], row["end_ns"]) == (
        call["trace_id"],
        1_795_414_056_000_000_123,
        row["start_ns"],
    )
    assert (
        [row[name] for name in LABELS]
        == [call[name] for name in LABELS]
        == ["cot", call["trial_id"], "q1", 2, None, None]
    )
    assert (row["score_name"], row["score_value"], row["score_label"]) == ("relevance", 0.75, None)
    assert row["resource"] == '{"service.name":"judge"}'
    assert exp.trials().select("scores").collect().item() == '{"relevance":0.75}'
    assert exp.ledger().is_balanced
    assert exp.ledger().stored == 3


def test_the_span_decides_before_the_context(program: Program) -> None:
    """A judge that runs elsewhere, in another arm or thread, scores the trial that it points at."""
    with otr.experiment("x") as exp:
        with exp.arm("a"), exp.trial(item="judged") as judged:
            span = program.tracer.start_span("chat", attributes=CALL)
        with exp.arm("b"), exp.trial(item="judge"):
            about = trace.set_span_in_context(span)
            program.logger.emit(context=about, event_name=EVALUATION, attributes=GOOD)
        span.end()
        assert scores(exp).select("condition", "trial_id").rows() == [("a", judged.id)]


def test_a_span_that_has_ended_is_judged_in_its_context(program: Program) -> None:
    """The labels are then those that hold where the record is emitted."""
    with otr.experiment("x") as exp, exp.arm("a"), exp.trial(item="q") as trial:
        with program.tracer.start_as_current_span("chat", attributes=CALL) as span:
            pass
        program.logger.emit(context=trace.set_span_in_context(span), event_name=EVALUATION, attributes=GOOD)
    rows = scores(exp).select("condition", "trial_id", "parent_span_id").rows()
    assert rows == [("a", trial.id, f"{span.get_span_context().span_id:016x}")]


def test_a_process_wide_experiment_takes_results_without_a_span(program: Program) -> None:
    """A result that points nowhere is a root row; an older emitter names the event in an attribute."""
    exp = otr.start_experiment("x")
    program.logger.emit(attributes={**GOOD, "event.name": EVALUATION, "details": {"why": ["a", "b"]}})
    otr.stop_experiment(exp.id)
    (row,) = scores(exp).to_dicts()
    assert (row["parent_span_id"], row["score_value"]) == (None, 0.75)
    assert '"details":"{\\"why\\":[\\"a\\",\\"b\\"]}"' in row["attributes"]


def test_nothing_else_is_touched(program: Program) -> None:
    """Other records, and results outside any experiment, make no row; the host's exporters see no span of ours."""
    program.logger.emit(event_name=EVALUATION, attributes=GOOD)
    with otr.experiment("x") as exp:
        program.logger.emit(event_name="gen_ai.user.message", attributes=GOOD)
        program.logger.emit(event_name=EVALUATION, attributes=GOOD)
    program.logger.emit(event_name=EVALUATION, attributes=GOOD)
    assert exp.spans().collect().height == 1
    assert program.spans.get_finished_spans() == ()
    assert len(program.logs.get_finished_logs()) == 4
    assert program.recorder.ledger().outside == 0


@pytest.mark.skipif(not hasattr(Logger, "enabled"), reason="loggers are asked since SDK 1.44")
def test_the_hosts_answer_to_enabled_stays(program: Program) -> None:
    """Our processor asks for evaluation results while an experiment runs, and for nothing else."""
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(otr.ExperimentLogProcessor(program.recorder))
    logger = loggers.get_logger("judge")
    assert not logger.enabled(event_name=EVALUATION)
    with otr.experiment("x"):
        assert logger.enabled(event_name=EVALUATION)
        assert not logger.enabled(event_name="gen_ai.user.message")
        assert not logger.enabled()


def test_an_error_is_swallowed_counted_and_logged_once(
    program: Program, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program that logs a result never pays for ours going wrong."""

    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("otel_research.capture.logs._below", broken)
    with otr.experiment("x") as exp, caplog.at_level(logging.ERROR, "otel_research"):
        for _ in range(3):
            program.logger.emit(event_name=EVALUATION, attributes=GOOD)
    assert program.recorder.ledger().errors == {"on_emit": 3}
    assert len([one for one in caplog.records if "evaluation result" in one.message]) == 1
    assert exp.spans().collect().is_empty()


def test_the_import_path_equals_the_live_path(program: Program) -> None:
    """Spans and log records that the host exported give the same scores as those captured here."""
    with otr.experiment("x") as exp:
        for condition, value in (("a", 0.25), ("b", 1)):
            with exp.arm(condition), exp.trial(item="q"), program.tracer.start_as_current_span("chat", attributes=CALL):
                verdict = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": value}
                program.logger.emit(event_name=EVALUATION, attributes=verdict)
    logs = encode_logs(program.logs.get_finished_logs())
    spans = encode_spans(program.spans.get_finished_spans())
    content = b"".join(MessageToJson(message, indent=None).encode() + b"\n" for message in (logs, spans))
    (imported,) = otr.import_spans(io.BytesIO(content), store="memory:")
    columns = ("trace_id", "parent_span_id", "name", "role", *LABELS, "score_name", "score_value", "score_label")
    columns = (*columns, "operation", "dialect", "duration_ms", "scope", "is_call", "excluded_because")
    live = scores(exp).select(columns).sort("condition")
    assert scores(imported).select(columns).sort("condition").equals(live)
    assert live["score_value"].to_list() == [0.25, 1.0]
    assert imported.trials().select("scores").collect().equals(exp.trials().select("scores").collect())


CONFIGURED = """
import sys
import otel_research as otr
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider

def emit():
    _logs.get_logger("judge").emit(event_name="gen_ai.evaluation.result", attributes={"gen_ai.evaluation.name": "x"})

early = LoggerProvider()
is_early = sys.argv[1] == "True"
if is_early:
    _logs.set_logger_provider(early)
for number in range(2):
    recorder = otr.configure(store="memory:")
    if not is_early and not number:
        _logs.set_logger_provider(early)
    with otr.experiment("x") as exp:
        emit()
    print(exp.spans().collect().height)
    recorder.close()
emit()
print(len(early._multi_log_record_processor._log_record_processors))
"""


@pytest.mark.parametrize("is_early", [True, False])
def test_configure_attaches_to_the_global_provider_once(
    run_python: Callable[..., subprocess.CompletedProcess[str]], is_early: bool
) -> None:
    """Whether the program sets its LoggerProvider before or after; and a second recorder uses the same processor."""
    run = run_python(CONFIGURED, str(is_early))
    assert run.stderr == ""
    assert run.stdout.split() == ["1", "1", "1"]


def test_without_a_logger_provider_nothing_is_attached(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A program that logs nothing keeps the API's proxy."""
    code = "import otel_research as otr\nfrom opentelemetry import _logs\notr.configure(store='memory:')\n"
    run = run_python(code + "print(type(_logs.get_logger_provider()).__name__)")
    assert (run.stdout, run.stderr) == ("ProxyLoggerProvider\n", "")
