"""Every error this package raises on purpose, in one tree.

    ResearchError
    ├── ConfigurationError        a setting is wrong or contradicts an earlier one
    ├── ExperimentError
    │   ├── UnknownExperiment     no experiment has that id
    │   ├── ExperimentStopped     the experiment no longer takes spans
    │   └── ExperimentRunning     the call needs a stopped experiment, or another one runs
    ├── StoreError
    │   ├── StoreClosed           append after close
    │   ├── StoreFull             no room, and the policy says to raise
    │   └── StoreUnreachable      it does not answer now; what is to be stored waits in the local journal
    ├── PushFailed                an OTLP endpoint does not take the spans
    ├── ArchiveError              an archive is damaged, incomplete or not one
    ├── NotEnoughData             a result was asked for that the data cannot give
    ├── BudgetExceeded            a budget rule with action="stop" fired
    └── MissingExtra              an optional dependency is not installed

A message says what happened, to which named thing, and what to do next.
Errors of other libraries are mapped at the seam, with `from exc`.
"""

from __future__ import annotations


def told(error: BaseException) -> str:
    """What a user's error says; one whose text cannot be had must not take the place of the first."""
    try:
        return str(error)
    except Exception as second:
        return f"(its text cannot be told: {type(second).__name__})"


class ResearchError(Exception):
    """Base of every error raised on purpose by otel_research."""


class ConfigurationError(ResearchError, ValueError):
    """A setting is wrong, or contradicts one made earlier."""


class ExperimentError(ResearchError):
    """Something is wrong with an experiment's life."""


class UnknownExperiment(ExperimentError, LookupError):
    """No experiment has that id."""


class ExperimentStopped(ExperimentError):
    """The experiment no longer takes spans."""


class ExperimentRunning(ExperimentError):
    """The call needs a stopped experiment, or another experiment runs already."""


class StoreError(ResearchError):
    """A store could not do what was asked."""


class StoreClosed(StoreError):
    """Something was appended to a closed store."""


class StoreFull(StoreError):
    """There is no room, and the policy says to raise."""


class StoreUnreachable(StoreError):
    """A store does not answer now; what is to be stored waits in the local journal."""


class PushFailed(ResearchError):
    """An OTLP endpoint does not take the spans. What it has taken is remembered: the same command goes on there."""


class ArchiveError(ResearchError):
    """An archive is damaged, incomplete or not one."""


class NotEnoughData(ResearchError):
    """The data cannot give the result that was asked for; the message says why."""


class BudgetExceeded(ResearchError):
    """A budget rule with action="stop" fired."""


class MissingExtra(ResearchError, ImportError):
    """An optional dependency is not installed; the message names the extra."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Run: pip install 'otel-research[{extra}]'")
        self.package = package
        self.extra = extra
