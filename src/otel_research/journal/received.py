"""What a receiver journals: a message of another program's spans, as it came.

It is validated before and converted after it was answered for: conversion costs seven times as
much. Who owns it and how many rows it gives stands beside it, so that counting needs no conversion.
"""

from __future__ import annotations

import msgspec


class Received(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One OTLP message whose spans, or evaluation results, all belong to one experiment."""

    experiment_id: str
    signal: str
    """"traces" or "logs"."""
    ended: int
    """Rows it gives of spans that ended; evaluation results count as such."""
    interrupted: int
    """Rows it gives of spans that never did: a replay of what another experiment had kept."""
    body: bytes
    """The export request in protobuf."""


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Received).decode
