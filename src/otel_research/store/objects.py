"""A prefix of a bucket, through obstore: AWS S3 and servers compatible with it.

Credentials, region and endpoint come from the standard variables (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, ...) or from the machine's role.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from otel_research.errors import ConfigurationError, MissingExtra, StoreError, StoreUnreachable

_RETRY_SECONDS = 10


def split(url: str) -> tuple[str, str]:
    """(bucket, prefix) of an s3:// URL."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise ConfigurationError(
            f"an S3 place is s3://BUCKET/PREFIX, with access by the AWS variables, not {parts.scheme}://…."
        )
    return parts.netloc, parts.path.strip("/")


def endpoint() -> str | None:
    """The server, where it is not AWS itself."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")


def polars_options() -> dict[str, str]:
    """The same access for Polars' own reader."""
    where = endpoint()
    options = {} if where is None else {"aws_endpoint_url": where}
    if where is not None and where.startswith("http://"):
        options["aws_allow_http"] = "true"
    named = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")
    return options | {name.lower(): os.environ[name] for name in named if name in os.environ}


class Bucket:
    """Objects below a prefix; every error says which bucket and what to do."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError as error:
            raise MissingExtra("obstore", "s3") from error
        self._obstore: Any = obstore
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        where = endpoint()
        options: dict[str, Any] = {} if where is None else {"endpoint": where}
        client: dict[str, Any] = {"timeout": "60s", "connect_timeout": "5s"}
        if where is not None and where.startswith("http://"):
            client["allow_http"] = True
        self._store: Any = S3Store(
            bucket,
            client_options=client,  # type: ignore[arg-type]
            retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
            **options,
        )

    @property
    def url(self) -> str:
        """Where this is."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def path(self, name: str) -> str:
        """An object's whole key."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def put(self, name: str, content: bytes) -> None:
        """Write or replace an object; whole or not at all."""
        with self._meant():
            self._obstore.put(self._store, self.path(name), content)

    def put_file(self, name: str, file: Path) -> None:
        """The same from a file, in parts where it is large."""
        with self._meant():
            self._obstore.put(self._store, self.path(name), file)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object that is not there yet; False, and no change, where it is."""
        with self._meant():
            try:
                self._obstore.put(self._store, self.path(name), content, mode="create")
            except (self._obstore.exceptions.AlreadyExistsError, self._obstore.exceptions.PreconditionError):
                return False
        return True

    def get(self, name: str) -> bytes | None:
        """An object's content; None where there is none."""
        with self._meant():
            try:
                return bytes(self._obstore.get(self._store, self.path(name)).bytes())
            except (FileNotFoundError, self._obstore.exceptions.NotFoundError) as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def names(self, below: str = "") -> list[str]:
        """The objects below a name, all of them, as names below the prefix."""
        with self._meant():
            start = self.path(below).rstrip("/")
            found = [item["path"] for page in self._obstore.list(self._store, start or None) for item in page]
        skipped = len(self.prefix) + 1 if self.prefix else 0
        return sorted(path[skipped:] for path in found)

    def folders(self) -> list[str]:
        """The names directly below the prefix that have objects below them."""
        with self._meant():
            found = self._obstore.list_with_delimiter(self._store, self.prefix or None)["common_prefixes"]
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def delete(self, names: list[str]) -> None:
        """Remove objects; one that is not there is fine."""
        if names:
            with self._meant():
                self._obstore.delete(self._store, [self.path(name) for name in names])

    def check_conditional(self) -> None:
        """Refuse a bucket that is not there, and a server on which two writers could overwrite each other."""
        probe = f".probe-{secrets.token_hex(8)}"
        # Some servers make a bucket for whoever writes: ask first.
        if self.get(probe) is not None or not self.create(probe, b"first"):
            raise StoreError(f"{self.url}: an object that nobody has written is there already.")
        is_honest = not self.create(probe, b"second") and self.get(probe) == b"first"
        self.delete([probe])
        if not is_honest:
            raise StoreError(
                f"{self.url}: the server ignores conditional writes (If-None-Match), so several writers could lose each "
                "other's spans. Use a server that honours them, or another store."
            )

    @contextmanager
    def _meant(self) -> Iterator[None]:
        """Our error for one of the library's."""
        errors = self._obstore.exceptions
        try:
            yield
        except (errors.BaseError, OSError, ValueError) as error:
            said = " ".join(str(error).split())[:500]
            if "NoSuchBucket" in said:
                raise StoreError(
                    f"there is no bucket {self.bucket!r} at {endpoint() or 'AWS'}. Make it first."
                ) from error
            denied = (errors.PermissionDeniedError, errors.UnauthenticatedError)
            if isinstance(error, denied) or any(
                word in said
                for word in ("AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "403 Forbidden")
            ):
                raise StoreError(f"{self.url} refuses the access key: {said}. Check the AWS_* variables.") from error
            raise StoreUnreachable(f"{self.url} does not answer: {said}.") from error
