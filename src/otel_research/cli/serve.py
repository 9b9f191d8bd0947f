"""`otel-research serve`: the dashboard over a store."""

from __future__ import annotations

import click

from otel_research.cli.options import store_option


@click.command("serve")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; others than loopback are reachable from outside.",
)
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the dashboard; 0 for any that is free.",
)
@store_option
def command(host: str, port: int, store: str | None) -> None:
    """Serve the dashboard: watch experiments while they run, compare them, look into their traces.

    Prints its address, with a token that opens it, as soon as it answers. It only reads the store.
    """
    from opentelemetry import context
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

    from otel_research.dashboard.server import Serving, run

    # The server is not part of anybody's experiment, whatever instruments this process.
    context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    serving = Serving(store, host, port)

    def announce() -> None:
        click.echo(f"otel-research dashboard: {serving.url}")
        click.echo(f"store: {serving.dashboard.shelf.url} · Ctrl+C stops")

    run([lambda: serving.run(announce)])
