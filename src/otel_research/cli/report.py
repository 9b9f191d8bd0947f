"""`otel-research report ID`: an experiment's report as one file."""

from __future__ import annotations

from pathlib import Path

import click

from otel_research.cli.options import experiment_of, json_option, print_json, store_option


@click.command("report")
@click.argument("experiment", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write: .html, .md or .tex. Default: <name>.html here.",
)
@click.option("--baseline", metavar="CONDITION", help="What the others are compared with. Default: the first started.")
@click.option("--unit", default=None, help="call, trial, session or span. Default: trial where there are trials.")
@store_option
@json_option
def command(
    experiment: str, output: Path | None, baseline: str | None, unit: str | None, store: str | None, as_json: bool
) -> None:
    """Write a report: results, figures, methods, ledger, overhead, provenance, in one file.

    HTML needs nothing from outside and prints well. ID is an id, the beginning of one, or a name (then the newest).
    """
    import otel_research as otr
    from otel_research.numbers import file_stem

    opened = experiment_of(store, experiment)
    target = output or Path(f"{file_stem(opened.name)}.html")
    path = otr.write_report(opened, target, baseline=baseline, unit=unit)
    size = path.stat().st_size
    if as_json:
        print_json({"path": str(path.absolute()), "bytes": size})
    else:
        click.echo(f"{path} ({size:,} bytes)")
