"""`otel-research stop ID`: stop an experiment that another process records."""

from __future__ import annotations

import click

from otel_research.cli.options import described, experiment_of, json_option, print_json, store_option


@click.command("stop")
@click.argument("experiment", metavar="ID")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for the processes that record it.")
@store_option
@json_option
def command(experiment: str, timeout: float, store: str | None, as_json: bool) -> None:
    """Stop a running experiment.

    The processes that record it notice within a second (10 in a store elsewhere): they take no new spans of it, wait for
    the open ones, and seal it when they end; they are not ended. ID is an id, the beginning of one, or a name (then
    the newest with that name). An experiment that is stopped already, or unknown, is an error.
    """
    from otel_research.lifecycle import stop_experiment

    stopped = stop_experiment(experiment_of(store, experiment), timeout)
    is_recorded = stopped.library.is_recorded(stopped.id)
    if as_json:
        print_json(described(stopped.record) | {"is_sealed": not is_recorded})
        return
    click.echo(f"{stopped.name} ({stopped.id}) is stopped")
    if is_recorded:
        click.echo("A process that recorded it still runs; it seals it at its end.")
