"""`otel-research cleanup ID`: hide an experiment, or delete it with its spans."""

from __future__ import annotations

import click

from otel_research.cli.options import experiment_of, json_option, print_json, store_option


@click.command("cleanup")
@click.argument("experiment", metavar="ID")
@click.option("--keep-data/--delete-data", required=True, help="Hide it from the list, or delete it with its spans.")
@click.option("--force", is_flag=True, help="Delete also what was not archived: its only copy.")
@store_option
@json_option
def command(experiment: str, keep_data: bool, force: bool, store: str | None, as_json: bool) -> None:
    """Hide an experiment from the active list, or delete it.

    ID is an id, the beginning of one, or a name (then the newest with that name).
    """
    opened = experiment_of(store, experiment)
    opened.cleanup(keep_data=keep_data, force=force)
    done = "hidden" if keep_data else "deleted"
    if as_json:
        print_json({"experiment_id": opened.id, "name": opened.name, "done": done})
    else:
        click.echo(f"{opened.name} ({opened.id}) is {done}")
