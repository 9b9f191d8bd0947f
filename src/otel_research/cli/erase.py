"""`otel-research erase PATH`: one user's or session's spans out of an archive."""

from __future__ import annotations

from pathlib import Path

import click

from otel_research.cli.options import json_option, print_json


@click.command("erase")
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--user", help="Whose spans: the end user's id as the spans have it.")
@click.option("--session", help="The session's id.")
@click.option("--reason", required=True, help="Why; kept in the archive.")
@json_option
def command(path: Path, user: str | None, session: str | None, reason: str, as_json: bool) -> None:
    """Take a user's or a session's traces out of an archive; a record of it and a new seal stay.

    The archive does not name whom: only a hash. A store that has the spans too is not touched.
    """
    from otel_research.archive.erase import erase

    if (user is None) == (session is None):
        raise click.UsageError("give --user or --session, one of them.")
    column, value = ("user_id", user) if user is not None else ("session_id", session)
    erased = erase(path, column, str(value), reason)
    if as_json:
        print_json(erased)
    else:
        click.echo(f"{erased['rows']} spans erased from {path}")
