"""The gRPC door without a socket: what a sender is told when the fault is ours."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_research.ingest.rpc import GrpcDoor
from otel_research.ingest.signals import TRACES


class Aborted(Exception):
    """What `abort` raises."""


class Call:
    """The context of one call."""

    told: tuple[Any, ...] = ()

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def abort(self, *told: Any) -> None:
        self.told = told
        raise Aborted


def test_an_error_of_ours_may_be_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """UNAVAILABLE with a delay, as HTTP's 503: senders drop what is answered with UNKNOWN."""
    caplog.set_level(logging.CRITICAL, logger="otel_research")

    def broken(*_: Any) -> None:
        raise RuntimeError("ours")

    inbox: Any = SimpleNamespace(take=broken)
    call = Call()
    export = GrpcDoor(inbox, "nowhere", token=None, largest=1)._export(TRACES)
    with pytest.raises(Aborted):
        asyncio.run(export(b"", call))
    code, _, trailers = call.told
    assert code is grpc.StatusCode.UNAVAILABLE
    delay = RetryInfo()
    assert Status.FromString(dict(trailers)["grpc-status-details-bin"]).details[0].Unpack(delay)
    assert delay.retry_delay.seconds == 30
