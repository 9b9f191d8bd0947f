"""`otel-research watch [ID]`: a running experiment in the terminal."""

from __future__ import annotations

import click

from otel_research.cli.options import library, record_of, store_option


@click.command("watch")
@click.argument("experiment", metavar="[ID]", required=False)
@click.option(
    "--seconds", type=click.FloatRange(min=0.0), help="Stop after so long; default: when the experiment is over."
)
@click.option("--json", "as_json", is_flag=True, help="One event per line, for scripts; see docs/live.md.")
@store_option
def command(experiment: str | None, seconds: float | None, as_json: bool, store: str | None) -> None:
    """Watch an experiment until it is over: what is captured, what it costs, whether it works.

    ID is an id, the beginning of one, or a name; without it the experiment that started last.
    It only reads: the program that runs it does not notice.
    """
    from otel_research.errors import UnknownExperiment
    from otel_research.handle import Experiment
    from otel_research.report.live import lines, live

    opened = library(store)
    if experiment is None:
        records = opened.find()
        if not records:
            raise UnknownExperiment(f"no experiments in {opened.url} yet; start one and call this again.")
        record = max(records, key=lambda one: (one.state == "running", one.started_ns))
    else:
        record = record_of(opened, experiment)
    found = Experiment(record, opened)
    if as_json:
        lines(found, click.echo, seconds=seconds)
    else:
        live(found, seconds=seconds)
