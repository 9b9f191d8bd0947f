"""A file appears whole or not at all: a temporary name in the same folder, fsync, rename."""

from __future__ import annotations

import gzip
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, cast

from otel_research.durable import sync_folder
from otel_research.errors import ConfigurationError


@contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write; it becomes `path` when the block ends well, and vanishes when it does not.

    An existing `path` keeps its content until the new one is complete and on the disk.
    Raises `ConfigurationError` where the path cannot be written.
    """
    # A link keeps pointing where it points: what is replaced is the file behind it.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
    _check(path, target)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        with suppress(OSError):  # where folders cannot be opened (Windows), the system makes a rename durable
            sync_folder(target.parent)
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} could not be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check(path: Path, target: Path) -> None:
    """Say what is wrong with a path before any work is done for it."""
    if target.is_dir():
        raise ConfigurationError(f"{str(path)!r} is a folder; give the name of a file in it.")
    if not target.parent.is_dir():
        raise ConfigurationError(
            f"{str(path)!r} cannot be written: there is no folder {str(target.parent)!r}. Create it first."
        )


def compressed(file: IO[bytes], compression: str | None) -> AbstractContextManager[IO[bytes]]:
    """The file itself, or a gzip stream into it."""
    if compression == "gzip":
        # No time stamp: the same rows give the same bytes.
        return cast("AbstractContextManager[IO[bytes]]", gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename=""))
    return nullcontext(file)
