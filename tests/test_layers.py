"""The rooms of CONTRIBUTING.md: who may import whom, and which library each room may touch."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "otel_research"

FLOOR = frozenset({"errors", "experiments", "context", "durable", "redaction"})
_LOWER = FLOOR | {"spans"}
_DATA = _LOWER | {"environment", "semconv", "pricing", "journal", "store", "analysis", "formats"}
DOOR = frozenset(
    {
        "recorder",
        "amending",
        "exclusion",
        "declare",
        "lifecycle",
        "block",
        "handle",
        "keeping",
        "selection",
        "trial",
        "watched",
        "measure",
        "numbers",
        "processes",
        "reported",
        "settings",
    }
)
"""What users hold: single files, and one folder, that belong together and may know each other."""
_HANDLE = _DATA | DOOR | {"capture", "alerts", "watching", "archive", "ingest", "report", "runner"}
EVERYTHING = _HANDLE | {"patterns", "dashboard", "hooks", "demo", "cli", "testing", "imports", "selftest", ""}

MAY_IMPORT: dict[str, frozenset[str]] = {
    **dict.fromkeys(FLOOR, FLOOR),
    "environment": FLOOR,
    "spans": FLOOR,
    "semconv": _LOWER,
    "pricing": _LOWER,
    "journal": _LOWER,
    "formats": _LOWER,
    "analysis": _LOWER | {"semconv", "pricing"},
    # What a receiver journals is OTLP: `formats` knows how to read it.
    "store": _LOWER | {"journal", "semconv", "formats"},
    "capture": _LOWER | {"journal", "semconv", "store"},
    "alerts": _DATA,
    "watching": _DATA | {"alerts"},
    "archive": _DATA,
    "ingest": _DATA | {"capture"},
    "report": _DATA | {"watching"},
    **dict.fromkeys(DOOR, _HANDLE),
    "patterns": _HANDLE,
    # It knows an experiment by a protocol, so that `Experiment.run_trials` can be its method.
    "runner": _DATA | {"report", "trial"},
    "imports": _HANDLE,
    "dashboard": _HANDLE,
    "testing": _HANDLE,
    "selftest": _HANDLE | {"testing", ""},
    "hooks": EVERYTHING,
    "demo": EVERYTHING,
    "cli": EVERYTHING,
    "": EVERYTHING,
}
"""Room -> rooms it may import; "" is the package itself (`otel_research/__init__.py`)."""

SDK_ROOMS = ("capture", "hooks", "testing", "formats/otlp")
"""The only places that know the SDK's classes: when it changes, the change stays there."""

LIBRARIES: dict[str, frozenset[str]] = {
    "msgspec": EVERYTHING - {"report"},
    "polars": EVERYTHING - FLOOR - {"journal"},
    "pyarrow": frozenset({"spans", "store", "formats", "testing"}),
    "narwhals": frozenset({"analysis"}),
    "numpy": frozenset({"analysis"}),
    "scipy": frozenset({"analysis"}),
    "statsmodels": frozenset({"analysis"}),
    "duckdb": frozenset({"analysis"}),
    "pyspark": frozenset({"analysis"}),
    "psycopg": frozenset({"store"}),
    "obstore": frozenset({"store"}),
    "genai_prices": frozenset({"pricing"}),
    "rich": frozenset({"report", "cli"}),
    "click": frozenset({"cli"}),
    "openai": frozenset({"demo"}),
    "pytest": frozenset({"hooks"}),
    "pandas": frozenset({"spans"}),
    "starlette": frozenset({"demo", "dashboard"}),
    "uvicorn": frozenset({"demo", "dashboard", "ingest"}),
    "google": frozenset({"formats", "ingest"}),
    "grpc": frozenset({"ingest"}),
    "requests": frozenset({"ingest"}),
    "opentelemetry": EVERYTHING - {"errors", "experiments", "semconv", "pricing", "analysis", "report"},
}
"""Library -> rooms that may touch it."""

HEAVY = ("polars", "pyarrow", "rich", "scipy", "statsmodels", "numpy", "duckdb", "openai", "narwhals", "genai_prices")
"""What `import otel_research` must not load, with the exporters."""
ONLY_INSIDE_FUNCTIONS = ("scipy", "statsmodels", "rich", "duckdb", "openai", "uvicorn", "psycopg", "obstore", "pandas")
LONGEST = 400
CORE_LIMIT = 42


class Import(NamedTuple):
    """One import statement: where it stands and what it takes."""

    file: Path
    line: int
    module: str
    is_at_top: bool

    @property
    def room(self) -> str:
        return room_of(self.file)

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def room_of(file: Path) -> str:
    inside = file.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem.replace("__init__", "")


def module_of(file: Path) -> str:
    parts = ("otel_research", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def imports_of(file: Path) -> Iterator[Import]:
    """Every import of a file, those inside functions and under TYPE_CHECKING included."""
    tree = ast.parse(file.read_text())
    inside_functions = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    checked_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        is_at_top = id(node) not in inside_functions and id(node) not in checked_only
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name, is_at_top)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute"
            for name in node.names:
                yield Import(file, node.lineno, f"{node.module}.{name.name}", is_at_top)


FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def imports() -> list[Import]:
    """Those of all files; read by the tests, not by each worker that collects them."""
    return [found for file in FILES for found in imports_of(file)]


