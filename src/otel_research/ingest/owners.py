"""Whose spans a message holds: the experiment that a span names, else its resource, else the receiver's default."""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec

from otel_research.experiments import is_id
from otel_research.ingest.signals import Signal

NAMES = "experiment.id"
SIDE = "otel_research.raw"
"""What a replay of ours keeps beside a span (see `formats.otlp`): it may know the experiment, and that it never ended."""
_MOST_TRACES = 100_000
_NOTHING: dict[str, Any] = {}


class Part(NamedTuple):
    """What one experiment gets of a message."""

    experiment_id: str | None
    """None: the default."""
    body: bytes
    ended: int
    interrupted: int
    name: str | None
    """What the experiment is called by its spans, where they say."""


class Sorted(NamedTuple):
    """A message, sorted."""

    parts: list[Part]
    refused: int
    """Members that cannot be stored."""


class Owners:
    """Sorts messages; remembers which experiment a trace belongs to, because evaluation results name only the trace."""

    def __init__(self) -> None:
        self._traces: OrderedDict[bytes, str] = OrderedDict()

    def sort(self, signal: Signal, message: Any, body: bytes | None) -> Sorted:
        """The parts of a message by experiment; the whole body is one, wherever it can be."""
        if body is None:
            body = message.SerializeToString()
        if NAMES.encode() in body or SIDE.encode() in body or (self._traces and signal.name == "logs"):
            return self._sorted(signal, message, body)
        is_storable, taken, refused = signal.is_storable, 0, 0
        for _, _, member in signal.each(message):
            if is_storable(member):
                taken += 1
            else:
                refused += 1
        if refused:
            return self._sorted(signal, message, body)
        return Sorted([Part(None, body, taken, 0, None)] if taken else [], 0)

    def _sorted(self, signal: Signal, message: Any, body: bytes) -> Sorted:
        lots: dict[str | None, _Lot] = {}
        refused = 0
        # A replay of ours says more than the id; looking for it takes every attribute of every span.
        tell = _told if SIDE.encode() in body else _named
        group_before, of_all = None, {}
        for group, scope, member in signal.each(message):
            if not signal.is_storable(member):
                refused += 1
                continue
            if group is not group_before:
                group_before, of_all = group, _told(group.resource.attributes)
            told = tell(member.attributes) or of_all
            owner = told.get(NAMES) or of_all.get(NAMES) or self._traces.get(member.trace_id)
            if signal.name == "traces" and owner is not None:
                self._remember(member.trace_id, owner)
            lot = lots.get(owner)
            if lot is None:
                name = (of_all | _told(member.attributes)).get("experiment.name")
                lot = lots[owner] = _Lot(signal, name)
            lot.take(group, scope, member, is_interrupted=told.get("status") == "interrupted")
        is_whole = len(lots) == 1 and not refused
        return Sorted([lot.part(owner, body if is_whole else None) for owner, lot in lots.items()], refused)

    def _remember(self, trace: bytes, owner: str) -> None:
        self._traces[trace] = owner
        if len(self._traces) > _MOST_TRACES:
            self._traces.popitem(last=False)


class _Lot:
    """The members of a message that belong to one experiment."""

    def __init__(self, signal: Signal, name: str | None) -> None:
        self._signal = signal
        self._name = name
        self._found: list[tuple[Any, Any, Any]] = []
        self._interrupted = 0

    def take(self, group: Any, scope: Any, member: Any, *, is_interrupted: bool) -> None:
        self._found.append((group, scope, member))
        self._interrupted += is_interrupted

    def part(self, owner: str | None, whole: bytes | None) -> Part:
        body = self._built() if whole is None else whole
        return Part(owner, body, len(self._found) - self._interrupted, self._interrupted, self._name)

    def _built(self) -> bytes:
        """A message of these members alone, in their groups."""
        signal = self._signal
        message = signal.request()()
        last_group: Any = None
        last_scope: Any = None
        for group, scope, member in self._found:
            if group is not last_group:
                made = getattr(message, signal.groups).add(schema_url=group.schema_url)
                made.resource.CopyFrom(group.resource)
                last_group, last_scope = group, None
            if scope is not last_scope:
                inner = getattr(made, signal.scopes).add(schema_url=scope.schema_url)
                inner.scope.CopyFrom(scope.scope)
                last_scope = scope
            getattr(inner, signal.members).append(member)
        built: bytes = message.SerializeToString()
        return built


def _named(attributes: Any) -> dict[str, Any]:
    """The experiment's id alone, where the attributes give a valid one: the usual way, and the quick one."""
    for pair in attributes:
        if pair.key == NAMES:
            return _as_told(pair.value.string_value)
    return _NOTHING


@functools.lru_cache(maxsize=4096)
def _as_told(named: str) -> dict[str, Any]:
    return {NAMES: named} if is_id(named) else _NOTHING


def _told(attributes: Any) -> dict[str, Any]:
    """What attributes say about the experiment: its id and name, and what a replay kept aside."""
    found: dict[str, Any] = {}
    for pair in attributes:
        key = pair.key
        if key == NAMES:
            if is_id(named := pair.value.string_value):
                found[NAMES] = named
        elif key == "experiment.name":
            found[key] = pair.value.string_value
        elif key == SIDE:
            found = _aside(pair.value.string_value) | found
    return found


def _aside(text: str) -> dict[str, Any]:
    try:
        kept = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    if not isinstance(kept, dict):
        return {}
    owner = kept.get("experiment_id")
    return {"status": kept.get("status")} | ({NAMES: owner} if is_id(owner) else {})
