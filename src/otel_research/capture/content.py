"""What may be written of prompts and completions; applied before anything reaches a store.

Under "drop" and "hash" only what is known to be no content stays as it is (`semconv.content` knows): everything else
that is text is left out or replaced by its SHA-256, in attributes, events, links, messages and resources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

from otel_research.errors import ConfigurationError

Redact = Callable[[str, Any], Any]
Policy = Literal["full", "hash", "drop"] | Redact

STATUS = "status.description"
"""The key under which a callable sees a span's status description, `EVENT` the name of an event, `SPAN` that of a span."""
EVENT = "event.name"
SPAN = "span.name"
_HASH = "sha256:"


def check_policy(policy: object) -> Policy:
    """The policy, or a clear refusal."""
    if policy in ("full", "hash", "drop") or callable(policy):
        return policy
    raise ConfigurationError(
        f"content={policy!r} is not a policy: use 'full', 'hash', 'drop' or a callable(key, value)."
    )


def stricter(mine: Policy, theirs: str) -> Policy:
    """The policy for an experiment that another process began under `theirs`: never laxer than that.

    A function does not travel ("callable"): without one here, content is dropped.
    """
    if callable(mine):
        return mine
    order: tuple[Policy, ...] = ("full", "hash", "drop")
    return order[max(order.index(mine), order.index(theirs) if theirs in order else 2)]


class Content:
    """Applies a policy to what a span carries. With "full" it does nothing and costs nothing (`is_full`).

    A redaction callable that raises loses the value, not the span: what could not be redacted
    must not be written.
    """

    def __init__(self, policy: Policy, on_error: Callable[[str, Exception], None]) -> None:
        self.is_full = policy == "full"
        self.redactor = None if self.is_full else self
        """What a view of a span is given, where something may not be written."""
        self._policy = policy
        self._on_error = on_error
        if not self.is_full and not callable(policy):
            from otel_research.semconv import content

            self._knows = content

    def applied(self, attributes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The attributes that may be written."""
        if attributes is None or self.is_full:
            return attributes
        if callable(self._policy):
            return {key: self._redacted(key, value) for key, value in attributes.items()}
        written = {key: self._attribute(key, value) for key, value in attributes.items()}
        return {key: value for key, value in written.items() if value is not None or attributes[key] is None}

    def message(self, text: str | None, key: str = STATUS) -> str | None:
        """The description of a status, or another message of an error."""
        if not text or self.is_full:
            return text
        if callable(self._policy):
            return _as_text(self._redacted(key, text))
        return _as_text(self._one_of(text, self._knows.kept_message(text)))

    def event_name(self, name: str) -> str:
        """The name of an event."""
        if callable(self._policy):
            return _as_text(self._redacted(EVENT, name)) or ""
        return name if self._knows.is_event_name(name) else self._instead(name) or "event"

    def span_name(self, name: str) -> str:
        """The name of a span: a line stays, since names say what a span is; a text does not."""
        if callable(self._policy):
            return _as_text(self._redacted(SPAN, name)) or ""
        return name if self._knows.is_span_name(name) else self._instead(name) or "span"

    def _attribute(self, key: str, value: Any) -> Any:
        if isinstance(value, str) and self._knows.is_message(key):
            return self.message(value, key)
        return self._one_of(value, self._knows.kept(key, value))

    def _one_of(self, value: Any, kept: Any) -> Any:
        """What may stay; else what stands for it."""
        return self._instead(value) if kept is None and value is not None else kept

    def _instead(self, value: Any) -> str | None:
        return _hashed(value) if self._policy == "hash" else None

    def _redacted(self, key: str, value: Any) -> Any:
        try:
            return self._policy(key, value)  # type: ignore[operator]
        except Exception as error:
            self._on_error("content", error)
            return "<redaction failed>"


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _hashed(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return _HASH + hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
