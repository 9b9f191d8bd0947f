"""Received OTLP messages as rows: the same rows as an import of them gives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from otel_research.experiments import is_id
from otel_research.formats import otlp_proto
from otel_research.formats.otlp_json import Found
from otel_research.formats.otlp_rows import Row, Span, experiment_columns, score_row, span_row
from otel_research.journal.received import Received

SOURCE = "receiver"
"""`experiment_source` of rows that name no experiment themselves."""
_PREFIX = "experiment."
_logger = logging.getLogger("otel_research")


def rows_of(received: Received) -> Iterator[Row]:
    """The rows of a message, each with the experiment that it was accepted for."""
    for tags, found in _members(received):
        for origin, member in found:
            if isinstance(member, str):
                # The receiver has refused what cannot be read: this is a message of another version.
                _logger.warning("otel_research: in %s, received: %s", received.experiment_id, member)
                continue
            said = {**tags, **member.attributes}
            row = span_row(member, origin) if isinstance(member, Span) else score_row(member, origin)
            if tags or row.get("experiment_id") != received.experiment_id:
                row.update(_labels(said, row, received.experiment_id))
            yield row


def _members(received: Received) -> Iterator[tuple[dict[str, Any], Iterator[Found]]]:
    """(experiment tags of the resource, its spans or log records) by resource group."""
    if received.signal == "logs":
        logs = otlp_proto.logs_request(received.body)
        for group in logs.resource_logs:
            yield _tags(group), otlp_proto.logs_in(group)
        return
    for group in otlp_proto.spans_request(received.body).resource_spans:
        yield _tags(group), otlp_proto.spans_in(group)


def _tags(group: Any) -> dict[str, Any]:
    """A resource may name experiment and condition for all its spans: OTEL_RESOURCE_ATTRIBUTES is all some have."""
    found = otlp_proto.attributes(group.resource.attributes)
    return {key: value for key, value in found.items() if key.startswith(_PREFIX)}


def _labels(said: dict[str, Any], row: Row, owner: str) -> Row:
    """The experiment columns by everything that was said; what a replay kept aside stays."""
    if row.get("experiment_id") == owner and row.get("experiment_source") != "attributes":
        return {}
    told = said.get("experiment.id")
    labels = experiment_columns({**said, "experiment.id": owner})
    source = "attributes" if is_id(told) and told == owner else SOURCE
    return {**labels, "experiment_source": source}
