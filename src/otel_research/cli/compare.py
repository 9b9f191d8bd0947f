"""`otel-research compare BASE CAND`: is the candidate better, and can one tell?"""

from __future__ import annotations

import click

from otel_research.cli.options import engine_option, json_option, print_json, side_of, store_option


@click.command("compare")
@click.argument("base")
@click.argument("cand", nargs=-1, required=True)
@click.option("--metric", "metrics", multiple=True, help="Outcome to compare, the first one decides. Default: all.")
@click.option(
    "--estimand", default="geomean", show_default=True, help="Of times: geomean, mean, median, p90, p95, p99."
)
@click.option("--unit", default=None, help="call, trial, session or span. Default: trial where there are trials.")
@click.option("--paired/--independent", default=None, help="Pair by item, or not. Default: where items are shared.")
@click.option("--alpha", default=0.05, show_default=True, type=float)
@click.option("--correction", default="holm", show_default=True, help="holm, bonferroni, bh, by or none.")
@click.option("--equivalence", metavar="MARGIN", default=None, help='Margin in the own unit, or a share: "5%".')
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--methods", is_flag=True, help="Print the methods paragraph too.")
@engine_option
@store_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    base: str,
    cand: tuple[str, ...],
    metrics: tuple[str, ...],
    estimand: str,
    unit: str | None,
    paired: bool | None,
    alpha: float,
    correction: str,
    equivalence: str | None,
    seed: int,
    methods: bool,
    engine: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Compare candidates with a baseline; each is ID or ID:condition.

    Exit code 0 where the (best) candidate is better, or equivalent within the margin; 1 where it is worse;
    3 where the data cannot tell or the design is invalid.
    """
    import otel_research as otr

    others = [side_of(store, one) for one in cand]
    result = otr.compare(
        side_of(store, base),
        others[0] if len(others) == 1 else others,
        metrics=metrics or None,
        estimand=estimand,
        unit=unit,
        paired="auto" if paired is None else paired,
        alpha=alpha,
        correction=correction,
        equivalence=_margin(equivalence),
        seed=seed,
        engine=engine,
    )
    if as_json:
        print_json(result.to_dict())
    else:
        from otel_research.report.comparison import comparison_block
        from otel_research.report.terminal import show

        show(comparison_block(result.to_dict()))
        if methods:
            click.echo(f"\n{result.methods}")
    ctx.exit(result.exit_code)


def _margin(text: str | None) -> float | str | None:
    if text is None or text.strip().endswith("%"):
        return text
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f'{text!r} is neither a number nor a share such as "5%".') from None
