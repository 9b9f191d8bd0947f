"""Where a recorder sits in the program's tracing: the provider it was given, the global one, or one of our own."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from otel_research.capture import attach, standin
from otel_research.capture.processor import Flushable

# Those that follow the global provider when the program sets it.
_following: weakref.WeakSet[Host] = weakref.WeakSet()
_built: weakref.WeakSet[TracerProvider] = weakref.WeakSet()


class Host:
    """The provider that a recorder is attached to. Without a given one it is the global one, whenever that is set.

    Safe to use from any thread.
    """

    def __init__(
        self, recorder: Flushable, given: Any = None, *, forward: list[SpanProcessor], forward_all: bool
    ) -> None:
        self._recorder = recorder
        self._forward = forward
        self._forward_all = forward_all
        self._is_given = given is not None
        self._is_closed = False
        # Protects what follows: attaching, building and leaving are one at a time.
        self._lock = threading.RLock()
        self._attached: list[TracerProvider] = []
        self._stand_in: standin.StandIn | None = None
        found = attach.find_provider(given)
        if found is not None:
            self._attach(found)
        else:
            # What is forwarded is forwarded outside experiments too, so that no span may be missed.
            self._stand_in = None if forward else standin.put(self.built)
            if self._stand_in is None:
                self.follow()
        if not self._is_given:
            _following.add(self)

    @property
    def provider(self) -> TracerProvider:
        """The one that spans come from; built now if the program has none."""
        self.follow()
        return self._attached[-1]

    @property
    def is_own(self) -> bool:
        """Whether that is one of ours."""
        return bool(self._attached) and self._attached[-1] in _built

    def built(self) -> TracerProvider | None:
        """As `provider`, for who may come when the recorder is closed: None then."""
        return None if self._is_closed else self.provider

    def follow(self) -> None:
        """Attach to what is the global provider by now; build one where there is none."""
        with self._lock:
            if self._is_closed or (self._is_given and self._attached):
                return
            found = attach.find_provider()
            if found is None and not self._attached:
                found = self._build()
            if found is not None and found not in self._attached[-1:]:
                self._attach(found)

    def _build(self) -> TracerProvider:
        made = attach.build_provider()
        _built.add(made)
        found = attach.find_provider()
        if found is made:
            standin.give_way(lambda: attach.is_bare(made), lambda: _moved_from(made))
        # Another thread may have been first.
        return found or made

    def _attach(self, provider: TracerProvider) -> None:
        if provider in self._attached:
            self._attached.remove(provider)
        self._attached.append(provider)
        attach.attach(provider, self._recorder, forward=self._forward, forward_all=self._forward_all)

    def close(self) -> None:
        """Let every provider go as it was. Idempotent."""
        with self._lock:
            self._is_closed = True
            _following.discard(self)
            if self._stand_in is not None:
                self._stand_in.leave()
            for provider in self._attached:
                attach.detach(provider)

    def after_fork(self) -> None:
        """In the child: a lock of its own."""
        self._lock = threading.RLock()


def _moved_from(provider: TracerProvider) -> None:
    """The program has set a provider in the place of ours: recorders and tracers go there."""
    for host in list(_following):
        host.follow()
    standin.hand_over(provider)
