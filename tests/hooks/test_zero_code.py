"""A program without a line of ours: variables, a configuration file, and OpenTelemetry's own commands."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from tests.hooks.conftest import SPANS, Run, Stored, received, whole

SDK = tuple(int(part) for part in metadata.version("opentelemetry-sdk").split(".")[:2])


def test_variables_alone_record_every_span(instrument: Run, app: Path, store: str, stored: Stored) -> None:
    """`opentelemetry-instrument python app.py`: 6,000 of 6,000, while the program's own exporter drops most."""
    done = instrument(
        app, SPANS, OTEL_RESEARCH_EXPERIMENT="nightly", OTEL_RESEARCH_STORE=store, OTEL_TRACES_EXPORTER="none"
    )
    assert received(done) < SPANS
    exp = stored()
    assert (exp.name, exp.state, exp.ended_by) == ("nightly", "stopped", "user")
    assert whole(exp) == (SPANS, 0)


def test_a_production_sampler_stays_as_it_was(instrument: Run, app: Path, store: str, stored: Stored) -> None:
    """With OTEL_TRACES_SAMPLER at 0 the program's exporter gets nothing, as without us; we have all."""
    variables = {
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.0",
        "OTEL_TRACES_EXPORTER": "none",
    }
    done = instrument(app, 100, OTEL_RESEARCH_EXPERIMENT="x", OTEL_RESEARCH_STORE=store, **variables)
    assert received(done) == 0
    assert whole(stored()) == (100, 0)


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "research", "OTEL_SERVICE_NAME": "checkout"},
        {"OTEL_PYTHON_TRACER_PROVIDER": "research", "OTEL_TRACES_EXPORTER": "none", "OTEL_SERVICE_NAME": "checkout"},
    ],
    ids=["exporter", "tracer provider"],
)
def test_our_name_alone_makes_the_run_an_experiment(
    variables: dict[str, str], instrument: Run, app: Path, store: str, stored: Stored
) -> None:
    """ "research" as exporter or provider is enough; the experiment is called after the service."""
    kept = variables | {"OTEL_PYTHON_ID_GENERATOR": "research"}
    received(instrument(app, 700, OTEL_RESEARCH_STORE=store, **kept))
    exp = stored()
    assert exp.name == "checkout"
    assert whole(exp) == (700, 0)


def test_the_provider_needs_no_command(run: Run, app: Path, store: str, stored: Stored) -> None:
    """OTEL_PYTHON_TRACER_PROVIDER=research in a plain `python app.py`; the run is called after its program."""
    import sys

    received(run(sys.executable, app, 700, OTEL_PYTHON_TRACER_PROVIDER="research", OTEL_RESEARCH_STORE=store))
    exp = stored()
    assert exp.name == "app.py"
    assert whole(exp) == (700, 0)


@pytest.mark.parametrize(("argument", "expected"), [("0.0", 0), ("", 50), ("a tenth", 50)])
def test_our_sampler_by_name(
    argument: str, expected: int, instrument: Run, app: Path, store: str, stored: Stored
) -> None:
    """Its argument is the ratio that is forwarded; one that is none is reported, and all is forwarded."""
    done = instrument(
        app, 50, OTEL_RESEARCH_EXPERIMENT="x", OTEL_RESEARCH_STORE=store, OTEL_TRACES_EXPORTER="none",
        OTEL_TRACES_SAMPLER="research", OTEL_TRACES_SAMPLER_ARG=argument,
    )  # fmt: skip
    assert received(done) == expected
    assert ("is not a ratio" in done.stderr) == (argument == "a tenth")
    assert whole(stored()) == (50, 0)


def test_flags_of_the_command(instrument: Run, run: Run, app: Path, store: str, stored: Stored) -> None:
    """`opentelemetry-instrument --research_experiment NAME ...` sets the variables."""
    import sys

    command = [sys.executable, "-c", "from opentelemetry.instrumentation.auto_instrumentation import run; run()"]
    flags = ["--research_experiment", "flagged", "--research_condition", "b", "--research_store", store]
    received(run(*command, *flags, "--traces_exporter", "none", sys.executable, app, 10))
    exp = stored()
    assert (exp.name, exp.condition) == ("flagged", "b")


