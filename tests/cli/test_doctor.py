"""`otel-research doctor` and the diagnosis behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider, _TracerConfig
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_research as otr
from otel_research.cli import main
from otel_research.cli.diagnosis import LIMITS, diagnose, ignores_sampled_flag, judge
from otel_research.journal.segment import file_system
from otel_research.testing import recording

Run = Callable[..., Result]


class Eager(SpanProcessor):
    """A third-party processor that takes every span it is shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.seen.append(span.name)


def texts(told: dict[str, Any], severity: str) -> str:
    return "\n".join(finding["text"] for finding in told["findings"] if finding["severity"] == severity)


def test_a_healthy_set_up_is_ok_and_nothing_stays_behind(run: Run, store: str) -> None:
    """The canary arrives whole, its experiment is gone afterwards, the others are untouched."""
    told = json.loads(run("doctor", "--json").output)
    assert told["ok"] is True
    assert {told["canary"][name] for name in ("is_recorded", "is_stored", "is_whole")} == {True}
    assert told["canary"]["ledger"]["stored"] == 1
    listed = json.loads(CliRunner().invoke(main, ["ls", "--all", "--json", "--store", store]).output)
    assert [one["name"] for one in listed] == ["prompts"]


def test_the_text_says_the_same(run: Run) -> None:
    """Findings first, then what was looked at."""
    result = run("doctor")
    assert result.exit_code == 0
    assert "✓ the canary span was captured" in result.output
    assert "TracerProvider" in result.output


def test_a_store_that_cannot_be_written_is_wrong_use(run: Run, tmp_path: Path) -> None:
    """A file where a folder should be: one line that names it."""
    (tmp_path / "file").write_text("")
    result = run("doctor", at=f"disk:{tmp_path / 'file'}")
    assert result.exit_code == 2
    assert str(tmp_path / "file") in result.stderr


def test_the_program_s_own_provider_is_looked_at() -> None:
    """Called inside a program, the diagnosis is of its recorder, which stays open."""
    provider = TracerProvider(sampler=ALWAYS_OFF, span_limits=SpanLimits(max_span_attributes=128))
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with recording(provider=provider) as (recorder, _):
        told = diagnose()
        assert not recorder.is_closed
    assert told["ok"] is True
    assert told["provider"]["is_ours"] is False
    assert told["store"] == "memory:"
    assert any(one["exporter"].endswith("InMemorySpanExporter") for one in told["processors"] if one["exporter"])
    assert "128 attributes of a span" in texts(told, "warning")
    assert "memory store" in texts(told, "warning")
    assert exporter.get_finished_spans() == ()  # the host samples nothing, so the canary went nowhere


def test_a_limit_is_named_with_the_variable_that_lifts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every limit of the SDK's: which variable the advice names is tried out on the SDK."""
    limits = SpanLimits(**{name: 3 for name, *_ in LIMITS})  # type: ignore[arg-type]
    with recording(provider=TracerProvider(span_limits=limits)):
        found = [one["text"] for one in diagnose()["findings"] if "the provider" in one["text"]]
    assert len(found) == len(LIMITS)
    for (name, *_), text in zip(LIMITS, found, strict=True):
        (variable,) = re.findall(r"OTEL_\w+", text)
        monkeypatch.setenv(variable, "1000")
        assert getattr(SpanLimits(), name) == 1000, text
        monkeypatch.delenv(variable)


def test_a_processor_that_ignores_the_sampled_flag_is_named() -> None:
    """It really sees more inside an experiment; wrapped, it sees what it saw before, and is not named."""
    bare, wrapped = Eager(), Eager()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(bare)
    provider.add_span_processor(otr.SampledOnly(wrapped))
    with recording(provider=provider):
        told = diagnose()
    assert bare.seen == ["canary"]
    assert wrapped.seen == []
    named = [one["type"] for one in told["processors"] if one["ignores_sampled_flag"]]
    assert named == [f"{__name__}.Eager"]
    assert "SampledOnly" in texts(told, "warning")


