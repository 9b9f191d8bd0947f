"""`otel-research series ID`: a metric over time, with what was odd about it."""

from __future__ import annotations

import click

from otel_research.cli.options import (
    engine_option,
    json_option,
    print_json,
    side_of,
    store_option,
    where_mapping,
    where_option,
)


@click.command("series")
@click.argument("experiment", metavar="ID")
@click.option(
    "--metric",
    default="latency",
    show_default=True,
    help="latency, ttft, cost, tokens, error_rate, throughput or a score.",
)
@click.option("--window", default="5m", show_default=True, help='Length of a window: "30s", "5m", "1h".')
@click.option("--by", multiple=True, metavar="COLUMN", help="One series per value, for example --by condition.")
@click.option(
    "--threshold", type=float, default=None, help="Robust z beyond which a window is odd. Default: FDR of 5 %."
)
@click.option("--unit", default="call", show_default=True, help="call, trial, session or span.")
@where_option
@engine_option
@store_option
@json_option
def command(
    experiment: str,
    metric: str,
    window: str,
    by: tuple[str, ...],
    threshold: float | None,
    unit: str,
    where: tuple[str, ...],
    engine: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """One row per window: count, mean, percentiles, anomalies, steps of the level. Gaps stay gaps.

    ID is an id, the beginning of one, a name, or one of those with :condition.
    """
    import otel_research as otr

    frame = otr.time_series(
        side_of(store, experiment),
        metric,
        window,
        by=list(by) or None,
        threshold=threshold,
        unit=unit,
        where=where_mapping(where),
        engine=engine,
    )
    rows = [{**row, "window": row["window"].isoformat()} for row in frame.iter_rows(named=True)]
    if as_json:
        print_json(rows)
        return
    from otel_research.report.series import series_table
    from otel_research.report.terminal import show

    show(series_table(rows, metric))
