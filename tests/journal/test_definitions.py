"""A number is written only where its definition is: what it stands for is never lost."""

from __future__ import annotations

import errno
import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import otel_research as otr
from otel_research.journal.log import Log
from otel_research.journal.segment import Segment
from otel_research.testing import recording

MANY = {f"a.long.attribute.key.name.number.{number:03d}.{'x' * 30}": number for number in range(20)}


def full(*_: Any) -> Segment:
    raise OSError(errno.ENOSPC, "no space left")


def fill(exp: otr.Experiment, tracer: Any, left: int) -> Log:
    """Fill the current segment up to `left` bytes, and let no other be opened."""
    tracer.start_span("first").end()
    assert exp._capture is not None
    log = exp._capture.log
    while log._segment.size - log._segment.at > left:
        tracer.start_span("fill").end()
    return log


def test_no_span_is_stored_with_keys_that_nothing_defines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A set of many keys gets its number once its definition is written; without room for it the span is lost, and counted."""
    caplog.set_level(logging.CRITICAL, logger="otel_research")
    with recording(f"disk:{tmp_path}", overload="refuse", starts=False) as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("keys") as exp:
            log = fill(exp, tracer, left=900)
            opened, log._opener._open_segment = log._opener._open_segment, full
            for _ in range(2):
                tracer.start_span("without room", attributes=MANY).end()
            log._opener._open_segment, log._opener._refusal = opened, None
            tracer.start_span("with room", attributes=MANY).end()
            live = exp.spans().collect()
        sealed = exp.spans().collect()
        assert exp.ledger().lost == {"full": 2}
        assert exp.ledger().stored == sealed.height
    for rows in (live, sealed):
        said = {name: json.loads(text) for name, text in rows.select("name", "attributes").rows() if "room" in name}
        assert list(said) == ["with room"]
        assert {key: said["with room"].get(key) for key in MANY} == MANY


def test_a_scope_whose_definition_has_no_room_is_known_where_its_spans_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its spans go to a segment that begins with the definition, or are counted as lost; none is without its scope."""
    caplog.set_level(logging.CRITICAL, logger="otel_research")
    with recording(f"disk:{tmp_path}", overload="refuse", starts=False) as (_, provider):
        tracer = provider.get_tracer("app")
        other = provider.get_tracer("other", attributes={"described": "d" * 1500})
        with otr.experiment("scopes") as exp:
            log = fill(exp, tracer, left=1000)
            opened, log._opener._open_segment = log._opener._open_segment, full
            other.start_span("without room").end()
            log._opener._open_segment = opened
            log._opener._refusal = None
            other.start_span("with room").end()
        found = exp.spans().filter(pl.col("name").str.contains("room")).collect()
        assert found.select("name", "scope").rows() == [("with room", "other")]
        assert exp.ledger().lost == {"full": 1}


def test_a_number_is_known_to_other_threads_only_once_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can use it before a reader can understand it."""
    known: list[int] = []
    put = Log._put

    def look(log: Log, kind: int, payload: bytes) -> None:
        known.append(len(log.numbers.shapes))
        put(log, kind, payload)

    with recording(f"disk:{tmp_path}", starts=False) as (_, provider), otr.experiment("order") as exp:
        tracer = provider.get_tracer("app")
        tracer.start_span("first").end()
        monkeypatch.setattr(Log, "_put", look)
        tracer.start_span("many", attributes=MANY).end()
        assert exp._capture is not None
        assert (known, len(exp._capture.log.numbers.shapes)) == ([0], 1)
