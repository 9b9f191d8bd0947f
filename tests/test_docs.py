"""Every code block of README and docs runs, in order, file by file."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doc_blocks import CLIENTS, FENCE, ROOT, SETUPS, blocks, titled

pytestmark = [pytest.mark.once, pytest.mark.sdk]  # pages in processes of their own

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = {"python", "bash"}
SHOWN = {"", "text", "json", "toml", "yaml", "mermaid", "sql", "r"}
"""Languages of blocks that are output or files, not code to run here.

SQL runs in `tests/store/test_postgres.py`, R in `tests/formats/by_r.py` (`nox -s r`).
"""
INSTALLS = re.compile(r"^(python3 -m venv|pip install|\.venv/bin/)")
"""Commands that make environments are run by CI itself (`.ci/run`), not inside one."""


def environment(folder: Path) -> dict[str, str]:
    """A child's environment: this checkout's package, a store in the folder, nothing of the developer's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "COLUMNS"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "NO_COLOR": "1"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    """Python blocks of a page share one process; commands run between them see what those wrote."""
    script: list[str] = []
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        assert block.language in RUN | SHOWN, f"{where}: {block.language!r} is neither run nor shown"
        if block.title:
            continue  # run elsewhere: `test_blocks_with_a_title_are_run_elsewhere`
        if block.language == "python":
            compile(block.code, where, "exec")
            script.append(block.code)
        elif block.language == "bash":
            script += [_as_python(command, where) for command in _commands(block.code)]
    if not script:
        return
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, f"{page.name}:\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"


def test_blocks_with_a_title_are_run_elsewhere() -> None:
    """Only the how-to pages have some; those of clients are sessions of `nox -s vendors`, the others `tests/test_how_to.py` knows."""
    assert [page.name for page in PAGES if titled(page)] == [SETUPS.name, CLIENTS.name]
    (sessions,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if _assigns(node) and node.targets[0].id == "VENDORS"  # type: ignore[attr-defined]
    )
    assert set(titled(CLIENTS)) <= set(sessions)


def _commands(code: str) -> Iterator[str]:
    for line in code.replace("\\\n", " ").splitlines():
        command = line.split(" #")[0].strip()
        if command and not command.startswith("#") and not INSTALLS.match(command):
            yield command


def _as_python(command: str, where: str) -> str:
    """A shell command as a statement of the page's script, so that blocks run in the order they are read."""
    words = shlex.split(command)
    assert words[0] in ("otel-research", "python", "nox"), f"{where}: {command!r} is a command this test does not know"
    if words[0] == "nox":
        return "pass"  # `nox` runs this very test
    program = ["-c", "from otel_research.cli import main; main()", *words[1:]] if words[0] != "python" else words[1:]
    return f"__import__('subprocess').run([__import__('sys').executable, *{program!r}], check=True, timeout=240)"


def test_pages_are_in_the_navigation() -> None:
    """Every page of docs/ can be reached, and the navigation names no page that is not there."""
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    present = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert named == present


def test_relative_links_lead_somewhere() -> None:
    """A link to a file of this repository names one that exists."""
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", FENCE.sub("", page.read_text())):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_the_compatibility_page_is_what_is_tested() -> None:
    """Pythons, SDK versions, extras and vendors of the page are those of noxfile.py and pyproject.toml."""
    page = (ROOT / "docs/compatibility.md").read_text()
    nox = ast.parse((ROOT / "noxfile.py").read_text())
    tables = {node.targets[0].id: node.value for node in nox.body if _assigns(node)}  # type: ignore[attr-defined]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = ", ".join(ast.literal_eval(tables["SUPPORTED"]))
    sdks, alone = ast.literal_eval(tables["SDKS"]), [ast.literal_eval(name) for name in tables["ALONE"].keys]
    assert {"all", *alone} == {"none", *project["optional-dependencies"]}
    assert f"| Python | {pythons} " in page
    assert f"| OpenTelemetry SDK | {', '.join(sdks)} |" in page
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == sorted(
        project["optional-dependencies"], key=lambda name: page.find(f"| `{name}` |")
    )
    assert set(ast.literal_eval(tables["VENDORS"])) <= set(re.findall(r"`(\w+)`", page))


def test_the_page_of_the_field_is_what_was_measured() -> None:
    """docs/field.md is written from measured.json, which has every table of every tool or the reason why not."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from field.page import MEASURED, PAGE, TABLES, page

    measured = json.loads(MEASURED.read_text())
    assert PAGE.read_text() == page(measured)
    nox = ast.parse((ROOT / "noxfile.py").read_text())
    (tools,) = (node.value for node in nox.body if _assigns(node) and node.targets[0].id == "FIELD")  # type: ignore[attr-defined]
    missing = {
        (table, tool) for table in TABLES for tool in ast.literal_eval(tools) if tool not in measured.get(table, {})
    }
    assert missing == set()


def _assigns(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
