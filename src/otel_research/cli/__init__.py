"""`otel-research`: one file per command, loaded when it is called.

Exit codes: 0 fine, 1 a gate failed (worse, damaged, lost), 2 wrong use, 3 inconclusive or invalid.
"""

from __future__ import annotations

import importlib
import keyword
from typing import Any

import click

from otel_research.environment import installed_version
from otel_research.errors import NotEnoughData, ResearchError

__all__ = ["COMMANDS", "main"]

COMMANDS = (
    "demo",
    "run",
    "ls",
    "show",
    "stop",
    "metrics",
    "compare",
    "anova",
    "study",
    "power",
    "series",
    "watch",
    "serve",
    "validate",
    "report",
    "export",
    "import",
    "push",
    "reprice",
    "doctor",
    "selftest",
    "archive",
    "verify",
    "restore",
    "erase",
    "cleanup",
)
"""Each is a module of this folder that holds a click command called `command`; `import_` for a word of Python's."""

WRONG_USE, INCONCLUSIVE = 2, 3


class Commands(click.Group):
    """The group: imports a command's module only when it is asked for, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a session, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command's object; None lets click say what there is instead."""
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"otel_research.cli.{name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a `ResearchError` says what to do, so a traceback would only hide it."""
        try:
            return super().invoke(ctx)
        except ResearchError as error:
            click.echo(f"otel-research: {error}", err=True)
            ctx.exit(INCONCLUSIVE if isinstance(error, NotEnoughData) else WRONG_USE)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version=installed_version(), prog_name="otel-research")
def main() -> None:
    """Turn any OpenTelemetry-instrumented Python program into an experiment.

    Start with `otel-research demo`.
    """
