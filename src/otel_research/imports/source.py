"""A file or a pipe as a stream that can be read twice, with the id that its content gives."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from otel_research.errors import ConfigurationError
from otel_research.experiments import check_name
from otel_research.formats.input import Peekable
from otel_research.formats.otlp_read import opened

File = str | Path | IO[bytes]

_ENDINGS = ("gz", "json", "jsonl", "ndjson", "otlp", "pb", "binpb", "bin", "eval", "parquet", "log", "logs", "txt")
_UNNAMED = "imported"


class Source(NamedTuple):
    """What is imported: where it is from, its bytes, and the digest of its content (unpacked)."""

    label: str
    stream: IO[bytes]
    sha256: str
    bytes: int

    @property
    def experiment_id(self) -> str:
        """32 hex digits of the content: the same file is the same experiment, plain or gzip, under any name."""
        return self.sha256[:32]

    @property
    def name(self) -> str:
        """What the experiment is called where nobody says: the file's name without its endings."""
        path = Path(self.label)
        while path.suffix.lower().removeprefix(".") in _ENDINGS:
            path = path.with_suffix("")
        try:
            return check_name(path.name)
        except ConfigurationError:
            return _UNNAMED


@contextmanager
def source_of(file: File) -> Iterator[Source]:
    """The source for a block. A pipe is kept in a temporary file meanwhile, because its content names it.

    Raises `ConfigurationError` where the file cannot be opened.
    """
    with opened(file) as given, _rereadable(given) as stream:
        begin = stream.tell()
        digest = hashlib.file_digest(Peekable(stream).reader(), "sha256").hexdigest()
        size = stream.tell() - begin
        stream.seek(begin)
        yield Source(label(file), stream, digest, size)


@contextmanager
def _rereadable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(stream, kept, 1 << 20)
        kept.seek(0)
        yield kept


def label(file: File) -> str:
    """The file as messages name it."""
    if isinstance(file, str | Path):
        return str(file)
    named = getattr(file, "name", None)
    return named.strip("<>") if isinstance(named, str) and named.strip("<>") else "stream"


def check_readable(file: File) -> None:
    """Complain about a file that is not there before anything is imported; raises `ConfigurationError`."""
    if isinstance(file, str | Path):
        with opened(file):
            pass
