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


Row = dict[str, Any]
"""The RAW columns of a span by name; one that is missing is null."""


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
        keys = self.get(number).attributes
        if type(keys) is not list or len(keys) != len(found):
            keys = [f"?{place}" for place in range(len(found))]
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


Pair = tuple[SpanRecord, Definitions]
"""A journaled record and what its numbers stand for."""


def to_frame(records: Iterable[Pair | Row], last_seen_ns: int | None = None) -> pl.DataFrame:
    """One row per record, RAW columns; the order of the records is kept, and finished rows come after them.

    `last_seen_ns` goes to the rows of spans that never ended.
    """
    import polars as pl

    pairs: list[Pair] = []
    rows: list[Row] = []
    for found in records:
        if type(found) is dict:
            rows.append(found)
        else:
            pairs.append(found)  # type: ignore[arg-type]
    types = schema.polars_schema(schema.RAW)
    columns = _columns(pairs, last_seen_ns)
    frame = pl.DataFrame([_series(name, columns[name], types[name]) for name in schema.names(schema.RAW)])
    return pl.concat([frame, from_rows(rows)]) if rows else frame


def from_rows(rows: list[Row]) -> pl.DataFrame:
    """Rows that are mappings already as a frame with exactly the RAW columns, in their order."""
    import polars as pl

    types = schema.polars_schema(schema.RAW)
    return pl.DataFrame(
        [pl.Series(name, [row.get(name) for row in rows], dtype=dtype, strict=True) for name, dtype in types.items()]
    )


def _series(name: str, column: list[Any], dtype: Any) -> pl.Series:
    import polars as pl

    try:
        return pl.Series(name, column, dtype=dtype, strict=True)
    except (TypeError, OverflowError):
        if name not in ("start_ns", "end_ns"):
            raise
        # A time that was reported as a float, or beyond 64 bits.
        return pl.Series(name, [None if time is None else as_time(time) for time in column], dtype=dtype, strict=True)


def _columns(pairs: list[tuple[SpanRecord, Definitions]], last_seen_ns: int | None) -> dict[str, list[Any]]:
    """The RAW columns, one after another: a column costs less than the same values row by row."""
    origins = [record.origin for record, _ in pairs]
    states = [record.state for record, _ in pairs]
    labels = [origin.labels for origin in origins]
    scopes = [definitions.get(record.origin.scope) for record, definitions in pairs]
    dropped = [state.dropped or (0, 0, 0) for state in states]
    # JSON text of the factors repeats for every span of an arm: encode each distinct mapping once.
    factors: dict[tuple[Any, ...], str] = {}
    return {
        "experiment_id": [label.experiment_id for label in labels],
        "condition": [label.condition for label in labels],
        "trial_id": [label.trial_id for label in labels],
        "item_id": [label.item_id for label in labels],
        "repetition": [label.repetition for label in labels],
        "session_id": [label.session_id for label in labels],
        "factors": [_factors(label.factors, factors) for label in labels],
        "experiment_source": [label.source for label in labels],
        "aside": [label.aside for label in labels],
        "sample_weight": [state.weight for state in states],
        "trace_id": [origin.trace_id.hex() for origin in origins],
        "span_id": [origin.span_id.hex() for origin in origins],
        "parent_span_id": [parent.hex() if (parent := origin.parent_span_id) else None for origin in origins],
        "name": [name if type(name := state.name) is str else as_text(name) for state in states],
        "kind": [KINDS[origin.kind] for origin in origins],
        "start_ns": [origin.start_ns for origin in origins],
        "end_ns": [state.end_ns for state in states],
        "mono_start_ns": [origin.mono_start_ns for origin in origins],
        "mono_end_ns": [state.mono_end_ns for state in states],
        "last_seen_ns": [last_seen_ns if state.end_ns is None else None for state in states],
        "status": [STATUSES[state.status] for state in states],
        "status_message": [state.status_message for state in states],
        "scope": [scope.name for scope in scopes],
        "scope_version": [scope.version for scope in scopes],
        "resource": [definitions.attributes_json(record.origin.resource) for record, definitions in pairs],
        "is_sampled": [bool(origin.is_sampled) for origin in origins],
        "attributes": _attributes(pairs),
        "events": [_as_json(state.events, events_as_json) for state in states],
        "links": [_as_json(state.links, links_as_json) for state in states],
        "dropped_attributes": [counts[0] for counts in dropped],
        "dropped_events": [counts[1] for counts in dropped],
        "dropped_links": [counts[2] for counts in dropped],
    }


def _attributes(pairs: list[tuple[SpanRecord, Definitions]]) -> list[str]:
    """The attributes of each as JSON text; text is what the slow path of the encoder has already tagged."""
    found = [_mapping(record, definitions) for record, definitions in pairs]
    texts = iter(values.to_json_each([each for each in found if type(each) is not str]))
    return [each if type(each) is str else next(texts) for each in found]


def _mapping(record: SpanRecord, definitions: Definitions) -> Any:
    state = record.state
    if state.end_ns is None:
        return definitions.tagged(state.attributes, record.origin.labels)
    given = state.attributes
    return given if type(given) is dict else definitions.mapping(given) or {}


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
