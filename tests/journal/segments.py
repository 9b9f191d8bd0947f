"""Segments made by hand: what a process left, frame by frame."""

from __future__ import annotations

from pathlib import Path

import msgspec

from otel_research.journal import frame
from otel_research.journal.frame import framed, preamble, seeds_of
from otel_research.journal.log import Log
from otel_research.journal.segment import Segment, WrittenSegment
from otel_research.journal.writer import Writer, _host
from otel_research.spans.record import Definition, encode_msgpack
from otel_research.store.tail import segment_name

DEAD = Writer(host=_host(), pid=2**22 - 7, process_start=1, token="dead")
"""A process that is gone."""
EXPERIMENT = "e" * 32
BEGAN = 1_700_000_000_000_000_000


def ids(number: int) -> tuple[bytes, bytes]:
    """(trace id, span id) of the span with this number."""
    return (number + 1).to_bytes(16, "big"), (number + 1).to_bytes(8, "big")


def origin(number: int, experiment_id: str = EXPERIMENT) -> bytes:
    """The first part of both frames of a span."""
    labels = msgspec.Raw(encode_msgpack((experiment_id, "a", None, None, None, None, None, "context", None)))
    began = BEGAN + number * 1_000_000
    return encode_msgpack((*ids(number), None, labels, 0, 1, 0, began, began, 1))


def start(number: int, text: str = "x") -> bytes:
    """The payload of a span's start."""
    return origin(number) + encode_msgpack(("chat", {"number": number, "text": text}))


def end(number: int, text: str = "x") -> bytes:
    """The payload of its end, a millisecond later."""
    ended = BEGAN + number * 1_000_000 + 1_000_000
    fields = ("chat", {"number": number, "text": text}, ended, ended, 0, None, 1.0)
    return origin(number) + encode_msgpack(fields)


def preface() -> list[tuple[int, bytes]]:
    """What a segment begins with: who writes, the scope, the resource."""
    return [
        (frame.META, encode_msgpack(DEAD)),
        (frame.DEFINITION, encode_msgpack(Definition(0, "scope", "app", "1", {}))),
        (frame.DEFINITION, encode_msgpack(Definition(1, "resource", "", None, {"service.name": "s"}))),
    ]


def segment(name: str, content: list[tuple[int, bytes]]) -> tuple[bytes, list[tuple[int, int]]]:
    """(the bytes of a segment with these frames, where each begins and ends)."""
    data, places = bytearray(preamble(name)), []
    for kind, payload in content:
        begin = len(data)
        data += framed(kind, payload, seeds_of(name))
        places.append((begin, len(data)))
    return bytes(data), places


def log_in(folder: Path, writer: Writer = DEAD, **sizes: int) -> Log:
    """A log that writes into the journal of a disk store's experiment, as another process would."""

    def open_segment(by: Writer, index: int, size: int) -> Segment:
        folder.mkdir(parents=True, exist_ok=True)
        return WrittenSegment(folder / segment_name(by.name, index), size)

    log = Log(open_segment, on_rolled=lambda segment: segment.finish(), **sizes)
    log.writer = writer
    return log
