"""The cells of `nox -s matrix` that have run, as the table of docs/compatibility.md.

python -m tests.matrix_table FOLDER     of pytest's reports, SDK-PYTHON-EXTRA.xml
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def told(report: Path) -> str:
    """How many passed, what did not, and the seconds that pytest took."""
    suite = next(ElementTree.parse(report).iter("testsuite"))
    skipped, failed = int(suite.attrib["skipped"]), int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    counts = [f"{int(suite.attrib['tests']) - skipped - failed}"]
    counts += [f"{skipped} skipped"] * (skipped > 0) + [f"**{failed} failed**"] * (failed > 0)
    return f"{', '.join(counts)} ({float(suite.attrib['time']):.0f} s)"


def table(folder: Path) -> str:
    """A row per extra, a column per SDK and Python; empty where nothing has run."""
    cells = {tuple(report.stem.split("-")): told(report) for report in folder.glob("*.xml")}
    columns = sorted({(sdk, python) for sdk, python, _ in cells})
    rows = [["extra", *(f"{sdk}, {python}" for sdk, python in columns)], ["---"] * (1 + len(columns))]
    for extra in sorted({extra for *_, extra in cells}, key=lambda extra: (extra not in ("all", "none"), extra)):
        rows.append([extra, *(cells.get((*column, extra), "") for column in columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
