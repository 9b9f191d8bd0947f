"""`otel-research push ID`: replay an experiment by OTLP."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from otel_research.cli.options import experiment_of, json_option, print_json, store_option

if TYPE_CHECKING:
    from otel_research.ingest.push import Pushed

REJECTED = 1


@click.command("push")
@click.argument("experiment", metavar="ID")
@click.option("--endpoint", metavar="URL", help="Where to; default: OTEL_EXPORTER_OTLP_ENDPOINT, else localhost.")
@click.option("--protocol", type=click.Choice(["http/protobuf", "grpc"]), help="Default: OTEL_EXPORTER_OTLP_PROTOCOL.")
@click.option("--batch", default=512, show_default=True, type=click.IntRange(1), help="Spans of one request.")
@click.option("--afresh", is_flag=True, help="Begin at the first span, whatever an interrupted push has sent.")
@store_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    experiment: str,
    endpoint: str | None,
    protocol: str | None,
    batch: int,
    afresh: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """Send the spans of an experiment to any OTLP endpoint: a backend, a collector, another receiver.

    The standard OTEL_EXPORTER_OTLP_* variables (headers, compression, timeout, certificates) apply. After an
    interruption the same command goes on. Exit code 1 if the endpoint rejected spans.
    """
    from otel_research.context import uninstrumented
    from otel_research.ingest.push import push
    from otel_research.ingest.sender import Target

    # What is sent must not make spans of its own.
    ctx.with_resource(uninstrumented())
    opened = experiment_of(store, experiment)
    target = Target(endpoint, protocol)
    pushed = push(opened.spans(), opened.record, target, batch=batch, is_afresh=afresh, on_progress=_show)
    if as_json:
        print_json(pushed.to_dict())
    else:
        earlier = f", {pushed.skipped:,} earlier" if pushed.skipped else ""
        click.echo(f"{pushed.accepted:,} of {pushed.spans:,} spans accepted by {pushed.endpoint}{earlier}")
        for why, number in pushed.reasons.items():
            click.echo(f"{number:,} rejected: {why}", err=True)
    if pushed.rejected:
        ctx.exit(REJECTED)


def _show(pushed: Pushed) -> None:
    """How far it has come, for somebody who watches."""
    if sys.stderr.isatty():
        done = pushed.skipped + pushed.accepted + pushed.rejected
        click.echo(f"\r{done:,} of {pushed.spans:,}", err=True, nl=done == pushed.spans)
