"""What an extra brings works where it is installed; where it is not, the feature says what to install.

    python -m tests.extras           an environment of the core alone
    python -m tests.extras duckdb    of the core and one extra

Run by `nox -s layers` and `nox -s matrix`, in environments of their own.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import otel_research as otr
from otel_research.demo.server import ModelServer
from otel_research.errors import ResearchError
from otel_research.testing import recording

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
NOBODY = "127.0.0.1:9"
"""Where no server listens."""
NO_ANSWER = re.compile("no .* server answers there|does not answer|cannot be reached")
TO_INSTALL = re.compile(r"is not installed\. Run: pip install 'otel-research\[(\w+)\]'")

CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.output_tokens": 20,
}

Feature = Callable[[otr.Experiment, Path], object]


class Refused(Exception):
    """A command that ended otherwise than well; what it said."""


def command(*words: str) -> None:
    """Run `otel-research`; what it says on failure is an error, as for a call from Python."""
    done = subprocess.run([sys.executable, "-m", "otel_research.cli", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(done.stderr)


@contextmanager
def nobody_answers() -> Iterator[None]:
    """That no server answers is all that goes wrong: the driver is there and has asked."""
    try:
        yield
    except (Refused, ResearchError) as error:
        if not NO_ANSWER.search(str(error)):
            raise
    else:
        raise AssertionError("a server answered where none is")


def several_factors(exp: otr.Experiment, folder: Path) -> None:
    otr.anova(exp, "tokens", ["condition", "item_id"], interactions=False)


def pooled_study(exp: otr.Experiment, folder: Path) -> None:
    otr.study({"here": (1.0, 0.5), "there": (2.0, 0.5)})


def dashboard(exp: otr.Experiment, folder: Path) -> None:
    from otel_research.dashboard.server import Serving

    serving = Serving(f"disk:{folder}", port=0)
    asyncio.run(serving.run(serving.stop))


def receiver(exp: otr.Experiment, folder: Path) -> None:
    from otel_research.ingest.receiver import Receiver

    Receiver(f"disk:{folder / 'received'}", http_port=0, grpc_port=0).close()


def model_server(exp: otr.Experiment, folder: Path) -> None:
    with ModelServer():
        pass


def duckdb_engine(exp: otr.Experiment, folder: Path) -> None:
    found, ours = otr.calculate_metrics(exp, engine="duckdb"), otr.calculate_metrics(exp)
    assert found.tokens.total_input == ours.tokens.total_input


def spark_engine(exp: otr.Experiment, folder: Path) -> None:
    with nobody_answers():
        otr.calculate_metrics(exp, engine=f"sc://{NOBODY}")
    importlib.import_module("pyspark.sql.connect.session")  # what comes next where somebody answers


def postgres_store(exp: otr.Experiment, folder: Path) -> None:
    with nobody_answers():
        command("ls", "--store", f"postgresql://nobody@{NOBODY}/nothing")


def s3_archive(exp: otr.Experiment, folder: Path) -> None:
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{NOBODY}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with nobody_answers():
        exp.archive("s3", bucket="nothing")


def demo(exp: otr.Experiment, folder: Path) -> None:
    command("demo", "--trials", "4", "--out", str(folder / "demo"), "--json")


def pandas_frame(exp: otr.Experiment, folder: Path) -> None:
    assert otr.calculate_metrics(exp).to_pandas().shape[0] > 0


def run_command(exp: otr.Experiment, folder: Path) -> None:
    command("run", "--store", f"disk:{folder / 'run'}", "--", sys.executable, "-c", "pass")


FEATURES: dict[str, tuple[Feature, ...]] = {
    "stats": (several_factors, pooled_study),
    "serve": (dashboard, receiver, model_server),
    "duckdb": (duckdb_engine,),
    "spark": (spark_engine,),
    "postgres": (postgres_store,),
    "s3": (s3_archive,),
    "demo": (demo,),
    "pandas": (pandas_frame,),
    "auto": (run_command,),
}
"""Extra -> what needs it. Not here is "yaml", which OpenTelemetry's own reader of the file needs and we do not."""


def is_installed(extra: str) -> bool:
    """Whether all that the extra names is here: some of it may have come with another one."""
    named = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"][extra]
    return all(map(_is_there, map(Requirement, named)))


def _is_there(wanted: Requirement) -> bool:
    if wanted.name == "otel-research":
        return all(map(is_installed, wanted.extras))
    try:
        return wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def outcome(feature: Feature, exp: otr.Experiment, folder: Path) -> str:
    """ "works", or the extra that it asks for. Anything else that goes wrong goes on up."""
    try:
        feature(exp, folder)
    except (Refused, ResearchError) as error:
        asked = TO_INSTALL.search(str(error))
        if asked is None:
            raise
        return asked[1]
    return "works"


@contextmanager
def an_experiment(folder: Path) -> Iterator[otr.Experiment]:
    """Two conditions over ten items, a call in each trial, some twice."""
    with recording(f"disk:{folder}") as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("extras") as exp:
            for number in range(30):
                with exp.arm("ab"[number % 2]), exp.trial(item=number // 2 % 10):
                    tracer.start_span("chat", attributes={**CALL, "gen_ai.usage.input_tokens": 100 + number % 7}).end()
        yield exp


def main(extra: str) -> int:
    """Try every feature; print what became of it."""
    if extra == "none":
        unexpected = sorted(filter(is_installed, FEATURES))
        assert not unexpected, f"this is no core alone: {unexpected}"
    else:
        assert is_installed(extra), f"the extra {extra!r} is not installed"
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, an_experiment(Path(folder) / "store") as exp:
        for name, features in FEATURES.items():
            expected = "works" if is_installed(name) else name
            for feature in features:
                found = outcome(feature, exp, Path(folder))
                wrong += found != expected
                told = "works" if found == "works" else f"asks for {found!r}"
                print(f"{name:10}{feature.__name__:20}{told}{'' if found == expected else ': WRONG'}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["none"]))
