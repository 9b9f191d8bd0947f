"""The whole public surface as a user types it: what this file uses is promised, and `mypy --strict` reads it too.

`assert_type` is for the type checker (`nox -s typing`), the asserts beside it are for the run.
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import polars as pl
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import otel_research as otr
from otel_research import testing

if TYPE_CHECKING:
    from otel_research.analysis.metrics import Metrics

CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
}


class Length:
    """A calculator of the user's."""

    name = "length"

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        return {"rows": spans.select(pl.len()).collect().item()}


def keep(span: ReadableSpan) -> bool:
    return span.name != "noise"


def often(span: ReadableSpan) -> float:
    return 1.0


def redact(key: str, value: Any) -> Any:
    return value


def test_every_public_name_is_there() -> None:
    """`__all__` holds what api.md names so far, each importable, classes and functions documented."""
    assert len(set(otr.__all__)) == len(otr.__all__)
    for name in otr.__all__:
        found = getattr(otr, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert inspect.getdoc(found), name
    promised = {
        "configure", "start_experiment", "stop_experiment", "get_experiment", "list_experiments", "experiment",
        "current_experiment", "record", "score", "calculate_metrics", "metrics_by", "compare", "compare_experiments",
        "time_series", "validate", "export", "Experiment", "Recorder", "Flushed", "Ledger", "Store",
        "ExperimentSampler", "ExperimentSpanProcessor", "ExperimentExporter", "ExperimentIdGenerator",
        "ResearchError", "ExperimentError", "UnknownExperiment", "ExperimentStopped", "ExperimentRunning",
        "StoreError", "StoreClosed", "StoreFull", "ConfigurationError", "NotEnoughData", "BudgetExceeded",
        "MissingExtra",
    }  # fmt: skip
    assert promised <= set(otr.__all__)
    assert otr.compare_experiments is otr.compare


def test_everything_public_is_typed() -> None:
    """Every parameter and result of the public functions and methods has a type."""
    untyped = []
    for name in otr.__all__:
        found = getattr(otr, name)
        functions = {name: found} if inspect.isfunction(found) else {}
        if inspect.isclass(found) and found.__module__.startswith("otel_research"):
            functions = {f"{name}.{key}": value for key, value in vars(found).items() if inspect.isfunction(value)}
        for label, function in functions.items():
            if label.split(".")[-1].startswith("_"):
                continue
            for parameter in inspect.signature(function).parameters.values():
                if parameter.annotation is inspect.Parameter.empty and parameter.name not in ("self", "cls"):
                    untyped.append(f"{label}({parameter.name})")
            if inspect.signature(function).return_annotation is inspect.Signature.empty:
                untyped.append(f"{label} ->")
    assert untyped == []


def test_the_package_says_that_it_is_typed() -> None:
    """`py.typed` lies beside the code, so that a user's type checker reads it."""
    assert (Path(otr.__file__).parent / "py.typed").exists()


def set_up(folder: Path, provider: TracerProvider) -> otr.Recorder:
    """configure() with every parameter."""
    recorder = otr.configure(
        store=f"disk:{folder}",
        provider=provider,
        forward=[InMemorySpanExporter(), SimpleSpanProcessor(InMemorySpanExporter())],
        forward_all=False,
        overload="block",
        fsync="1s",
        starts=True,
        content=redact,
    )
    assert_type(recorder, otr.Recorder)
    return recorder


def declare() -> otr.Experiment:
    """start_experiment() with every parameter."""
    exp = otr.start_experiment(
        "everything",
        hypothesis="h",
        condition="baseline",
        tags=("dataset:mmlu",),
        sample_size=50,
        metadata={"a": 1},
        primary=["accuracy"],
        direction={"accuracy": "higher"},
        margin={"accuracy": 0.02},
        metrics={"latency": True, "cost": True, "tokens": True, "success_rate": True, "custom": ["accuracy"]},
        custom_metrics=(Length(),),
        event_filter=keep,
        sampling_rate=1.0,
        sampling_strategy=often,
        session_id="s",
        study="study",
        factors={"prompt": "cot"},
        seed=42,
        store=None,
        resume=False,
    )
    assert_type(exp, otr.Experiment)
    return exp


def use(exp: otr.Experiment, provider: TracerProvider) -> otr.Trial:
    """Blocks and rows."""
    tracer = provider.get_tracer("app")
    with exp.activate(), exp.arm("treatment", factors={"shots": 3}) as same, exp.session("user-42"):
        assert same is exp
        with exp.trial(item="q17", repetition=0, difficulty="hard") as trial:
            assert_type(trial, otr.Trial)
            assert_type(trial.id, str | None)
            assert_type(trial.item, str | None)
            assert_type(trial.condition, str | None)
            tracer.start_span("chat", attributes=CALL).end()
            trial.set_attribute("k", 1)
            trial.score("accuracy", 1.0, label="pass", explanation="exact")
            with exp.aside("judge"):
                tracer.start_span("chat", attributes=CALL).end()
            otr.score("tone", 0.5, label=None, explanation=None, trial=None)
        with exp.trial(item=18) as broken:
            broken.fail("no answer")
        otr.record("my_app.accuracy.measured", {"accuracy": 0.94, "f1": 0.91}, {"model": "gpt-4"})
    assert_type(otr.current_experiment(), otr.Experiment | None)
    return trial


def look(exp: otr.Experiment) -> None:
    """Attributes and frames."""
    assert_type(exp.id, str)
    assert_type(exp.name, str)
    assert_type(exp.hypothesis, str | None)
    assert_type(exp.condition, str | None)
    assert_type(exp.tags, tuple[str, ...])
    assert_type(exp.sample_size, int | None)
    assert_type(exp.metadata, dict[str, Any])
    assert_type(exp.study, str | None)
    assert_type(exp.factors, dict[str, Any])
    assert_type(exp.environment, dict[str, Any])
    assert_type(exp.content_hash, str | None)
    assert exp.state in ("running", "stopped", "archived")
    assert exp.ended_by in (None, "user", "crash")
    assert exp.started_at is not None
    assert exp.stopped_at is None or exp.stopped_at >= exp.started_at
    assert_type(exp.spans(), pl.LazyFrame)
    assert_type(exp.trials(), pl.LazyFrame)
    assert_type(exp.where({"condition": "treatment"}), otr.Selection)
    assert_type(exp.ledger(), otr.Ledger)
    assert_type(exp.annotations(), Sequence[dict[str, Any]])
    for frame in exp.stream(batch_size=1000):
        assert_type(frame, pl.DataFrame)


SPANS = (
    "experiment_id condition trial_id item_id repetition session_id factors trace_id span_id parent_span_id name kind "
    "start_ns end_ns duration_ms status error_type operation provider request_model response_model input_tokens "
    "output_tokens cache_read_tokens cache_write_tokens reasoning_tokens cost_usd cost_nano_usd cost_source ttft_ms "
    "streaming temperature request_seed is_call excluded_because aside sample_weight scope attributes events links"
)
START = (
    "name hypothesis condition tags sample_size metadata primary direction margin metrics custom_metrics "
    "event_filter sampling_rate sampling_strategy session_id study factors seed store resume"
)
CONFIGURE = "store provider forward forward_all overload fsync starts content"


def test_the_documented_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of api.md that exists, in the order a user meets it."""
    monkeypatch.chdir(tmp_path)
    provider = TracerProvider(shutdown_on_exit=False)
    recorder = set_up(tmp_path / "store", provider)
    with closing(recorder):
        a_session(tmp_path, provider, recorder)
    assert recorder.is_closed


def a_session(folder: Path, provider: TracerProvider, recorder: otr.Recorder) -> None:
    exp = declare()
    trial = use(exp, provider)
    look(exp)
    stopped = otr.stop_experiment(exp.id)
    assert_type(stopped, otr.Experiment)
    look(exp)

    assert set(SPANS.split()) <= set(exp.spans().collect_schema().names())
    assert "attr.gen_ai.request.model" in exp.spans(flatten=True).collect_schema().names()
    assert otr.get_experiment(exp.id).id == exp.id
    assert_type(
        otr.list_experiments(state=None, name=None, tag="dataset", study=None, include_hidden=False),
        list[otr.Experiment],
    )

    metrics: Metrics = otr.calculate_metrics(exp, unit="call", where=None)
    assert metrics.latency is not None
    assert metrics.latency.count == 1
    assert metrics.tokens is not None
    assert metrics.tokens.total_input == 100
    assert metrics.reliability is not None
    assert metrics.reliability.total_requests == 1
    assert metrics.cost is not None
    assert metrics.cost.total_usd is not None
    assert metrics.custom is not None
    assert metrics.custom["length"] == {"rows": 7}
    assert metrics.to_dict()["unit"] == "call"
    assert isinstance(metrics.to_polars(), pl.DataFrame)
    assert "latency" in metrics.to_markdown()
    assert otr.calculate_metrics(exp.id).n == otr.calculate_metrics(exp.spans()).n == 1
    assert set(otr.metrics_by(exp, "condition", unit="trial")) == {"treatment"}
    assert ("treatment", "gpt-4o-mini") in otr.metrics_by(exp, ["condition", "request_model"])
    selection = exp.where(pl.col("condition") == "treatment").where({"item_id": "q17"})
    assert selection.metrics().n == 1
    assert selection.spans().collect().height < exp.spans().collect().height

    for format in ("csv", "jsonl", "parquet"):
        assert_type(otr.export(exp, format), Path)
    path = exp.export("csv", folder / "out.csv", columns=["name", "status"], transformers=None, where={"name": "chat"})
    assert pl.read_csv(path).columns == ["name", "status"]

    otr.score("accuracy", 0.0, trial=trial)
    exp.exclude(trial, reason="mistake in the question")
    assert len(exp.annotations()) == 2
    assert_type(recorder.flush(timeout=30.0), otr.Flushed)
    assert recorder.flush() == otr.Flushed(kept=7, lost=0, pending=0)
    ledger = recorder.ledger()
    assert_type(ledger, otr.Ledger)
    fields = {"started", "ended", "open", "interrupted", "received", "stored", "filtered", "sampled_out", "duplicates",
              "late", "outside", "lost"}  # fmt: skip
    assert fields <= set(ledger.to_dict())
    exp.cleanup(keep_data=True)
    exp.cleanup(keep_data=False, force=True)


def test_blocks_and_decorators_are_typed(host: Any) -> None:
    """A decorated function keeps its own type; blocks give the experiment, sync and async."""

    @otr.experiment("sync", tags=["t"])
    def one(count: int) -> str:
        return str(count)

    @otr.experiment("async")
    async def two(count: int) -> str:
        return str(count)

    async def main() -> str:
        async with otr.experiment("block") as exp:
            assert_type(exp, otr.Experiment)
            async with exp.trial(item="q") as trial:
                assert_type(trial, otr.Trial)
        return await two(2)

    assert_type(one(1), str)
    assert (one(1), asyncio.run(main())) == ("1", "2")
    with otr.experiment("block") as exp:
        assert_type(exp, otr.Experiment)


def test_the_pieces_are_typed(tmp_path: Path) -> None:
    """Sampler, processor, exporter and id generator are what the SDK asks for."""
    with testing.recording("memory:") as (recorder, _):
        provider = TracerProvider(
            sampler=otr.ExperimentSampler(ALWAYS_ON), id_generator=otr.ExperimentIdGenerator(), shutdown_on_exit=False
        )
        provider.add_span_processor(otr.ExperimentSpanProcessor(recorder))
        provider.add_span_processor(otr.SampledOnly(SimpleSpanProcessor(InMemorySpanExporter())))
        provider.add_span_processor(SimpleSpanProcessor(otr.ExperimentExporter(f"disk:{tmp_path}", "ab" * 16)))
        provider.get_tracer("x").start_span("s").end()
        provider.shutdown()


def test_signatures_of_the_documentation() -> None:
    """The parameters that api.md fixes, with their defaults."""
    start = inspect.signature(otr.start_experiment).parameters
    fixed = START.split()
    assert set(fixed) <= set(start)
    assert all(start[name].default is None for name in ("hypothesis", "condition", "sample_size", "metadata", "store"))
    assert all(start[name].kind is inspect.Parameter.KEYWORD_ONLY for name in fixed[1:])
    configure = inspect.signature(otr.configure).parameters
    assert list(configure)[:8] == CONFIGURE.split()
    assert configure["forward_all"].default is False
    cleanup = inspect.signature(otr.Experiment.cleanup).parameters
    assert cleanup["keep_data"].default is inspect.Parameter.empty
    assert set(typing.get_type_hints(otr.Flushed)) == {"kept", "lost", "pending"}
