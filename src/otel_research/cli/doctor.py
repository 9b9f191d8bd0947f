"""`otel-research doctor`: is my set-up capturing?"""

from __future__ import annotations

import click

from otel_research.cli.options import json_option, print_json, store_option

FAILED = 1


@click.command("doctor")
@store_option
@json_option
@click.pass_context
def command(ctx: click.Context, store: str | None, as_json: bool) -> None:
    """Send a canary span into the store and say what is attached, limited or in the way.

    Exit code 1 if the canary did not arrive whole. Run it as your program is run, for example under
    `opentelemetry-instrument`, so that it sees the same provider.
    """
    from otel_research.cli.diagnosis import diagnose

    told = diagnose(store)
    if as_json:
        print_json(told)
    else:
        from otel_research.report.terminal import doctor_block, show

        show(doctor_block(told))
    if not told["ok"]:
        ctx.exit(FAILED)
