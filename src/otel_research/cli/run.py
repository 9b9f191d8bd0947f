"""`otel-research run -- CMD…`: any command as an experiment, without a change to its code."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from otel_research.cli.options import described, json_option, print_json

if TYPE_CHECKING:
    from otel_research import Experiment

NOT_FOUND = 127


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--name", help="What the experiment is called. Default: OTEL_RESEARCH_EXPERIMENT, else the program.")
@click.option("--condition", help="The arm of its spans.")
@click.option("--tag", "tags", multiple=True, help="A label; may be given several times.")
@click.option("--session", help="The session of its spans.")
@click.option("--store", metavar="URL", help="Store: disk:PATH, postgresql://…, s3://…. Default: OTEL_RESEARCH_STORE.")
@json_option
@click.argument("words", metavar="-- CMD…", nargs=-1, type=click.UNPROCESSED, required=True)
@click.pass_context
def command(
    ctx: click.Context,
    name: str | None,
    condition: str | None,
    tags: tuple[str, ...],
    session: str | None,
    store: str | None,
    as_json: bool,
    words: tuple[str, ...],
) -> None:
    """Run a command as an experiment: Python programs in it are instrumented and recorded, children too.

    Ends with what was captured and what it cost, on standard error; the exit code is the command's.
    With --json that is JSON on standard output, and the command's own output goes to standard error.
    """
    if shutil.which(words[0]) is None:
        click.echo(f"otel-research: there is no command {words[0]!r} here. Is it installed, and on PATH?", err=True)
        ctx.exit(NOT_FOUND)
    from otel_research.hooks import backend
    from otel_research.hooks.launch import launch

    alone = backend.spared(os.environ)
    if "OTEL_TRACES_EXPORTER" in alone:
        click.echo(
            "otel-research: no backend is named (OTEL_EXPORTER_OTLP_ENDPOINT), and none listens at localhost "
            f"{' or '.join(map(str, backend.PORTS))}: spans are recorded here and sent nowhere else.",
            err=True,
        )
    ran = launch(
        words,
        name=name,
        condition=condition,
        store=store,
        tags=tags,
        session=session,
        stdout=sys.stderr.fileno() if as_json else None,
        variables=alone,
    )
    told = summary(ran.experiment) | {"exit_code": ran.code, "own_experiments": own(ran.experiment)}
    if as_json:
        print_json(told)
    else:
        _show(told)
    ctx.exit(ran.code)


def summary(experiment: Experiment) -> dict[str, Any]:
    """What a run captured: `ledger, experiment, conditions, files`, as the end-of-run block takes it."""
    import otel_research as otr

    ledger = experiment.ledger().to_dict()
    url = experiment.library.url
    has_trials = bool(experiment.trials().limit(1).collect().height)
    found: dict[Any, Any] = {}
    if ledger["stored"]:
        found = otr.metrics_by(experiment, "condition", unit="trial" if has_trials else "call")
    return {
        "ledger": ledger,
        "experiment": described(experiment.record),
        "conditions": {"" if label is None else str(label): metrics.to_dict() for label, metrics in found.items()},
        "files": {"store": url.removeprefix("disk:")} if url.startswith("disk:") else {},
    }


def own(experiment: Experiment) -> list[dict[str, str]]:
    """The experiments that the command's programs made themselves while it ran: their spans are not the run's."""
    records = experiment.library.find()
    return [{"id": one.id, "name": one.name} for one in records if one.environment.get("inside") == experiment.id]


def _show(told: dict[str, Any]) -> None:
    from rich.console import Console

    from otel_research.report.terminal import end_of_run

    Console(stderr=True, highlight=False).print(end_of_run(told), crop=False)
    if told["own_experiments"]:
        names = ", ".join(f"{one['name']} ({one['id'][:12]})" for one in told["own_experiments"])
        click.echo(f"The program recorded spans in its own experiments: {names}", err=True)
    elif not told["ledger"]["stored"]:
        click.echo(
            "No span was captured. Is an instrumentation of the library that the program uses installed "
            "(pip install opentelemetry-instrumentation-…)? `otel-research doctor` looks at the set-up.",
            err=True,
        )
