"""Records and definitions to rows: the RAW columns of `spans.schema`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from otel_research.spans import schema, values
from otel_research.spans.record import (
    KINDS,
    STATUSES,
    Definition,
    Labels,
    SpanRecord,
    as_text,
    as_time,
    events_as_json,
    links_as_json,
)

if TYPE_CHECKING:
    import polars as pl

_EMPTY = Definition(number=-1, what="", name="", version=None, attributes=None)


class Definitions:
    """What the numbers of one segment's scopes and resources stand for."""

    def __init__(self) -> None:
        self._by_number: dict[int, Definition] = {}
        self._json: dict[int, str | None] = {}
        self.experiment = _EMPTY
        """Name and tags of the experiment, which its labels do not repeat."""

    def learn(self, definition: Definition) -> None:
        """Remember a definition; the copies that a segment repeats are equal."""
        self._by_number[definition.number] = definition
        if definition.what == "experiment":
            self.experiment = definition

    def get(self, number: int) -> Definition:
        """The definition, or an empty one where its frames were damaged: the span is data all the same."""
        return self._by_number.get(number, _EMPTY)

    def attributes_json(self, number: int) -> str | None:
        """The definition's attributes as JSON text, encoded once."""
        if number not in self._json:
            if number not in self._by_number:
                return None
            self._json[number] = _as_json(self.get(number).attributes)
        return self._json[number]

    def mapping(self, attributes: Any) -> Any:
        """A span's attributes with their keys again, where they were written as a shape's number and values.

        Without its definition (damaged twice) the values keep their place: "?0", "?1", ...
        """
        if type(attributes) is not list:
            return attributes
        number, *found = attributes
        keys = self.get(number).attributes or [f"?{place}" for place in range(len(found))]
        return dict(zip(keys, found, strict=True))

    def tagged(self, attributes: Any, labels: Labels) -> Any:
        """A start's attributes with the experiment's tags, which are put on the span after its start is written."""
        mapping = self.mapping(attributes)
        if mapping is None:
            mapping = {}
        if not isinstance(mapping, dict) or "experiment.id" in mapping:
            return mapping
        return {**mapping, **{key: value for key, value in self._tags(labels).items() if key not in mapping}}

    def _tags(self, labels: Labels) -> dict[str, Any]:
        """The attributes that `context.Scope.attributes` gives."""
        tags = {
            "experiment.id": labels.experiment_id,
            "experiment.name": self.experiment.name or None,
            "experiment.condition": labels.condition,
            "experiment.tags": self.experiment.attributes or None,
            "experiment.trial.id": labels.trial_id,
            "experiment.item.id": labels.item_id,
            "experiment.repetition": labels.repetition,
            "experiment.aside": labels.aside,
            "session.id": labels.session_id,
            **{f"experiment.factor.{name}": level for name, level in (labels.factors or {}).items()},
        }
        return {key: value for key, value in tags.items() if value is not None}


def to_frame(records: Iterable[tuple[SpanRecord, Definitions]], last_seen_ns: int | None = None) -> pl.DataFrame:
    """One row per record, RAW columns; the order of the records is kept.

    `last_seen_ns` goes to the rows of spans that never ended.
    """
    import polars as pl

    # JSON text of the factors repeats for every span of an arm: encode each distinct mapping once.
    factors: dict[tuple[Any, ...], str] = {}
    rows = [_row(record, definitions, factors, last_seen_ns) for record, definitions in records]
    columns = zip(*rows, strict=True) if rows else [() for _ in schema.RAW]
    types = schema.polars_schema(schema.RAW)
    return pl.DataFrame(
        [
            pl.Series(name, list(column), dtype=types[name], strict=True)
            for name, column in zip(schema.names(schema.RAW), columns, strict=True)
        ]
    )


def _row(
    record: SpanRecord,
    definitions: Definitions,
    factors: dict[tuple[Any, ...], str],
    last_seen_ns: int | None,
) -> tuple[Any, ...]:
    origin, state = record.origin, record.state
    labels = origin.labels
    scope = definitions.get(origin.scope)
    parent = origin.parent_span_id
    is_start = state.end_ns is None
    attributes = definitions.tagged(state.attributes, labels) if is_start else definitions.mapping(state.attributes)
    return (
        labels.experiment_id,
        labels.condition,
        labels.trial_id,
        labels.item_id,
        labels.repetition,
        labels.session_id,
        _factors(labels.factors, factors),
        labels.source,
        labels.aside,
        state.weight,
        origin.trace_id.hex(),
        origin.span_id.hex(),
        None if parent is None else parent.hex(),
        state.name if type(state.name) is str else as_text(state.name),
        KINDS[origin.kind],
        as_time(origin.start_ns),
        None if state.end_ns is None else as_time(state.end_ns),
        origin.mono_start_ns,
        state.mono_end_ns,
        last_seen_ns if is_start else None,
        STATUSES[state.status],
        state.status_message,
        scope.name,
        scope.version,
        definitions.attributes_json(origin.resource),
        bool(origin.is_sampled),
        _as_json(attributes) or "{}",
        _as_json(state.events, events_as_json),
        _as_json(state.links, links_as_json),
        *(state.dropped or (0, 0, 0)),
    )


def _factors(levels: dict[str, Any] | None, known: dict[tuple[Any, ...], str]) -> str | None:
    if not levels:
        return None
    try:
        key = tuple(levels.items())
        if key not in known:
            known[key] = values.to_json(levels)
        return known[key]
    except TypeError:  # an unhashable level, such as a list
        return values.to_json(levels)


def _as_json(content: Any, convert: Any = None) -> str | None:
    """JSON text of a free-form field; text is what the slow path of the encoder has already tagged."""
    if content is None or isinstance(content, str):
        return content
    return values.to_json(convert(content) if convert else content)
