"""`otel-research ls`: the experiments of a store."""

from __future__ import annotations

import click

from otel_research.cli.options import described, json_option, library, print_json, store_option


@click.command("ls")
@click.option("--state", type=click.Choice(["running", "stopped", "archived"]), help="Only those in this state.")
@click.option("--name", help="Only those with this name.")
@click.option("--tag", help="Only those with this tag or one below it: 'dataset' finds 'dataset:mmlu'.")
@click.option("--study", help="Only those of this study.")
@click.option("--all", "include_hidden", is_flag=True, help="Also those that were hidden by a clean-up.")
@store_option
@json_option
def command(
    state: str | None,
    name: str | None,
    tag: str | None,
    study: str | None,
    include_hidden: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """List the experiments of a store, oldest first."""
    opened = library(store)
    found = opened.find(state=state, name=name, tag=tag, study=study, include_hidden=include_hidden)
    for trouble in opened.unreadable():
        click.echo(f"not listed: {trouble}", err=True)
    if as_json:
        print_json([described(record) for record in found])
        return
    if not found:
        click.echo(f"No experiments in {opened.url}" + (" that match." if state or name or tag or study else "."))
        return
    from otel_research.report.terminal import experiments_table, show

    show(experiments_table(found, opened.url))
