"""Records and definitions to rows: the RAW columns of `spans.schema`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from otel_research.spans import schema, values
from otel_research.spans.record import KINDS, STATUSES, Definition, SpanRecord, events_as_json, links_as_json

if TYPE_CHECKING:
    import polars as pl

_EMPTY = Definition(number=-1, what="", name="", version=None, attributes=None)


class Definitions:
    """What the numbers of one segment's scopes and resources stand for."""

    def __init__(self) -> None:
        self._by_number: dict[int, Definition] = {}
        self._json: dict[int, str | None] = {}

    def learn(self, definition: Definition) -> None:
        """Remember a definition; the copies that a segment repeats are equal."""
        self._by_number[definition.number] = definition

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
    labels = record.labels
    scope = definitions.get(record.scope)
    parent = record.parent_span_id
    dropped = record.dropped or (0, 0, 0)
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
        record.weight,
        record.trace_id.hex(),
        record.span_id.hex(),
        None if parent is None else parent.hex(),
        record.name,
        KINDS[record.kind],
        record.start_ns,
        record.end_ns,
        record.mono_start_ns,
        record.mono_end_ns,
        last_seen_ns if record.end_ns is None else None,
        STATUSES[record.status],
        record.status_message,
        scope.name,
        scope.version,
        definitions.attributes_json(record.resource),
        bool(record.is_sampled),
        _as_json(record.attributes) or "{}",
        _as_json(record.events, events_as_json),
        _as_json(record.links, links_as_json),
        *dropped,
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