@pytest.mark.skipif(SDK < (1, 43), reason="opentelemetry-instrument leaves what a program starts alone before SDK 1.43")
def test_programs_that_are_started_join(instrument: Run, tmp_path: Path, app: Path, store: str, stored: Stored) -> None:
    """A child started by an instrumented program lands in the same experiment, not in a second one."""
    parent = tmp_path / "parent.py"
    parent.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, {str(app)!r}, '30'], check=True)\n")
    done = instrument(parent, OTEL_RESEARCH_EXPERIMENT="x", OTEL_RESEARCH_STORE=store, OTEL_TRACES_EXPORTER="none")
    received(done)
    assert whole(stored()) == (30, 0)


def test_installed_is_not_asked(instrument: Run, app: Path, tmp_path: Path) -> None:
    """Without a variable and without our name nothing is recorded, loaded or written."""
    app.write_text(
        app.read_text()
        + "\nassert 'otel_research.recorder' not in sys.modules or not __import__('otel_research').recorder.current()\n"
    )
    assert received(instrument(app, 10, OTEL_TRACES_EXPORTER="none")) == 10
    assert not (tmp_path / ".otel_research").exists()


def test_a_wrong_variable_costs_the_recording_only(instrument: Run, app: Path, store: str) -> None:
    """The program runs as without us, and its log says what is wrong."""
    done = instrument(app, 10, OTEL_RESEARCH_EXPERIMENT="a/b", OTEL_RESEARCH_STORE=store, OTEL_TRACES_EXPORTER="none")
    assert received(done) == 10
    assert "nothing is recorded" in done.stderr
    assert "a/b" in done.stderr


def test_what_the_program_configures_does_not_break_it(
    instrument: Run, tmp_path: Path, store: str, stored: Stored
) -> None:
    """A program that configures us itself, otherwise, runs on under the run's recorder, and is told."""
    program = tmp_path / "own.py"
    program.write_text(
        "import otel_research as otr\n"
        "from opentelemetry import trace\n"
        "otr.configure(store='memory:', fsync='never')\n"
        "with trace.get_tracer('app').start_as_current_span('one'): pass\n"
    )
    done = instrument(program, OTEL_RESEARCH_EXPERIMENT="x", OTEL_RESEARCH_STORE=store, OTEL_TRACES_EXPORTER="none")
    assert done.returncode == 0, done.stderr
    assert "as its environment says" in done.stderr
    assert whole(stored()) == (1, 0)


YAML = """
file_format: "1.0"
resource:
  attributes:
    - name: service.name
      value: from-a-file
  detection/development:
    detectors:
      - research:
tracer_provider:
  {sampler}
  processors:
    - batch:
        exporter:
          console: {{}}
{more}
"""
ASKS = {
    "variables": ("sampler: {always_on: }", "", {"OTEL_RESEARCH_EXPERIMENT": "filed"}),
    "sampled out": ("sampler: {always_off: }", "", {"OTEL_RESEARCH_EXPERIMENT": "filed"}),
    "our sampler": ("sampler: {research: }", "", {"OTEL_RESEARCH_EXPERIMENT": "filed"}),
    "our instrumentor": (
        "sampler: {always_on: }",
        "instrumentation/development:\n  python:\n    research: {}\n",
        {"OTEL_SERVICE_NAME": "filed"},
    ),
}


@pytest.mark.skipif(SDK < (1, 45), reason="OpenTelemetry reads such a file from SDK 1.45 on")
@pytest.mark.parametrize("asked", list(ASKS))
def test_a_configuration_file(
    asked: str, instrument: Run, app: Path, tmp_path: Path, store: str, stored: Stored
) -> None:
    """OTEL_CONFIG_FILE: 6,000 of 6,000, whether variables, our sampler or our instrumentor ask for it."""
    sampler, more, variables = ASKS[asked]
    file = tmp_path / "otel.yaml"
    file.write_text(YAML.format(sampler=sampler, more=more))
    done = instrument(app, SPANS, OTEL_CONFIG_FILE=str(file), OTEL_RESEARCH_STORE=store, **variables)
    assert received(done) < SPANS
    exp = stored()
    assert exp.name == "filed"
    assert whole(exp) == (SPANS, 0)
