"""The experiment record: what is declared about a run, frozen at every step.

A change of state is a new record (`msgspec.structs.replace`), never a mutation, so
that whoever holds one holds the truth of that moment. The record is JSON on disk
(`experiment.json`) and readable without this package.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from otel_research.errors import ConfigurationError

State = Literal["running", "stopped", "archived"]
EndedBy = Literal["user", "crash"]

NAME_LIMIT = 200
_PATH_LIKE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.+$")
_ID = re.compile(r"[0-9a-f]{8,64}")


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


def check_id(experiment_id: object) -> str:
    """The id, if it can be one; it becomes a folder's name, so nothing else passes."""
    if isinstance(experiment_id, str) and _ID.fullmatch(experiment_id):
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
    if len(name) > NAME_LIMIT:
        raise ConfigurationError(
            f"the experiment name has {len(name)} characters, at most {NAME_LIMIT} are allowed; "
            "put the rest into `hypothesis` or `metadata`."
        )
    return name


def check_json(what: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The mapping as plain JSON data, or an error that names the key which is not."""
    checked: dict[str, Any] = {}
    for key, value in (values or {}).items():
        if not isinstance(key, str):
            raise ConfigurationError(f"{what} keys are text, got {key!r} ({type(key).__name__}).")
        checked[key] = _plain(what, key, value)
    return checked


def _plain(what: str, key: str, value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ConfigurationError(f"{what}[{key!r}] is {value!r}, which JSON cannot hold; use None or text.")
        return value
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
