"""Trace and span ids from a generator of our own.

The SDK's generator uses the global `random`: `random.seed(42)` would give the same trace ids
in every process, and switching tracing on would change a seeded experiment's own numbers.
"""

from __future__ import annotations

import os
import random
import weakref

from opentelemetry.sdk.trace.id_generator import IdGenerator


class ExperimentIdGenerator(IdGenerator):
    """Random ids from a private source, seeded by the operating system, remade after a fork."""

    def __init__(self) -> None:
        self._seed()
        if hasattr(os, "register_at_fork"):
            # Weakly: a registration cannot be taken back, and must not keep the generator alive.
            reseed = weakref.WeakMethod(self._seed)
            os.register_at_fork(after_in_child=lambda: (again := reseed()) and again())

    def _seed(self) -> None:
        self._bits = random.Random(os.urandom(32)).getrandbits

    def generate_span_id(self) -> int:
        """A random 64-bit id, never 0."""
        return self._bits(64) or self.generate_span_id()

    def generate_trace_id(self) -> int:
        """A random 128-bit id, never 0."""
        return self._bits(128) or self.generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Yes: every bit is."""
        return True
