"""`otel-research validate ID`: can the data be trusted?"""

from __future__ import annotations

import click

from otel_research.cli.options import json_option, print_result, side_of, store_option

FAILED = 1


@click.command("validate")
@click.argument("experiment", metavar="ID")
@click.option(
    "--min-score", type=float, default=0.0, show_default=True, help="Fail below this data quality score (0-100)."
)
@store_option
@json_option
@click.pass_context
def command(ctx: click.Context, experiment: str, min_score: float, store: str | None, as_json: bool) -> None:
    """Every fault of an experiment's data, counted; nothing is removed.

    Exit code 1 where a finding is an error (spans lost, repeated or impossible) or the score is below
    --min-score; 3 where there are no rows to judge.
    """
    import otel_research as otr
    from otel_research.errors import NotEnoughData

    side = side_of(store, experiment)
    result = otr.validate(side)
    print_result(result, as_json=as_json)
    if not result.total_events:
        raise NotEnoughData(f"{experiment} has no rows, so there is nothing to judge.")
    is_bad = result.data_quality_score < min_score or any(one.severity == "error" for one in result.findings)
    ctx.exit(FAILED if is_bad else 0)
