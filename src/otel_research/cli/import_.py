"""`otel-research import FILE...`: files of spans as experiments."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from otel_research.cli.options import json_option, library, print_json, store_option

if TYPE_CHECKING:
    from otel_research.imports.intake import Report

SKIPPED = 1
_MOST_SHOWN = 20


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--experiment", "name", metavar="NAME", help="Name of the new experiments. Default: the file's name.")
@store_option
@json_option
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], name: str | None, store: str | None, as_json: bool) -> None:
    """Import spans: OTLP (JSON or protobuf), Phoenix, MLflow or Inspect logs; plain or gzip; "-" is standard input.

    A folder of a disk store or a journal segment (.wal) from another node is merged into the experiment it is of.

    The spans of a file are one experiment, whose id comes from its content, unless they name theirs.
    Importing the same spans again changes nothing. Exit code 1 if something could not be read.
    """
    from otel_research.imports.door import import_files

    opened: list[Any] = [sys.stdin.buffer if file == "-" else file for file in files]
    reports = import_files(opened, library(store), name)
    for report in reports:
        _complain(report)
    if as_json:
        print_json(_told(reports))
    else:
        for entry in _told(reports)["experiments"]:
            click.echo(_line(entry))
    if any(report.skipped for report in reports):
        ctx.exit(SKIPPED)


def _complain(report: Report) -> None:
    """What was not imported, with its place, on standard error."""
    for problem in report.problems[:_MOST_SHOWN]:
        place = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
        records = f" ({problem.records} records)" if problem.records > 1 else ""
        click.echo(f"{place}: {problem.reason}{records}", err=True)
    if len(report.problems) > _MOST_SHOWN:
        click.echo(f"{report.file}: and more; {report.skipped} in all were not imported", err=True)


def _told(reports: list[Report]) -> dict[str, Any]:
    """The JSON document. What a file's reader skipped is counted once, with the file's first experiment."""
    experiments = []
    for report in reports:
        entries: list[dict[str, Any]] = [
            {"id": brought.experiment.id, "name": brought.experiment.name, "spans": brought.spans, "new": brought.new}
            for brought in report.experiments
        ]
        # A file without a single span makes no experiment; it is told about all the same.
        entries = entries or [{"id": None, "name": report.name, "spans": 0, "new": 0}]
        skipped = [report.skipped, *[0] * (len(entries) - 1)]
        experiments += [
            {**entry, "skipped": number, "file": report.file} for entry, number in zip(entries, skipped, strict=True)
        ]
    return {
        "experiments": experiments,
        "problems": [problem._asdict() for report in reports for problem in report.problems],
    }


def _line(entry: dict[str, Any]) -> str:
    if entry["id"] is None:
        return f"{entry['file']}: no spans"
    news = "" if entry["new"] == entry["spans"] else f", {entry['new']:,} of them new"
    skipped = f", {entry['skipped']:,} skipped" if entry["skipped"] else ""
    return f"{entry['id']}  {entry['name']}: {entry['spans']:,} spans{news}{skipped}"
