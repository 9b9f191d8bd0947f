"""`otel-research demo`: a whole experiment on a bundled model server, no network needed."""

from __future__ import annotations

from pathlib import Path

import click

from otel_research.cli.options import json_option, print_json

LOST = 1


@click.command("demo")
@click.option("--trials", default=200, show_default=True, help="Trials over both conditions.")
@click.option("--seed", default=0, show_default=True, help="Seed of items, order and model answers.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("otel-research-demo"),
    show_default=True,
    help="Folder for the exports and the store.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, trials: int, seed: int, out: Path, as_json: bool) -> None:
    """Run a real experiment: the openai client, instrumented, against a local model server.

    One model against an ensemble that votes, on the same questions. Ends with what was captured,
    what it cost, how long it took and whether the difference holds.
    """
    from otel_research.demo.experiment import run_demo

    result = run_demo(out, trials=trials, seed=seed, progress=not as_json)
    if as_json:
        print_json(result)
    else:
        from otel_research.report.terminal import end_of_run, show

        show(end_of_run(result))
    ledger, check = result["ledger"], result["check"]
    if sum(ledger["lost"].values()) or not check["agrees"]:
        ctx.exit(LOST)
