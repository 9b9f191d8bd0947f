"""An archive in a bucket: its seal goes up last, and without the seal there is no archive."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from otel_research.archive import seal
from otel_research.errors import ArchiveError, ConfigurationError
from otel_research.store.files import make_folder, private
from otel_research.store.objects import Bucket, split


def put(bucket: str, prefix: str, build: Callable[[Path], str]) -> tuple[str, str]:
    """(the URL, its seal). What an upload that failed has left is written over by the next one."""
    objects = Bucket(bucket, prefix)
    if objects.get(seal.SEAL) is not None:
        raise ConfigurationError(f"{objects.url} is an archive already. Choose another prefix.")
    with tempfile.TemporaryDirectory(prefix="otel-research-") as name:
        folder = Path(name)
        found = build(folder)
        for path, file in seal.files_of(folder):
            objects.put_file(path, file)
        objects.put(seal.MANIFEST, (folder / seal.MANIFEST).read_bytes())
        if not objects.create(seal.SEAL, (folder / seal.SEAL).read_bytes()):
            raise ArchiveError(f"another archive was put at {objects.url} meanwhile. Choose another prefix.")
    return objects.url, found


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """The archive's files in a temporary folder, for a block."""
    objects = Bucket(*split(url))
    if objects.get(seal.SEAL) is None:
        raise ArchiveError(f"{url} is not a complete archive: it has no {seal.SEAL}.")
    with tempfile.TemporaryDirectory(prefix="otel-research-") as name:
        folder = Path(name)
        for path in objects.names():
            target = folder / path
            if folder not in target.resolve().parents:
                raise ArchiveError(f"{url} holds {path!r}, which is no file of an archive.")
            make_folder(target.parent)
            content = objects.get(path)
            if content is not None:
                private(target).write_bytes(content)
        yield folder
