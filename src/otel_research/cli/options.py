"""What the commands share: options, how an experiment is named, how a result is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from otel_research.errors import ConfigurationError, UnknownExperiment

if TYPE_CHECKING:
    from otel_research import Experiment, Selection
    from otel_research.analysis.result import Result
    from otel_research.experiments import ExperimentRecord
    from otel_research.store.library import Library

Decorated = Callable[..., Any]


def store_option(command: Decorated) -> Decorated:
    """--store: the store to read."""
    help_text = (
        "Store: disk:PATH, postgresql://…, s3://BUCKET/PREFIX. Default: OTEL_RESEARCH_STORE, else disk:.otel_research."
    )
    return click.option("--store", metavar="URL", default=None, help=help_text)(command)


def json_option(command: Decorated) -> Decorated:
    """--json: the same as JSON, on standard output and alone there."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def engine_option(command: Decorated) -> Decorated:
    """--engine: where the aggregations run."""
    help_text = "Where it is computed: polars, duckdb or a Spark Connect server, sc://HOST:PORT. Default: polars."
    return click.option("--engine", metavar="ENGINE", default=None, help=help_text)(command)


def where_option(command: Decorated) -> Decorated:
    """--where NAME=VALUE, repeatable."""
    help_text = "Only rows where a column has a value; may be given several times."
    return click.option("--where", metavar="COLUMN=VALUE", multiple=True, help=help_text)(command)


def where_mapping(tests: tuple[str, ...]) -> dict[str, Any] | None:
    """`--where condition=a --where is_call=true` as the mapping that the library takes."""
    from otel_research.spans import schema

    types = {column.name: column.type for column in schema.ALL}
    found: dict[str, Any] = {}
    for test in tests:
        name, equals, text = test.partition("=")
        if not equals:
            raise ConfigurationError(f"--where {test!r} is not COLUMN=VALUE. Example: --where condition=baseline.")
        found[name.strip()] = _value(name.strip(), text.strip(), types.get(name.strip(), "text"))
    return found or None


def _value(name: str, text: str, kind: str) -> Any:
    if text == "":
        return None
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        return {"int": int, "float": float, "text": str}[kind](text)
    except (ValueError, KeyError):
        raise ConfigurationError(f"--where {name}={text}: {name} is of type {kind}, and {text!r} is not.") from None


def library(store: str | None) -> Library:
    """The store's experiments, for reading: no recorder and no provider is set up."""
    from otel_research.context import environment
    from otel_research.store.library import Library

    return Library(store or environment().get("store"))


def record_of(opened: Library, wanted: str) -> ExperimentRecord:
    """The experiment that an id, the beginning of one, or a name means; the newest of several with a name."""
    from otel_research.store.wanted import meant

    records = opened.find(include_hidden=True)
    found = meant(records, wanted)
    if found:
        return found[-1]
    raise UnknownExperiment(
        f"no experiment {wanted!r} in {opened.url} ({len(records)} there). `otel-research ls` lists them."
    )


def experiment_of(store: str | None, wanted: str) -> Experiment:
    """The experiment as users hold it."""
    from otel_research.handle import Experiment

    opened = library(store)
    return Experiment(record_of(opened, wanted), opened)


def side_of(store: str | None, wanted: str) -> Experiment | Selection:
    """An experiment, or one condition of it: "ID" or "ID:condition"."""
    from otel_research.handle import Experiment
    from otel_research.selection import one_condition
    from otel_research.store.wanted import side

    home = library(store)
    opened, condition = side(wanted, lambda text: Experiment(record_of(home, text), home))
    return opened if condition is None else one_condition(opened, condition)


def print_result(result: Result, *, as_json: bool) -> None:
    """A result as text for people, or as the JSON that reads back."""
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(str(result))


def described(record: ExperimentRecord) -> dict[str, Any]:
    """The record as JSON data, with its times as text beside the nanoseconds."""
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(record)
    return {**plain, "started_at": _utc(record.started_ns), "stopped_at": _utc(record.stopped_ns)}


def _utc(ns: int | None) -> str | None:
    if ns is None:
        return None
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def print_json(value: Any) -> None:
    """One JSON document on standard output. NaN is not JSON, so it would be an error of ours."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str))
