"""`otel-research restore PATH`: an archive back into a store."""

from __future__ import annotations

import click

from otel_research.cli.options import described, json_option, library, print_json, store_option


@click.command("restore")
@click.argument("path", metavar="PATH")
@store_option
@json_option
def command(path: str, store: str | None, as_json: bool) -> None:
    """Put an archived experiment back into a store, after checking the archive.

    PATH is the folder, or s3://BUCKET/PREFIX.
    """
    from otel_research.archive.local import at
    from otel_research.archive.restore import restore

    opened = library(store)
    with at(path) as folder:
        record = restore(folder, opened)
    if as_json:
        print_json(described(record))
    else:
        click.echo(f"{record.name} ({record.id}) is in {opened.url}")
