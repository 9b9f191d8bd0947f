"""`otel-research metrics ID`: latency, reliability, tokens and cost."""

from __future__ import annotations

from typing import Any

import click

from otel_research.cli.options import (
    described,
    engine_option,
    json_option,
    print_json,
    side_of,
    store_option,
    where_mapping,
    where_option,
)


@click.command("metrics")
@click.argument("experiment", metavar="ID[:CONDITION]")
@click.option("--unit", default="call", show_default=True, help="call, trial, session or span.")
@click.option("--by", multiple=True, metavar="COLUMN", help="One block per value, for example --by condition.")
@where_option
@engine_option
@store_option
@json_option
def command(
    experiment: str,
    unit: str,
    by: tuple[str, ...],
    where: tuple[str, ...],
    engine: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Print an experiment's metrics, each with its n, its unit and its interval.

    ID is an id, the beginning of one, or a name (then the newest with that name); ID:CONDITION is one condition of it.
    """
    import otel_research as otr
    from otel_research.selection import Selection

    side = side_of(store, experiment)
    opened, heading = (side.experiment, experiment) if isinstance(side, Selection) else (side, "")
    given: dict[str, Any] = {"unit": unit, "where": where_mapping(where), "engine": engine}
    if by:
        found = otr.metrics_by(side, list(by) if len(by) > 1 else by[0], **given)
        blocks = {_label(key): metrics.to_dict() for key, metrics in found.items()}
    else:
        blocks = {heading: otr.calculate_metrics(side, **given).to_dict()}
    if as_json:
        print_json(blocks if by else blocks[heading])
        return
    from otel_research.report.terminal import metrics_block, show

    show(metrics_block(described(opened.record), opened.ledger().to_dict(), blocks))
    if any(block.get("cost") for block in blocks.values()):
        from otel_research.pricing import default

        click.echo(f"prices: {default().provenance}")


def _label(key: object) -> str:
    """A group's key as a JSON key; several columns are joined, a missing value is empty."""
    parts = key if isinstance(key, tuple) else (key,)
    return " / ".join("" if part is None else str(part) for part in parts)