@pytest.mark.parametrize("processor", [SimpleSpanProcessor(InMemorySpanExporter()), SpanProcessor()])
def test_the_sdk_s_own_processors_honour_the_flag(processor: SpanProcessor) -> None:
    """Neither the simple one nor one that does nothing is suspected."""
    assert ignores_sampled_flag(processor) is False


def test_the_batch_processor_honours_the_flag() -> None:
    """The most common one is not suspected, nor a subclass of it."""

    class Ours(BatchSpanProcessor):
        pass

    processor = Ours(InMemorySpanExporter())
    assert ignores_sampled_flag(processor) is False
    processor.shutdown()


def test_a_processor_without_source_is_only_suspected() -> None:
    """Built at run time: nothing can be read, so nothing is claimed."""
    namespace: dict[str, Any] = {"SpanProcessor": SpanProcessor}
    exec("class Hidden(SpanProcessor):\n    def on_end(self, span):\n        pass\n", namespace)
    assert ignores_sampled_flag(namespace["Hidden"]()) is None


def test_a_canary_that_is_lost_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with 1 and says what became of the span."""
    from otel_research.capture.processor import ExperimentSpanProcessor
    from otel_research.capture.registry import open_spans

    monkeypatch.setattr(ExperimentSpanProcessor, "on_end", lambda *_: None)
    result = run("doctor", "--json")
    open_spans.clear()  # the one that never ends here is nobody else's
    told = json.loads(result.output)
    assert result.exit_code == 1
    assert told["ok"] is False
    assert told["canary"]["is_whole"] is False


def test_a_disabled_sdk_is_named() -> None:
    """Nothing recorded has one usual cause."""
    canary = {"is_recorded": False, "is_stored": False, "is_whole": False, "seconds": 0.0, "ledger": {}}
    told = {
        "canary": canary,
        "processors": [],
        "limits": {name: None for name, *_ in LIMITS},
        "disk": {"path": "/x", "free_bytes": 10, "filesystem": "nfs4"},
        "clock": {"drift_ppm": 90_000},
        "unmapped": {},
    }
    found = {finding.text: finding.severity for finding in judge(told)}
    assert any("OTEL_SDK_DISABLED" in text and severity == "failed" for text, severity in found.items())
    assert any("MB are free" in text for text in found)
    assert any("nfs4" in text for text in found)
    assert any("clock" in text for text in found)


def test_headers_are_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard variables are listed, credentials in them are not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer abc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    output = run("doctor", "--json").output
    assert "abc" not in output
    assert json.loads(output)["environment"]["OTEL_SERVICE_NAME"] == "shop"


def test_the_file_system_is_the_innermost_mount() -> None:
    """/proc is mounted on /, and is what it says it is."""
    assert file_system(Path("/proc/self")) == "proc"


def test_tracers_that_go_their_own_way_are_named() -> None:
    """A scope that is disabled, and a tracer whose sampler is not the provider's any more, each by name."""
    with recording() as (_, provider):
        provider.get_tracer("good")
        provider.get_tracer("stale").sampler = ALWAYS_OFF
        provider.get_tracer("mute")._tracer_config = _TracerConfig(is_enabled=False)
        told = diagnose()
    assert {one["scope"] for one in told["tracers"]} == {"stale", "mute"}
    said = texts(told, "warning")
    assert "'stale' keeps a sampler of its own, AlwaysOffSampler" in said
    assert "scope 'mute' is disabled" in said
    assert "'good'" not in said


@pytest.mark.parametrize("carries", [True, False])
def test_threads_are_tried_out(carries: bool) -> None:
    """Without propagation a warning names the two ways to have it; with it there is none."""
    with recording(threads=carries):
        told = diagnose()
    assert told["canary"]["crosses_threads"] is carries
    assert ("configure(threads=True)" in texts(told, "warning")) is not carries
