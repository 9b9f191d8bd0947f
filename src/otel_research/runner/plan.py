"""Which trials there are to run, under which names and in which order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from otel_research.context import Scope
from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord
from otel_research.runner.designs import Condition
from otel_research.trial import Trial, item_text

ORDERS = ("interleaved", "random", "sequential")
ItemId = str | Callable[[Any], Any] | None
Key = tuple[str | None, str, int]


class Runs(Protocol):
    """What a run needs of an experiment."""

    @property
    def record(self) -> ExperimentRecord:
        """Its record."""

    def arm(self, condition: str, factors: Mapping[str, Any] | None = None) -> AbstractContextManager[Any]:
        """A block under a condition."""

    def aside(self, name: str) -> AbstractContextManager[Any]:
        """A block that is kept out of the numbers."""

    def trial(self, item: str | int | None = None, repetition: int = 0, **attributes: Any) -> Trial:
        """One trial."""

    def trials(self) -> Any:
        """One row per trial."""

    def spans(self, flatten: bool = False) -> Any:
        """One row per span."""

    def exclude(self, trial_or_where: Any, *, reason: str) -> None:
        """Take a trial out of the numbers."""

    def annotations(self) -> Sequence[dict[str, Any]]:
        """The experiment's notes."""

    def _annotate(self, note: dict[str, Any]) -> None: ...

    def _scope(self) -> Scope: ...

    def _check_recording(self) -> None: ...


@dataclass(frozen=True)
class Planned:
    """One trial that is to be run."""

    item: Any
    item_id: str
    condition: Condition | None
    repetition: int
    position: int
    """0-based place in the order of the whole plan."""

    def key(self, default: str | None) -> Key:
        """What makes it the same trial in another run; `default` is the condition around the run."""
        return (str(self.condition) if self.condition is not None else default, self.item_id, self.repetition)


def identified(items: Iterable[Any], item_id: ItemId) -> dict[str, Any]:
    """Items by their ids, in their order; raises `ConfigurationError` for an item without one, or an id twice."""
    if isinstance(items, Mapping):
        pairs = list(items.items()) if item_id is None else [(_id_of(v, item_id), v) for v in items.values()]
    elif isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise ConfigurationError(f"items is a list of things to try, got {items!r}.")
    else:
        rows = items.to_dicts() if hasattr(items, "to_dicts") else items
        pairs = [(_id_of(item, item_id), item) for item in rows]
    found: dict[str, Any] = {}
    for given, item in pairs:
        name = item_text(given)
        assert name is not None
        if name in found:
            raise ConfigurationError(
                f"two items have the id {name!r}. Give each its own with item_id=..., or use repetitions= for repeats."
            )
        found[name] = item
    if not found:
        raise ConfigurationError("items is empty, so there is no trial to run.")
    return found


def ordered(
    items: Mapping[str, Any], conditions: Sequence[Condition | None], repetitions: Iterable[int], order: str, seed: int
) -> list[Planned]:
    """Every trial of the plan in its order, the same for the same seed.

    "interleaved" shuffles the items of a repetition and, within each item, the conditions, so that the
    trials to be compared lie side by side; "random" shuffles all; "sequential" is one condition after another.
    """
    if order not in ORDERS:
        raise ConfigurationError(f"order={order!r}; use one of {', '.join(map(repr, ORDERS))}.")
    rng = random.Random(f"order|{seed}")
    found: list[tuple[str, Condition | None, int]] = []
    if order == "interleaved":
        for repetition in repetitions:
            for item in rng.sample(list(items), len(items)):
                found += [(item, condition, repetition) for condition in rng.sample(list(conditions), len(conditions))]
    else:
        found = [(i, c, r) for c in conditions for r in repetitions for i in items]
        if order == "random":
            rng.shuffle(found)
    return [Planned(items[item], item, condition, r, at) for at, (item, condition, r) in enumerate(found)]


def _id_of(item: Any, item_id: ItemId) -> Any:
    if callable(item_id):
        return item_id(item)
    if isinstance(item_id, str):
        return _field(item, item_id)
    if item_id is not None:
        raise ConfigurationError(f"item_id is the name of a field, or a function of an item, got {item_id!r}.")
    if isinstance(item, str) or (isinstance(item, int) and not isinstance(item, bool)):
        return item
    return _field(item, "id")


def _field(item: Any, name: str) -> Any:
    found = item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
    if found is None:
        raise ConfigurationError(
            f"the item {item!r:.80} has no {name!r}. Say what names it: item_id='field' or a function."
        )
    return found
