"""`otel-research study ID...`: the same comparison in several experiments, as one claim."""

from __future__ import annotations

import click

from otel_research.cli.options import experiment_of, json_option, library, print_result, store_option
from otel_research.errors import ConfigurationError


@click.command("study")
@click.argument("experiments", metavar="[ID...]", nargs=-1)
@click.option("--name", default=None, help="Every experiment that was started with this study=.")
@click.option("--metric", "metrics", multiple=True, help="Outcome, repeatable. Default: latency.")
@click.option("--baseline", default=None, help="The condition to compare with.")
@click.option("--candidate", default=None, help="The condition to compare.")
@click.option("--unit", default=None, help="call, trial, session or span. Default: trial where there are trials.")
@click.option("--alpha", default=0.05, show_default=True, type=float)
@store_option
@json_option
def command(
    experiments: tuple[str, ...],
    name: str | None,
    metrics: tuple[str, ...],
    baseline: str | None,
    candidate: str | None,
    unit: str | None,
    alpha: float,
    store: str | None,
    as_json: bool,
) -> None:
    """Pool experiments that hold the same two conditions: random effects, forest table, heterogeneity.

    ID is an id, the beginning of one, or a name (then the newest with that name).
    """
    import otel_research as otr

    wanted = [*experiments, *([] if name is None else [record.id for record in library(store).find(study=name)])]
    if not wanted:
        missing = "no experiment was named" if name is None else f"no experiment has study={name!r}"
        raise ConfigurationError(f"{missing}. Give ids or names, or --name STUDY.")
    result = otr.study(
        [experiment_of(store, one) for one in wanted],
        metrics=metrics or None,
        baseline=baseline,
        candidate=candidate,
        unit=unit,
        alpha=alpha,
    )
    print_result(result, as_json=as_json)
