"""`otel-research serve`: the dashboard over a store, and the OTLP receiver into it."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import click

from otel_research.cli.options import store_option

if TYPE_CHECKING:
    from otel_research.ingest.receiver import Receiver

_PORT = click.IntRange(0, 65535)


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
@click.option("--otlp-http", default=4318, show_default=True, type=_PORT, help="Port of OTLP over HTTP.")
@click.option("--otlp-grpc", default=4317, show_default=True, type=_PORT, help="Port of OTLP over gRPC.")
@click.option("--no-otlp", is_flag=True, help="Receive nothing.")
@click.option(
    "--otlp-token",
    metavar="TOKEN",
    envvar="OTEL_RESEARCH_OTLP_TOKEN",
    show_envvar=True,
    help="What senders must send: authorization: Bearer TOKEN. Default: on loopback none, else the dashboard's.",
)
@click.option("--otlp-certificate", metavar="FILE", help="Receive over TLS: the certificate with its chain, as PEM.")
@click.option("--otlp-key", metavar="FILE", help="Its private key, as PEM, without a passphrase.")
@click.option(
    "--experiment",
    default="received",
    show_default=True,
    metavar="NAME|ID",
    help="Where received spans go that name no experiment.",
)
@click.option(
    "--max-body", default=8 << 20, show_default=True, type=click.IntRange(1024), help="Largest message, in bytes."
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    help="A name or address by which browsers reach it (behind a proxy, or with --host 0.0.0.0), without the port.",
)
@store_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    host: str,
    port: int,
    rules: tuple[str, ...],
    webhooks: tuple[str, ...],
    allowed_hosts: tuple[str, ...],
    store: str | None,
    **options: Any,
) -> None:
    """Serve the dashboard and receive OTLP: watch experiments while they run, compare them, look into their traces.

    Prints its address, with a token that opens it, as soon as it answers. The dashboard only reads the store;
    with --alert it records the alerts in the experiments.
    Programs in any language send their spans to the receiver; spans go to the experiment they name
    (experiment.id as an attribute of a span or of its resource), else to --experiment.
    """
    from otel_research.alerts.sinks import checked
    from otel_research.alerts.text import parsed
    from otel_research.context import uninstrumented
    from otel_research.dashboard.server import Serving, run

    # A wrong rule or address is told now, not when the first experiment runs.
    for rule in rules:
        parsed(rule)
    checked(webhooks)
    # The server is not part of anybody's experiment, whatever instruments this process.
    ctx.with_resource(uninstrumented())
    serving = Serving(store, host, port, rules=rules, webhooks=webhooks, allowed_hosts=allowed_hosts)
    receiver = None if options["no_otlp"] else _receiver(ctx, host, store, serving.token, options)

    async def announce() -> None:
        while receiver is not None and not receiver.is_ready:
            await asyncio.sleep(0.005)
        click.echo(f"otel-research dashboard: {serving.url}")
        click.echo(f"store: {serving.dashboard.shelf.url} · Ctrl+C stops")
        for line in [] if receiver is None else _told(receiver, host):
            click.echo(line)

    if receiver is None:
        run([lambda: serving.run(announce)])
        return
    # A polite end seals what was received; an impolite one loses nothing either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run([lambda: serving.run(announce), receiver.run])
    finally:
        receiver.close()


def _receiver(ctx: click.Context, host: str, store: str | None, token: str, options: dict[str, Any]) -> Receiver | None:
    """The receiver on the ports that are asked for; on a standard port that somebody has, none, which is told."""
    from otel_research.errors import ConfigurationError
    from otel_research.ingest.certificate import certificate
    from otel_research.ingest.listening import LOOPBACK, bound
    from otel_research.ingest.receiver import OPTIONS, Receiver

    tls = certificate(options["otlp_certificate"], options["otlp_key"])
    ports: dict[str, int | None] = {}
    for name, option in zip(("otlp_http", "otlp_grpc"), OPTIONS, strict=True):
        ports[name] = options[name]
        try:
            bound(host, options[name], option).close()
        except ConfigurationError as error:
            if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                raise
            click.echo(f"Nothing is received there (is a collector running?): {error}", err=True)
            ports[name] = None
    if not any(port is not None for port in ports.values()):
        return None
    return Receiver(
        store,
        host,
        ports["otlp_http"],
        ports["otlp_grpc"],
        token=options["otlp_token"] or (None if host in LOOPBACK else token),
        experiment=options["experiment"],
        largest=options["max_body"],
        tls=tls,
    )


def _told(receiver: Receiver, host: str) -> list[str]:
    """Where to send, as senders want to have it."""
    from otel_research.ingest.listening import shown

    ways = (("http/protobuf", receiver.http_port), ("grpc", receiver.grpc_port))
    return [f"OTLP ({way}): {receiver.scheme}://{shown(host)}:{port}" for way, port in ways if port is not None]
