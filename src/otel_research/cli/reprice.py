"""`otel-research reprice ID`: the same calls under another price table."""

from __future__ import annotations

from pathlib import Path

import click

from otel_research.cli.options import (
    experiment_of,
    json_option,
    print_json,
    store_option,
    where_mapping,
    where_option,
)


@click.command("reprice")
@click.argument("experiment", metavar="ID")
@click.option(
    "--prices",
    type=click.Path(path_type=Path),
    help="Price file (TOML or JSON) of your own. Default: the table that ships with genai-prices.",
)
@click.option("--at", metavar="DATE", help="Prices as of this date or time (ISO 8601, UTC). Default: each call's own.")
@where_option
@store_option
@json_option
def command(
    experiment: str, prices: Path | None, at: str | None, where: tuple[str, ...], store: str | None, as_json: bool
) -> None:
    """Price an experiment's calls again: what changes, and does the ranking of its conditions survive?

    ID is an id, the beginning of one, or a name (then the newest with that name).
    """
    import otel_research as otr

    opened = experiment_of(store, experiment)
    chosen = where_mapping(where)
    result = otr.reprice(opened if chosen is None else opened.where(chosen), prices=prices, at=at)
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(result.to_markdown())