def ours() -> list[Import]:
    """Imports of the package's own modules."""
    return [found for found in imports() if found.module.split(".")[0] == "otel_research"]


def imported_room(found: Import) -> str:
    parts = found.module.split(".")[1:]
    if parts and ((PACKAGE / parts[0]).is_dir() or (PACKAGE / f"{parts[0]}.py").exists()):
        return parts[0]
    return ""  # a public name of the package itself


def test_every_room_has_its_rule() -> None:
    """A new room is added to the table here and in CONTRIBUTING.md before it imports anything."""
    assert {room_of(file) for file in FILES} - MAY_IMPORT.keys() == set()
    told = re.findall(r"`([a-z]+)/?`", "".join(line.split("|")[1] for line in _rooms_told()))
    assert sorted(told) == sorted(MAY_IMPORT.keys() - {""})


def _rooms_told() -> list[str]:
    """The rows of the table in CONTRIBUTING.md."""
    return [line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| `")]


def test_imports_point_one_way() -> None:
    """A room imports only itself and the rooms below it, also lazily and for type checking."""
    wrong = [
        str(found)
        for found in ours()
        if imported_room(found) != found.room and imported_room(found) not in MAY_IMPORT[found.room]
    ]
    assert wrong == []


def test_the_rules_have_no_cycle() -> None:
    """Below the handle, no two rooms may import each other (the floor is one room in single files)."""
    both = [
        (room, other)
        for room, allowed in MAY_IMPORT.items()
        for other in allowed
        if room != other and room in MAY_IMPORT.get(other, ()) and not {room, other} <= FLOOR
    ]
    assert {room for pair in both for room in pair} <= {
        *DOOR, "alerts", "watching", "archive", "ingest", "report", "patterns", "runner", "dashboard", "hooks", "demo", "cli",
        "testing", "selftest", "",
    }  # fmt: skip


def test_no_two_modules_need_each_other_to_load() -> None:
    """Imports at the top of files form no cycle."""
    names = {file: module_of(file) for file in FILES}
    graph: dict[str, set[str]] = {}
    for found in ours():
        if found.is_at_top:
            is_module = found.module in names.values()
            target = found.module if is_module else found.module.rpartition(".")[0]
            graph.setdefault(names[found.file], set()).add(target)
    assert _cycle(graph) == []


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if other != name and (found := visit(other, [*path, name])):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def test_the_sdk_is_known_to_few() -> None:
    """`opentelemetry.sdk` is imported in capture, hooks, testing and formats/otlp and nowhere else."""
    wrong = [
        str(found)
        for found in imports()
        if found.module.startswith("opentelemetry.sdk")
        and not str(found.file.relative_to(PACKAGE)).startswith(SDK_ROOMS)
    ]
    assert wrong == []


def test_a_library_is_touched_only_where_it_belongs() -> None:
    """Each third-party library has its rooms; one that is not in the table has none."""
    wrong = []
    for found in imports():
        library = found.module.split(".")[0]
        if library == "otel_research" or library in sys.stdlib_module_names:
            continue
        if found.room not in LIBRARIES.get(library, frozenset()):
            wrong.append(str(found))
    assert wrong == []


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    """scipy (1.0 s), statsmodels (2.6 s) and their like are imported inside functions."""
    top = [str(found) for found in imports() if found.is_at_top and found.module.split(".")[0] in ONLY_INSIDE_FUNCTIONS]
    assert top == []


@pytest.mark.parametrize("statement", ["import otel_research", "import otel_research.cli"])
def test_importing_is_light(statement: str) -> None:
    """The package and its command line start without Polars, pyarrow, rich, scipy or an exporter."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    loaded = json.loads(run.stdout)
    heavy = {name for name in loaded if name.split(".")[0] in HEAVY or name.startswith("opentelemetry.exporter")}
    assert heavy == set()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_files_stay_readable() -> None:
    """No file of the package is longer than 400 lines."""
    long = {str(file.relative_to(ROOT)): n for file in FILES if (n := len(file.read_text().splitlines())) > LONGEST}
    assert long == {}


def test_no_drawer_for_everything() -> None:
    """A file is named for what it holds: no utils, helpers, common or misc."""
    assert [file for file in FILES if file.stem in ("utils", "util", "helpers", "helper", "common", "misc")] == []


def test_the_core_install_is_small() -> None:
    """The package without extras needs at most 42 distributions, itself included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {"otel-research"}
    waiting = [Requirement(line) for line in project["dependencies"]]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        if name in needed and extras == {""}:
            continue
        needed.add(name)
        for line in importlib.metadata.requires(name) or []:
            further = Requirement(line)
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    assert len(needed) <= CORE_LIMIT, sorted(needed)


def test_no_two_test_files_share_a_name() -> None:
    """pytest finds a test file by its bare name: a second one of that name ends the whole run before it begins."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_importing_the_package_imports_nothing_more() -> None:
    """A pytest run that only finds the plugin, or a program that asks for one name, does not pay for the others."""
    code = "import sys, otel_research.context; print(*(name for name in sys.modules if name.startswith(('otel_research.', 'opentelemetry', 'polars'))))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    assert "otel_research.context" in loaded
    assert [name for name in loaded if name.startswith(("polars", "opentelemetry.sdk", "otel_research.recorder"))] == []
