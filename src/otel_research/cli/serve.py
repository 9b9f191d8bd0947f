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
@click.option(
    "--alert",
    "rules",
    metavar="RULE",
    multiple=True,
    help='A rule for every running experiment: "budget > 5", "error_rate > 0.1 over 60s".',
)
@click.option(
    "--webhook",
    "webhooks",
    metavar="URL",
    multiple=True,
    help="Where its alerts are posted, as JSON; default: the log.",
)
@store_option
def command(host: str, port: int, rules: tuple[str, ...], webhooks: tuple[str, ...], store: str | None) -> None:
    """Serve the dashboard: watch experiments while they run, compare them, look into their traces.

    Prints its address, with a token that opens it, as soon as it answers. It only reads the store; with --alert
    it records the alerts in the experiments.
    """
    from opentelemetry import context
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

    from otel_research.alerts.sinks import checked
    from otel_research.alerts.text import parsed
    from otel_research.dashboard.server import Serving, run

    # A wrong rule or address is told now, not when the first experiment runs.
    for rule in rules:
        parsed(rule)
    checked(webhooks)
    # The server is not part of anybody's experiment, whatever instruments this process.
    context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    serving = Serving(store, host, port, rules=rules, webhooks=webhooks)

    def announce() -> None:
        click.echo(f"otel-research dashboard: {serving.url}")
        click.echo(f"store: {serving.dashboard.shelf.url} · Ctrl+C stops")

    run([lambda: serving.run(announce)])
