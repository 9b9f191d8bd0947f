"""An archive as a folder: it appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from otel_research.durable import sync_file, sync_folder
from otel_research.errors import ArchiveError, ConfigurationError
from otel_research.store.files import make_folder


def put(target: Path, build: Callable[[Path], str]) -> tuple[str, str]:
    """(the folder, its seal); `build` fills a folder beside it, which then takes the name."""
    target = target.expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(f"{target} is there already and not empty. Choose another path for the archive.")
    try:
        make_folder(target.parent)
        with beside(target) as folder:
            seal = build(folder)
            replace(folder, target)
    except OSError as error:
        raise ArchiveError(f"cannot write the archive {target}: {error.strerror or error}.") from error
    return str(target), seal


@contextmanager
def at(path: str) -> Iterator[Path]:
    """The archive's folder for a block: one on S3 is fetched first."""
    if path.startswith("s3://"):
        from otel_research.archive import s3

        with s3.fetched(path) as folder:
            yield folder
    else:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise ArchiveError(f"{path} is not a folder. An archive is a folder, or s3://BUCKET/PREFIX.")
        yield folder


class beside:
    """A folder beside another for a block; removed at the end, if it is still there."""

    def __init__(self, target: Path) -> None:
        self._folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")

    def __enter__(self) -> Path:
        self._folder.mkdir(mode=0o700)
        return self._folder

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def replace(folder: Path, target: Path) -> None:
    """Make the folder's files durable and give it the name; what had the name is gone only then."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync_file(path)
    sync_folder(folder)
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    had_one = target.exists()
    if had_one:
        os.rename(target, old)
    try:
        os.rename(folder, target)
    except OSError:
        if had_one:
            os.rename(old, target)
        raise
    sync_folder(target.parent)
    if had_one:
        # Not ignored: after an erasure the old folder still has what was to be erased.
        shutil.rmtree(old)
