"""What a user declares about an experiment, checked and made a record."""

from __future__ import annotations

import operator
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex

import msgspec

from otel_research.capture.rules import Rules
from otel_research.errors import ConfigurationError
from otel_research.experiments import (
    ExperimentRecord,
    check_factors,
    check_json,
    check_label,
    check_name,
    check_text,
    new_id,
)

FORWARDS = ("sampled", "all", "none")
METRICS = ("latency", "cost", "tokens", "success_rate", "custom")
_DECLARED = ("hypothesis", "sample_size", "primary", "direction", "margin", "metrics", "study", "seed", "sampling_rate")
"""What a resumed experiment keeps as it was declared."""


def declared(arguments: Mapping[str, Any]) -> ExperimentRecord:
    """The record of a new experiment from the arguments of `start_experiment`.

    Raises `ConfigurationError` naming the argument that is wrong; nothing is stored then.
    """
    primary = _names("primary", arguments["primary"])
    # The rules check their own arguments; made here so that a bad one is refused before anything exists.
    Rules(
        event_filter=_callable("event_filter", arguments["event_filter"]),
        sampling_rate=arguments["sampling_rate"],
        sampling_strategy=_callable("sampling_strategy", arguments["sampling_strategy"]),
        on_error=lambda where, error: None,
    )
    return ExperimentRecord(
        id=new_id(),
        name=check_name(arguments["name"]),
        hypothesis=_text("hypothesis", arguments["hypothesis"]),
        condition=check_label("condition", arguments["condition"]),
        tags=_names("tags", arguments["tags"]),
        sample_size=_count("sample_size", arguments["sample_size"]),
        metadata=check_json("metadata", arguments["metadata"]),
        primary=primary,
        direction=_by_outcome("direction", arguments["direction"], primary, _direction),
        margin=_by_outcome("margin", arguments["margin"], primary, _margin),
        metrics=_metrics(arguments["metrics"]),
        study=check_label("study", arguments["study"]),
        factors=check_factors(arguments["factors"]),
        seed=_seed(arguments["seed"]),
        session_id=check_label("session_id", arguments["session_id"]),
        sampling_rate=arguments["sampling_rate"],
        forward=_forward(arguments["forward"]),
        started_ns=time.time_ns(),
    )


def _forward(value: Any) -> Any:
    if value is not None and value not in FORWARDS:
        raise ConfigurationError(f"forward is one of {', '.join(FORWARDS)} (or None), got {value!r}.")
    return value


def resumed(earlier: ExperimentRecord, now: ExperimentRecord) -> ExperimentRecord:
    """The earlier record, running again, with what this start says.

    Labels (condition, session, factors), tags and metadata may be new. What was declared before
    the data came may be left out or repeated, not changed: `ConfigurationError` names what differs.
    """
    for what in _DECLARED:
        said, before = getattr(now, what), getattr(earlier, what)
        if said not in (None, (), {}, before):
            raise ConfigurationError(
                f"experiment {earlier.name!r} ({earlier.id}) was declared with {what}={before!r} and cannot be resumed "
                f"with {what}={said!r}. Leave {what} out and say the change openly with exp.amend({what}=..., reason=...), "
                "or start a new experiment."
            )
    return msgspec.structs.replace(
        earlier,
        condition=now.condition or earlier.condition,
        session_id=now.session_id or earlier.session_id,
        forward=now.forward or earlier.forward,
        factors={**earlier.factors, **now.factors},
        tags=tuple(dict.fromkeys((*earlier.tags, *now.tags))),
        metadata={**earlier.metadata, **now.metadata},
        state="running",
        ended_by=None,
        stopped_ns=None,
        content_hash=None,
        is_hidden=False,
    )


