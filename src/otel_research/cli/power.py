"""`otel-research power`: how many trials, dollars and minutes."""

from __future__ import annotations

from typing import Any

import click

from otel_research.cli.options import json_option, print_result, side_of, store_option


@click.command("power")
@click.option(
    "--effect", type=float, default=None, help="What to detect; of latency -0.1 is 10 % less. See the docs for others."
)
@click.option("--n", type=int, default=None, help="Trials per condition.")
@click.option("--power", "target", type=float, default=None, help="Default 0.8 where --n or --effect is asked for.")
@click.option("--alpha", type=float, default=0.05, show_default=True)
@click.option(
    "--design", type=click.Choice(["means", "log_ratio", "proportions", "paired_proportions", "groups"]), default=None
)
@click.option(
    "--pilot", metavar="ID", default=None, help="Take spread, price and length of a trial from this experiment."
)
@click.option("--outcome", default="latency", show_default=True, help="Which outcome of the pilot.")
@click.option("--sd", type=float, default=None, help="Standard deviation of a trial (log_ratio: of its logarithm).")
@click.option("--p", type=float, default=None, help="Success rate of the baseline.")
@click.option("--conditions", type=int, default=2, show_default=True)
@click.option("--trials-per-item", type=int, default=None)
@click.option("--icc", type=float, default=None, help="Share of the variance between items.")
@click.option("--rho", type=float, default=None, help="Correlation of an item's values in both conditions.")
@click.option("--concurrency", type=int, default=1, show_default=True, help="Trials at a time, for the minutes.")
@store_option
@json_option
def command(pilot: str | None, target: float | None, store: str | None, as_json: bool, **given: Any) -> None:
    """Solve for the one of n, effect, power and alpha that is left out (n where only the effect is given)."""
    import otel_research as otr

    effect = given.pop("effect")
    side = None if pilot is None else side_of(store, pilot)
    print_result(otr.power(effect, power=target, pilot=side, **given), as_json=as_json)
