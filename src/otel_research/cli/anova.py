"""`otel-research anova ID...`: which factors matter."""

from __future__ import annotations

from typing import Literal

import click

from otel_research.cli.options import json_option, print_result, side_of, store_option


@click.command("anova")
@click.argument("experiments", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--response", default="latency", show_default=True, help="latency, ttft, cost, tokens, success_rate or a score."
)
@click.option("--factor", "factors", multiple=True, help="A factor, repeatable. Default: condition.")
@click.option(
    "--type", "kind", default="2", show_default=True, type=click.Choice(["1", "2", "3"]), help="Sums of squares."
)
@click.option("--transform", type=click.Choice(["log", "sqrt", "rank"]), default=None)
@click.option("--block", metavar="COLUMN", default=None, help="Take this out first, for example item_id.")
@click.option("--random-block", is_flag=True, help="Blocks as random effects (mixed model).")
@click.option("--control", default=None, help="Compare every level with this one (Dunnett).")
@click.option("--unit", default=None, help="call, trial, session or span. Default: trial where there are trials.")
@click.option("--alpha", default=0.05, show_default=True, type=float)
@store_option
@json_option
def command(
    experiments: tuple[str, ...],
    response: str,
    factors: tuple[str, ...],
    kind: str,
    transform: Literal["log", "sqrt", "rank"] | None,
    block: str | None,
    random_block: bool,
    control: str | None,
    unit: str | None,
    alpha: float,
    store: str | None,
    as_json: bool,
) -> None:
    """Analysis of variance of one experiment, or of several pooled by their factors.

    ID is an id, the beginning of one, a name, or one of those with :condition.
    """
    import otel_research as otr

    sides = [side_of(store, one) for one in experiments]
    result = otr.anova(
        sides[0] if len(sides) == 1 else sides,
        response,
        list(factors) or None,
        type=int(kind),
        transform=transform,
        block=block,
        block_as="random" if random_block else "fixed",
        control=control,
        unit=unit,
        alpha=alpha,
    )
    print_result(result, as_json=as_json)