def amended(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{name: [before, now]} of what a later word changes; raises `ConfigurationError` for a wrong one."""
    primary = _names("primary", now["primary"])
    outcomes = primary or tuple(before["primary"])
    said = {
        "hypothesis": _text("hypothesis", now["hypothesis"]),
        "sample_size": _count("sample_size", now["sample_size"]),
        "primary": primary,
        "direction": _by_outcome("direction", now["direction"], outcomes, _direction),
        "margin": _by_outcome("margin", now["margin"], outcomes, _margin),
    }
    changed = {name: [_listed(before[name]), _listed(new)] for name, new in said.items() if new not in (None, (), {})}
    return {name: pair for name, pair in changed.items() if pair[0] != pair[1]}


def _listed(value: Any) -> Any:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def checked_calculators(given: Any) -> tuple[Any, ...]:
    """The calculators, if each has a `name` and a `calculate`."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"custom_metrics is a list of calculators, got {given!r}.")
    calculators = tuple(given)
    for calculator in calculators:
        name = getattr(calculator, "name", None)
        if not isinstance(name, str) or not name or not callable(getattr(calculator, "calculate", None)):
            raise ConfigurationError(
                f"{calculator!r} in custom_metrics is not a calculator: it needs a `name` (text) and "
                "`calculate(spans: pl.LazyFrame) -> Mapping`."
            )
    return calculators


def checked_alerts(given: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """(rules, sinks) of what was given as `alerts`; nothing is imported where nothing was."""
    if not given:
        return (), ()
    from otel_research.alerts import rules, sinks

    several = (given,) if isinstance(given, rules.Rule) else tuple(given)
    found = tuple(one for one in several if isinstance(one, rules.Rule))
    others = sinks.checked(one for one in several if not isinstance(one, rules.Rule))
    if others and not found:
        raise ConfigurationError("alerts= has sinks but no rule: add one, for example alerts.Budget(5.00).")
    return found, others


def _text(what: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return check_text(what, value)
    raise ConfigurationError(f"{what} is text, got {value!r} ({type(value).__name__}).")


def _seed(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, bool) and isinstance(value, SupportsIndex):
        return operator.index(value)
    raise ConfigurationError(f"seed is a whole number, got {value!r}.")


def _names(what: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, Sequence | set | frozenset) and all(isinstance(item, str) and item.strip() for item in value):
        return tuple(dict.fromkeys(check_text(what, item) for item in value))
    raise ConfigurationError(f"{what} is a list of names, got {value!r}.")


def _count(what: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, bool) and isinstance(value, SupportsIndex) and operator.index(value) > 0:
        return operator.index(value)
    raise ConfigurationError(f"{what} is a whole number above 0 (per condition, in units of analysis), got {value!r}.")


def _callable(what: str, value: Any) -> Any:
    if value is None or callable(value):
        return value
    raise ConfigurationError(f"{what} is called with each ended span, got {value!r}, which is not callable.")


def _by_outcome(what: str, value: Any, primary: tuple[str, ...], check: Any) -> dict[str, Any]:
    """One value for every primary outcome, or a mapping from outcome to value."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(outcome): check(item) for outcome, item in value.items()}
    if not primary:
        raise ConfigurationError(f"{what}={value!r} needs primary=..., or a mapping from outcome to {what}.")
    return {outcome: check(value) for outcome in primary}


def _direction(value: Any) -> str:
    if value in ("lower", "higher"):
        return str(value)
    raise ConfigurationError(f"direction is 'lower' or 'higher' (what is better), got {value!r}.")


def _margin(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise ConfigurationError(f"margin is a number above 0 in the outcome's unit, got {value!r}.")


def _metrics(value: Any) -> dict[str, Any]:
    toggles = check_json("metrics", value)
    unknown = sorted(set(toggles) - set(METRICS))
    if unknown:
        raise ConfigurationError(f"metrics={{{unknown[0]!r}: ...}} is not known; known are {', '.join(METRICS)}.")
    for name in METRICS[:-1]:
        if name in toggles and not isinstance(toggles[name], bool):
            raise ConfigurationError(f"metrics[{name!r}] is True or False, got {toggles[name]!r}.")
    return toggles
