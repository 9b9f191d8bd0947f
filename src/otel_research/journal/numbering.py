"""What is written once and then stands as a number: scopes, resources, and shapes (sets of attribute keys)."""

from __future__ import annotations

from typing import Any

import msgspec

from otel_research.spans.record import Definition, as_text, encode_msgpack
from otel_research.spans.values import to_json

MOST_SHAPES = 1000
"""Distinct sets of attribute keys that get a number; beyond it the keys are written out."""


class Numbers:
    """The numbers of one log. They stay what they are over its segments, and in a forked child.

    Not safe for threads by itself: `journal.log.Log` calls it under its lock, except for the look-ups.
    """

    def __init__(self) -> None:
        self.definitions: list[bytes] = []
        """The payloads that define the numbers."""
        self.known: dict[int, int] = {}
        """id of a scope or resource object -> its number."""
        self.shapes: dict[tuple[str, ...], int | None] = {}
        """keys of an attribute mapping, in order -> their number; None: written out."""
        self.single: list[bytes] = []
        """What the current segment holds once: the second copy goes elsewhere in it, later."""
        self._given = 0
        self._subjects: list[Any] = []

    def adopt(self, other: Numbers) -> None:
        """Let numbers mean what they mean in another log."""
        self.definitions, self._subjects = list(other.definitions), list(other._subjects)
        self.known, self.shapes = dict(other.known), dict(other.shapes)
        self._given = other._given

    def define(self, subject: Any, what: str, name: str, version: str | None, attributes: Any) -> bytes:
        """Give a scope or resource object a number; the payload to write.

        Keyed by the object's identity (its own hash is costly); the table keeps it alive, so
        the identity cannot be reused.
        """
        number = self._next()
        payload = _encoded(Definition(number, what, name, version, attributes))
        self._keep(payload)
        self._subjects.append(subject)
        self.known[id(subject)] = number
        return payload

    def shape(self, keys: tuple[str, ...]) -> tuple[int, bytes] | None:
        """(a number, the payload that would give it to a set of keys); None where they can have none."""
        if len(self.shapes) >= MOST_SHAPES:
            return None
        if not all(type(key) is str and key.isprintable() for key in keys):
            self.shapes[keys] = None
            return None
        number = self._next()
        return number, _encoded(Definition(number, "shape", "", None, list(keys)))

    def keep_shape(self, keys: tuple[str, ...], number: int, payload: bytes) -> None:
        """The payload is written: from now on its number stands for the keys, for every thread."""
        self._keep(payload)
        self.shapes[keys] = number

    def _next(self) -> int:
        """A number that nobody has: taken at once, because a signal handler may come for one too."""
        number = self._given
        self._given = number + 1
        return number

    def _keep(self, payload: bytes) -> None:
        self.definitions.append(payload)
        self.single.append(payload)


def _encoded(definition: Definition) -> bytes:
    try:
        return encode_msgpack(definition)
    except (OverflowError, UnicodeEncodeError, TypeError, ValueError, RecursionError):
        safe = msgspec.structs.replace(
            definition,
            name=as_text(definition.name),
            version=None if definition.version is None else as_text(definition.version),
            attributes=to_json(definition.attributes or {}),
        )
        return encode_msgpack(safe)
