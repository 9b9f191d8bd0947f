"""The experiment record: what is declared about a run, frozen at every step.

A change of state is a new record (`msgspec.structs.replace`), never a mutation, so
that whoever holds one holds the truth of that moment. The record is JSON on disk
(`experiment.json`) and readable without this package.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Literal, TypeGuard

import msgspec

from otel_research.errors import ConfigurationError

State = Literal["running", "stopped", "archived"]
EndedBy = Literal["user", "crash"]

STAND_IN = "exporter"
"""`environment["source"]` of a record made for spans that came without one: it gives way to a declared one."""
UNASKED = "is_unasked"
"""`environment[UNASKED]`: made while the store was away, so that nobody could ask whether it has one, which counts then."""

NAME_LIMIT = 200
_PATH_LIKE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.+$")
_ID = re.compile(r"[0-9a-f]{8,64}")
_INT64 = range(-(2**63), 2**63)


class ExperimentRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Everything declared about one experiment and what became of it."""

    id: str
    name: str
    hypothesis: str | None = None
    condition: str | None = None
    tags: tuple[str, ...] = ()
    state: State = "running"
    ended_by: EndedBy | None = None
    sample_size: int | None = None
    """Declared n per condition, in units of analysis."""
    metadata: dict[str, Any] = {}
    primary: tuple[str, ...] = ()
    """Names of the declared outcomes: the family that Holm corrects over."""
    direction: dict[str, str] = {}
    """outcome -> "lower" | "higher" is better."""
    margin: dict[str, float] = {}
    """outcome -> equivalence margin, in the outcome's own unit."""
    metrics: dict[str, Any] = {}
    study: str | None = None
    factors: dict[str, Any] = {}
    seed: int | None = None
    session_id: str | None = None
    sampling_rate: float | None = None
    forward: Literal["sampled", "all", "none"] | None = None
    """Which of its spans go on to the program's backends; None: what `configure(forward_all=)` says."""
    is_unweighted: bool = False
    """A yes/no sampling strategy hides its probabilities: results are flagged, not corrected."""
    content: str = "full"
    started_ns: int = 0
    stopped_ns: int | None = None
    environment: dict[str, Any] = {}
    content_hash: str | None = None
    """SHA-256 over the stored rows, set when the experiment is sealed."""
    is_hidden: bool = False
    ledger: dict[str, Any] = {}
    """The experiment's ledger as of its last flush (see `otel_research.Ledger`)."""
    format_version: int = 1


def new_id() -> str:
    """A fresh experiment id: 32 lower-case hex digits, never from the global `random`."""
    return secrets.token_hex(16)


def is_id(experiment_id: object) -> TypeGuard[str]:
    """Whether it can be an experiment's id: it becomes a folder's name, so nothing else passes."""
    return isinstance(experiment_id, str) and _ID.fullmatch(experiment_id) is not None


def check_id(experiment_id: object) -> str:
    """The id, if it can be one."""
    if is_id(experiment_id):
        return experiment_id
    raise ConfigurationError(
        f"{experiment_id!r} is not an experiment id (8 to 64 lower-case hex digits). "
        "`otel-research ls` lists the ids of a store."
    )


def check_name(name: object) -> str:
    """The experiment's name, or a clear refusal of an empty, overlong or path-like one."""
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(
            f"an experiment needs a name that says what it is, got {name!r}. "
            'Example: start_experiment("prompt-v2-vs-v3").'
        )
    if _PATH_LIKE.search(name):
        raise ConfigurationError(
            f"the experiment name {name!r} looks like a path or holds control characters. "
            "Use words, digits, spaces, '-', '_', '.' or ':'."
        )
    check_text("the experiment name", name)
    if len(name) > NAME_LIMIT:
        raise ConfigurationError(
            f"the experiment name has {len(name)} characters, at most {NAME_LIMIT} are allowed; "
            "put the rest into `hypothesis` or `metadata`."
        )
    return name


def check_text(what: str, value: str) -> str:
    """The text, if UTF-8 can hold it: a lone surrogate could neither be stored nor shown."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{what}={value!r} holds a lone surrogate, which UTF-8 cannot store.") from None
    return str.__str__(value)


def check_label(what: str, value: object) -> str | None:
    """A name that spans carry (condition, session, ...): text that says something, or None."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{what} is text that names something, got {value!r}.")
    return check_text(what, value)


def check_factors(levels: Mapping[str, Any] | None) -> dict[str, Any]:
    """Factor levels: {name: text, number or boolean}. Every span of the arm carries them."""
    checked = check_json("factors", levels)
    for name, level in checked.items():
        if not isinstance(level, (str, bool, int, float)) or (isinstance(level, int) and level not in _INT64):
            raise ConfigurationError(f"factors[{name!r}] is {level!r}; a level is text, a number or a boolean.")
    return checked


def check_json(what: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The mapping as plain JSON data, or an error that names the key which is not."""
    if values is not None and not isinstance(values, Mapping):
        raise ConfigurationError(f"{what} is a mapping such as {{'key': 'value'}}, got {values!r}.")
    checked: dict[str, Any] = {}
    for key, value in (values or {}).items():
        if not isinstance(key, str):
            raise ConfigurationError(f"{what} keys are text, got {key!r} ({type(key).__name__}).")
        checked[check_text(f"a key of {what}", key)] = _plain(what, key, value)
    return checked


def _plain(what: str, key: str, value: Any) -> Any:
    """The value in JSON's own types: subclasses (enumerations, NumPy's float64) as what they are based on."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(f"{what}[{key!r}]", value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ConfigurationError(f"{what}[{key!r}] is {value!r}, which JSON cannot hold; use None or text.")
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(what, key, item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(what, f"{key}.{name}", item) for name, item in value.items()}
    raise ConfigurationError(
        f"{what}[{key!r}] is a {type(value).__name__}, which is not JSON. Convert it first, for example with str(...)."
    )


def has_tag(tags: tuple[str, ...], wanted: str) -> bool:
    """Hierarchical match: "dataset" matches "dataset" and "dataset:mmlu"; "dataset:mmlu" only itself and below."""
    return any(tag == wanted or tag.startswith(wanted + ":") for tag in tags)
