"""`otel-research verify PATH`: every hash and every number of an archive again."""

from __future__ import annotations

import click

from otel_research.cli.options import json_option, print_json

DAMAGED = 1


@click.command("verify")
@click.argument("path", metavar="PATH")
@json_option
@click.pass_context
def command(ctx: click.Context, path: str, as_json: bool) -> None:
    """Check an archive offline: its files against the seal, its numbers against its spans.

    PATH is the folder, or s3://BUCKET/PREFIX. Exit 1 where anything was changed; the file is named.
    """
    from otel_research.archive.local import at
    from otel_research.archive.verify import verify

    with at(path) as folder:
        found = verify(folder)
    if as_json:
        print_json({**found.to_dict(), "path": path})
    else:
        for problem in found.problems:
            click.echo(f"DAMAGED {problem.file}: {problem.what}")
        for note in found.notes:
            click.echo(f"note: {note}")
        verdict = "sound" if found.is_sound else f"{len(found.problems)} problem(s)"
        click.echo(f"{path}: {verdict}; {found.files} files, {found.rows} spans, seal {found.seal}")
    if not found.is_sound:
        ctx.exit(DAMAGED)
