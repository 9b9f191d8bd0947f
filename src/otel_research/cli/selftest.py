"""`otel-research selftest`: does this machine lose spans?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otel_research.cli.options import json_option, print_json
from otel_research.errors import ConfigurationError

if TYPE_CHECKING:
    from otel_research.selftest.outcome import Outcome

LOST = 1


@click.command("selftest")
@click.option(
    "--store",
    metavar="URL",
    default=None,
    help="disk:PATH: test the disk of that folder. Default: the temporary folder's.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, store: str | None, as_json: bool) -> None:
    """Treat programs badly and count what is left: burst, slow backend, kill -9, fork, spawn, pool, full disk.

    Works in a temporary folder and takes about a minute. Exit code 1 if a span was lost or a
    scenario could not run.
    """
    with tempfile.TemporaryDirectory(prefix="selftest-", dir=_place(store)) as folder:
        outcomes = _watched(Path(folder), is_quiet=as_json)
    told = _told(outcomes)
    if as_json:
        print_json(told)
    else:
        from otel_research.report.selftest import selftest_block
        from otel_research.report.terminal import show

        show(selftest_block(told))
    if not told["ok"]:
        ctx.exit(LOST)


def _place(store: str | None) -> Path | None:
    """The folder on the disk to test, made if it is not there."""
    if store is None:
        return None
    scheme, _, path = store.partition(":")
    if scheme != "disk" or not path:
        raise ConfigurationError(f"--store {store!r}: selftest tests a disk; say disk:PATH.")
    place = Path(path).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--store {store!r}: cannot use that folder: {error.strerror}.") from error
    return place


def _watched(folder: Path, *, is_quiet: bool) -> list[Outcome]:
    """Run them all, with progress on standard error."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from otel_research.selftest import SCENARIOS
    from otel_research.selftest.outcome import judge

    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    outcomes = []
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=is_quiet) as progress:
        task = progress.add_task("", total=len(SCENARIOS))
        for scenario in SCENARIOS:
            progress.update(task, description=f"{scenario.name}: {scenario.says}")
            outcomes.append(judge(scenario, folder / scenario.name.replace(" ", "-")))
            progress.advance(task)
    return outcomes


def _told(outcomes: list[Outcome]) -> dict[str, Any]:
    from otel_research.capture.ledger import total

    return {
        "ok": all(outcome.is_ok for outcome in outcomes),
        "lost": sum(outcome.lost for outcome in outcomes),
        "scenarios": [outcome.to_dict() for outcome in outcomes],
        "ledger": total(outcome.ledger for outcome in outcomes).to_dict(),
    }
