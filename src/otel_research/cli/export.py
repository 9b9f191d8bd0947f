"""`otel-research export ID`: the spans as a file."""

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


@click.command("export")
@click.argument("experiment", metavar="ID")
@click.option("-f", "--format", "format_", default="csv", show_default=True, help="csv, jsonl, parquet or otlp.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write. Default: <name>.<format> here.")
@click.option("--columns", metavar="A,B,...", help="Columns or attribute keys, in this order. Default: all.")
@click.option("--compression", help="gzip for text; zstd, snappy, lz4, gzip, brotli, uncompressed for parquet.")
@where_option
@store_option
@json_option
def command(
    experiment: str,
    format_: str,
    output: Path | None,
    columns: str | None,
    compression: str | None,
    where: tuple[str, ...],
    store: str | None,
    as_json: bool,
) -> None:
    """Write an experiment's spans to a file. An existing file is replaced only by a complete one.

    ID is an id, the beginning of one, or a name (then the newest with that name).
    """
    from otel_research import formats

    opened = experiment_of(store, experiment)
    path = formats.export(
        opened.spans(),
        format_,
        output or Path(formats.default_name(opened.name, format_, compression)),
        columns=[name.strip() for name in columns.split(",")] if columns else None,
        compression=compression,
        where=where_mapping(where),
    )
    size = path.stat().st_size
    if as_json:
        print_json({"path": str(path.absolute()), "format": format_, "bytes": size})
    else:
        click.echo(f"{path} ({size:,} bytes)")
