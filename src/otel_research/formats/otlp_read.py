"""Read OTLP files: JSON or protobuf, plain or gzip, from a path or a stream.

    for frame in read_frames("spans.jsonl", on_skip=skipped.append):
        store.append(frame)

What cannot be read is told to `on_skip`, one `Skipped` each with its line, and the rest is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import polars as pl

from otel_research.errors import ConfigurationError
from otel_research.formats import otlp_json, otlp_proto
from otel_research.formats.input import HEAD, Peekable
from otel_research.formats.otlp_rows import EVALUATION, Log, Row, batches, score_row, span_row

BATCH = 10_000
_ZSTD = b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"


class Skipped(NamedTuple):
    """Something that was not imported.

    `line` is the line of a JSON file (1 is the first), or the number of the resource group in a
    protobuf file; `records` is how many spans or records it was, where that is known.
    """

    line: int
    reason: str
    records: int = 1


OnSkip = Callable[[Skipped], None]
Take = Callable[[int, Any, OnSkip], Iterator[Row]]


def read_frames(source: str | Path | IO[bytes], *, on_skip: OnSkip, batch: int = BATCH) -> Iterator[pl.DataFrame]:
    """Frames with exactly the RAW columns, at most `batch` rows each, in the order of the file.

    `source` is a path or a binary stream (`sys.stdin.buffer`). JSON is one export request per
    line or one document; protobuf is one message or a stream of length-delimited ones. Spans
    become rows as they are; a log record that is a `gen_ai.evaluation.result` becomes a score
    row below the span it points at. Everything else goes to `on_skip`.
    Raises `ConfigurationError` where the source cannot be opened.
    """
    with opened(source) as stream:
        yield from batches(rows(Peekable(stream), on_skip), batch)


def opened(source: str | Path | IO[bytes]) -> Any:
    """The source as a context that gives a binary stream, and closes what it opened itself."""
    if not isinstance(source, str | Path):
        return nullcontext(source)
    try:
        return Path(source).open("rb")
    except OSError as exc:
        raise ConfigurationError(f"{source} cannot be read: {exc.strerror or exc}. Give a file with OTLP.") from exc


def otlp_rows(line: int, document: Any, on_skip: OnSkip) -> Iterator[Row]:
    """The rows of one JSON document of OTLP."""
    yield from _taken(line, otlp_json.read(document), on_skip)


def rows(stream: Peekable, on_skip: OnSkip, take: Take = otlp_rows) -> Iterator[Row]:
    """The rows of a stream; `take` reads one JSON document, and may know others than OTLP."""
    head = stream.head()
    if head.startswith(_ZSTD):
        on_skip(Skipped(1, "the file is compressed with zstd. Decompress it first: zstd -d"))
    elif not head.strip() and len(head) < HEAD:
        on_skip(Skipped(1, stream.damage or "the file is empty", 0))
    elif _is_json(head):
        yield from _from_json(stream, on_skip, take)
    else:
        yield from _from_protobuf(stream, on_skip)


def _is_json(head: bytes) -> bool:
    """Text, or a binary message? JSON holds no control characters; a protobuf message is full of them."""
    is_binary = re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", head) is not None
    opens = head.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")
    # A message begins with the byte of a line feed, or with its length and then that byte.
    return not is_binary if not opens or b"\n" in head[:2] else True


def _from_json(stream: Peekable, on_skip: OnSkip, take: Take) -> Iterator[Row]:
    for line, document in _documents(_lines(stream, on_skip), on_skip):
        try:
            yield from take(line, document, on_skip)
        except (ValueError, AttributeError, TypeError) as exc:
            on_skip(Skipped(line, str(exc)))


def _lines(stream: Peekable, on_skip: OnSkip) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that hold something, until the end or the damage of a compressed file."""
    number = 0
    for number, line in enumerate(stream.reader(), start=1):
        text = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if text:
            yield number, text
    if stream.damage:
        on_skip(Skipped(number, stream.damage, 0))


def _documents(lines: Iterator[tuple[int, bytes]], on_skip: OnSkip) -> Iterator[tuple[int, Any]]:
    """The JSON documents of a file: one per line, or a single one over many lines."""
    for number, line in lines:
        document, problem = _decoded(line)
        if problem is None:
            yield number, document
        elif line in (b"{", b"[") or line.endswith((b"{", b"[", b",")):
            yield from _spread(number, line, list(lines), on_skip)
        else:
            on_skip(Skipped(number, problem))


def _spread(first: int, line: bytes, rest: list[tuple[int, bytes]], on_skip: OnSkip) -> Iterator[tuple[int, Any]]:
    """The rest of a file from a line that is no document by itself: one long document, or a torn line."""
    document, problem = _decoded(b"\n".join([line, *(text for _, text in rest)]))
    if problem is None:
        yield first, document
        return
    single = [(number, *_decoded(text)) for number, text in rest]
    whole = [number for number, document, why in single if why is None and isinstance(document, dict) and document]
    on_skip(Skipped(first, _decoded(line)[1] or problem if whole else problem))
    for number, document, why in single if whole else []:
        if why is None:
            yield number, document
        else:
            on_skip(Skipped(number, why))


def _decoded(text: bytes) -> tuple[Any, str | None]:
    """The document, or why it is none. The strict decoder first: it is five times faster."""
    try:
        return msgspec.json.decode(text), None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(text), None
    except (ValueError, RecursionError) as exc:
        return None, f"torn, or not JSON: {exc}"


def _from_protobuf(stream: Peekable, on_skip: OnSkip) -> Iterator[Row]:
    data = stream.reader().read()
    number = 0
    try:
        for number, group in enumerate(otlp_proto.groups(data), start=1):
            try:
                yield from _taken(number, otlp_proto.read(group), on_skip)
            except ValueError as exc:
                on_skip(Skipped(number, str(exc)))
    except otlp_proto.Torn as exc:
        on_skip(Skipped(number + 1, str(exc)))
    if stream.damage:
        on_skip(Skipped(number + 1, stream.damage, 0))


def _taken(line: int, found: Iterator[otlp_json.Found], on_skip: OnSkip) -> Iterator[Row]:
    """The rows of one line or group; log records that are no evaluation results are counted together."""
    others = 0
    for origin, member in found:
        if isinstance(member, str):
            on_skip(Skipped(line, member))
        elif not isinstance(member, Log):
            yield span_row(member, origin)
        elif member.event == EVALUATION:
            yield score_row(member, origin)
        else:
            others += 1
    if others:
        on_skip(Skipped(line, f"log records that are no {EVALUATION}", others))
