"""`otel-research watch [ID]`: a running experiment in the terminal."""

from __future__ import annotations

import click

from otel_research.cli.options import library, record_of, store_option


@click.command("watch")
@click.argument("experiment", metavar="[ID]", required=False)
@click.option(
    "--seconds", type=click.FloatRange(min=0.0), help="Stop after so long; default: when the experiment is over."
)
@click.option("--json", "as_json", is_flag=True, help="One event per line, for scripts; see docs/live.md.")
@click.option(
    "--stop",
    nargs=2,
    metavar="BASE CAND",
    help="Stop when condition CAND is shown to be better or worse than BASE, however often it is looked at.",
)
@click.option("--metric", help="With --stop: the outcome that decides. Default: the first declared one, else latency.")
@click.option("--alpha", default=0.05, show_default=True, type=float, help="With --stop: over all looks together.")
@store_option
@click.pass_context
def command(
    ctx: click.Context,
    experiment: str | None,
    seconds: float | None,
    as_json: bool,
    stop: tuple[str, str] | None,
    metric: str | None,
    alpha: float,
    store: str | None,
) -> None:
    """Watch an experiment until it is over: what is captured, what it costs, whether it works.

    ID is an id, the beginning of one, or a name; without it the experiment that started last.
    It only reads: the program that runs it does not notice. With --stop each look is recorded in the experiment, and
    the exit code is 0 where CAND is better, 1 where it is worse, 3 where the run was over before either was shown.
    """
    from otel_research.cli.stopping import StopRule
    from otel_research.errors import UnknownExperiment
    from otel_research.handle import Experiment
    from otel_research.report.live import lines, live

    if stop is None and metric is not None:
        raise click.UsageError("--metric is of the stop rule: give --stop BASE CAND too.")
    opened = library(store)
    if experiment is None:
        records = opened.find()
        if not records:
            raise UnknownExperiment(f"no experiments in {opened.url} yet; start one and call this again.")
        record = max(records, key=lambda one: (one.state == "running", one.started_ns))
    else:
        record = record_of(opened, experiment)
    found = Experiment(record, opened)
    rule = None if stop is None else StopRule(found, *stop, metric=metric, alpha=alpha)
    if as_json:
        lines(found, click.echo, seconds=seconds, rule=rule)
    else:
        live(found, seconds=seconds, rule=rule)
    if rule is not None:
        if rule.last is None:
            click.echo(f"otel-research: there was no look at {stop[0]} and {stop[1]}: {rule.why}", err=True)  # type: ignore[index]
        ctx.exit(rule.exit_code)
