"""What one process tells another about an experiment: `OTEL_RESEARCH_*` variables, in and out.

Reading checks every value and names the variable that is wrong; writing gives every variable
that matters, the empty ones too where the environment has another value (empty means unset).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from otel_research.context import ENV_PREFIX, NEW_TRIAL, Scope, environment, scope_of
from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord, check_factors, check_id, check_label, check_name

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment by name (to start) or by id (to join), where it is stored, and the labels that hold."""

    experiment: str | None = None
    experiment_id: str | None = None
    store: str | None = None
    condition: str | None = None
    tags: tuple[str, ...] = ()
    session: str | None = None
    trial: str | None = None
    item: str | None = None
    repetition: int | None = None
    factors: dict[str, Any] = {}
    aside: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Carried:
        """What the environment (or a mapping like it) says.

        Raises `ConfigurationError` naming the variable whose value is wrong.
        """
        said = environment(environ)
        return cls(**{name: _checked(name, said[name]) for name in cls.__struct_fields__ if name in said})

    @classmethod
    def of(cls, scope: Scope, store: str | None) -> Carried:
        """The labels that hold in a scope."""
        return cls(
            experiment_id=scope.experiment_id,
            store=store,
            condition=scope.condition,
            session=scope.session_id,
            trial=None if scope.trial_id == NEW_TRIAL else scope.trial_id,
            item=scope.item_id,
            repetition=scope.repetition,
            factors=dict(scope.factors),
            aside=scope.aside,
        )

    def written(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables that say this, to be laid over `environ` (default: the environment)."""
        there = os.environ if environ is None else environ
        told = {_variable(name): _text(getattr(self, name)) for name in self.__struct_fields__}
        return {variable: value for variable, value in told.items() if value or variable in there}

    def scope(self, record: ExperimentRecord, source: str) -> Scope:
        """The experiment's own scope with these labels over it."""
        own = scope_of(record, source)
        return own.having(
            tags=tuple(dict.fromkeys((*own.tags, *self.tags))),
            condition=self.condition or own.condition,
            session_id=self.session or own.session_id,
            trial_id=self.trial,
            item_id=self.item,
            repetition=self.repetition,
            factors=tuple({**dict(own.factors), **self.factors}.items()),
            aside=self.aside,
        )


def flag(variable: str, value: str) -> bool:
    """A variable that is on or off."""
    if value.strip().lower() in TRUE:
        return True
    if value.strip().lower() in FALSE:
        return False
    raise ConfigurationError(f"{ENV_PREFIX}{variable.upper()}={value!r} is neither on (1, true) nor off (0, false).")


def _variable(name: str) -> str:
    return ENV_PREFIX + name.upper()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode() if value else ""
    return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


def _checked(name: str, value: str) -> Any:
    try:
        return _READERS.get(name, _label)(value)
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError(f"{_variable(name)}={value!r} cannot be used: {error}") from error


def _label(value: str) -> str | None:
    return check_label("it", value)


def _tags(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag.strip() for tag in value.split(",") if tag.strip()))


def _factors(value: str) -> dict[str, Any]:
    try:
        return check_factors(msgspec.json.decode(value, type=dict[str, Any]))
    except msgspec.DecodeError as error:
        raise ConfigurationError(f'it is a JSON object such as {{"size": 7}} ({error}).') from None


def _repetition(value: str) -> int:
    if not value.strip().isdecimal():
        raise ConfigurationError("it is a whole number from 0.")
    return int(value)


_READERS: dict[str, Callable[[str], Any]] = {
    "experiment": check_name,
    "experiment_id": check_id,
    "store": str,
    "tags": _tags,
    "factors": _factors,
    "repetition": _repetition,
}
