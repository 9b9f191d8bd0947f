"""`otel-research archive ID`: one folder or prefix that holds an experiment whole."""

from __future__ import annotations

from pathlib import Path

import click

from otel_research.cli.options import experiment_of, json_option, print_json, store_option


@click.command("archive")
@click.argument("experiment", metavar="ID")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder. Default: name and id, here.")
@click.option("--s3", "bucket", metavar="BUCKET", help="Into this bucket instead (standard AWS variables).")
@click.option("--prefix", help="Where in the bucket. Default: archives/ with name and id.")
@store_option
@json_option
def command(
    experiment: str, output: Path | None, bucket: str | None, prefix: str | None, store: str | None, as_json: bool
) -> None:
    """Archive an experiment: spans, record, prices, ledger and results under one seal.

    A stopped experiment becomes "archived"; of a running one it is a checkpoint. ID is an id, the
    beginning of one, or a name. `otel-research verify` checks an archive.
    """
    opened = experiment_of(store, experiment)
    where = opened.archive("s3" if bucket else "local", path=output, bucket=bucket, prefix=prefix)
    if as_json:
        print_json({"archive": where, "experiment_id": opened.id, "state": opened.state})
    else:
        click.echo(where)
