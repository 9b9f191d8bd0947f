"""`otel-research show ID`: what one experiment declared and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from otel_research.cli.options import described, experiment_of, json_option, print_json, store_option

if TYPE_CHECKING:
    import polars as pl


@click.command("show")
@click.argument("experiment", metavar="ID")
@store_option
@json_option
def command(experiment: str, store: str | None, as_json: bool) -> None:
    """Show one experiment: its declaration, its spans per condition, its environment.

    ID is an id, the beginning of one, or a name (then the newest with that name).
    """
    opened = experiment_of(store, experiment)
    spans = opened.spans()
    shown = {
        "experiment": described(opened.record),
        "ledger": opened.ledger().to_dict(),
        "conditions": counts(spans),
        **understanding(spans),
    }
    if as_json:
        print_json(shown)
        return
    from otel_research.report.terminal import experiment_block, show

    show(experiment_block(shown))


def understanding(spans: pl.LazyFrame) -> dict[str, Any]:
    """How far the spans were understood: findings, keys that no dialect knows, prices and calls without one."""
    from dataclasses import asdict

    from otel_research import pricing, semconv

    return {
        "findings": [asdict(finding) for finding in semconv.findings(spans)],
        "unmapped": dict(semconv.unmapped(spans).rows()),
        "prices": pricing.default().provenance,
        "unpriced": pricing.unpriced(spans).to_dicts(),
    }


def counts(spans: pl.LazyFrame) -> dict[str, dict[str, Any]]:
    """Condition -> spans, calls to models, trials, failures, first and last start; "" is outside any condition."""
    import polars as pl

    found = (
        spans.group_by("condition")
        .agg(
            pl.len().alias("spans"),
            pl.col("is_call").sum().alias("calls"),
            (pl.col("role") == "trial").sum().alias("trials"),
            (pl.col("status") == "error").sum().alias("errors"),
            (pl.col("status") == "interrupted").sum().alias("interrupted"),
            pl.col("start_ns").min().alias("first_start_ns"),
            pl.col("start_ns").max().alias("last_start_ns"),
        )
        .sort("condition", nulls_last=True)
        .collect()
    )
    return {row.pop("condition") or "": row for row in found.to_dicts()}
