"""One odd value costs nothing but itself: the span is kept, its neighbours are read, the experiment stays readable."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode, set_span_in_context

import otel_research as otr
from otel_research.journal import frame
from otel_research.testing import recording

BAD = "a\udc80b"
"""A lone surrogate: text that UTF-8 cannot hold."""


def foreign_parent(provider: TracerProvider, **attributes: Any) -> None:
    """A child of a span that has ended and that somebody else has labelled."""
    tracer = provider.get_tracer("app")
    parent = tracer.start_span("parent")
    parent.set_attributes({f"experiment.{name}": value for name, value in attributes.items()})
    parent.end()
    # In a context without a scope, as in a thread of a pool.
    tracer.start_span("odd", context=set_span_in_context(parent, {})).end()  # type: ignore[arg-type]


def with_event(provider: TracerProvider) -> None:
    span = provider.get_tracer("app").start_span("odd")
    span.add_event(BAD, {BAD: BAD}, timestamp=1)
    span.set_status(Status(StatusCode.ERROR, BAD))
    span.end()


ODD: dict[str, Callable[[TracerProvider], object]] = {
    "a version that is a number": lambda p: p.get_tracer("x", 1.0).start_span("odd").end(),  # type: ignore[arg-type]
    "a scope name that is a number": lambda p: p.get_tracer(7).start_span("odd").end(),  # type: ignore[arg-type]
    "a scope name that UTF-8 cannot hold": lambda p: p.get_tracer(BAD, BAD).start_span("odd").end(),
    "scope attributes of odd types": lambda p: (
        p.get_tracer("x", "1", attributes={"a": {"b": [1, None]}, "c": 2**70, "d": BAD}).start_span("odd").end()  # type: ignore[dict-item]
    ),
    "a span name that UTF-8 cannot hold": lambda p: p.get_tracer("x").start_span(f"odd{BAD}").end(),
    "a span name that is a number": lambda p: p.get_tracer("x").start_span(7).end(),  # type: ignore[arg-type]
    "keys and values that UTF-8 cannot hold": lambda p: (
        p.get_tracer("x").start_span("odd", attributes={BAD: BAD, "odd": (BAD, BAD)}).end()
    ),
    "an event and a status that UTF-8 cannot hold": with_event,
    "a foreign condition that is a number": lambda p: foreign_parent(p, condition=3),
    "a foreign repetition beyond 64 bits": lambda p: foreign_parent(p, repetition=2**70, factor=1),
    "foreign tags that are text": lambda p: foreign_parent(p, tags="x", name=5),
    "a session that is a number": lambda p: p.get_tracer("x").start_span("odd", attributes={"session.id": 5}).end(),
    "a start that is no time": lambda p: p.get_tracer("x").start_span("odd", start_time=math.nan).end(),  # type: ignore[arg-type]
    "an end that is no time": lambda p: p.get_tracer("x").start_span("odd").end(end_time=math.nan),  # type: ignore[arg-type]
    "an end beyond 64 bits": lambda p: p.get_tracer("x").start_span("odd").end(end_time=2**70),
    "times that are text": lambda p: p.get_tracer("x").start_span("odd", start_time="now").end(end_time="later"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("starts", [True, False], ids=["starts", "no starts"])
@pytest.mark.parametrize("is_memory", [True, False], ids=["memory", "disk"])
def test_an_odd_value_costs_nothing(
    tmp_path: Path, odd: Callable[[TracerProvider], object], *, starts: bool, is_memory: bool
) -> None:
    """The span is stored, its neighbours too, while the experiment runs and after; nothing is lost, all adds up."""
    with recording("memory:" if is_memory else f"disk:{tmp_path}", starts=starts) as (_, provider):
        tracer = provider.get_tracer("app")
        exp = otr.start_experiment("odd")
        tracer.start_span("before").end()
        odd(provider)
        tracer.start_span("after").end()
        live = exp.spans().collect()
        otr.stop_experiment(exp)
        sealed = exp.spans().collect()
        ledger = exp.ledger()
    for rows in (live, sealed):
        names = [name for name in rows["name"] if name != "parent"]
        assert len(names) == 3
        assert {"before", "after"} < set(names)
        assert rows["start_ns"].null_count() == 0
    assert (ledger.stored, ledger.lost_total, ledger.is_balanced) == (sealed.height, 0, True)


def test_a_resource_of_odd_values_costs_nothing(tmp_path: Path) -> None:
    """The resource is kept as far as JSON holds it."""
    provider = TracerProvider(resource=Resource({BAD: BAD, "n": 2**70}), shutdown_on_exit=False)
    with recording(f"disk:{tmp_path}", provider=provider), otr.experiment("odd") as exp:
        provider.get_tracer("x").start_span("s").end()
    (resource,) = exp.spans().collect()["resource"]
    assert json.loads(resource)["n"] == {"$int": str(2**70)}


def test_a_foreign_label_does_not_divert_a_span(tmp_path: Path) -> None:
    """What somebody else writes on a span as `experiment.*` says nothing about which experiment its children are of."""
    with recording(f"disk:{tmp_path}") as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("theirs") as theirs:
            foreign = TracerProvider(shutdown_on_exit=False).get_tracer("f").start_span("foreign")
            foreign.set_attributes({"experiment.id": theirs.id, "experiment.condition": "treatment"})
            ours = otr.start_experiment("ours", condition="control")
            # In a context without a scope, as in a thread of a pool.
            tracer.start_span("child", context=set_span_in_context(foreign, {})).end()  # type: ignore[arg-type]
            foreign.end()
            tracer.start_span("child", context=set_span_in_context(foreign, {})).end()  # type: ignore[arg-type]
            otr.stop_experiment(ours)
    assert theirs.spans().collect().height == 0
    assert ours.spans().select("name", "condition").collect().rows() == [("child", "control")] * 2


def test_an_ended_parent_of_ours_still_says_where_its_children_belong(tmp_path: Path) -> None:
    """With its condition and its trial, whatever the program has written over them meanwhile."""
    with recording(f"disk:{tmp_path}") as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("scoped") as exp:
            with exp.arm("treatment"), exp.trial(item="q1"):
                parent = tracer.start_span("parent")
            parent.set_attribute("experiment.condition", 3)
            parent.end()
            tracer.start_span("child", context=set_span_in_context(parent, {})).end()  # type: ignore[arg-type]
    rows = exp.spans().collect()
    child = rows.filter(name="child").row(0, named=True)
    assert (child["condition"], child["item_id"], child["experiment_source"]) == ("treatment", "q1", "parent")


GARBAGE = msgspec.msgpack.encode({"not": "a record"})


@pytest.mark.parametrize("kind", sorted(frame.KINDS))
@pytest.mark.parametrize("payload", [b"", b"\xc1", GARBAGE, GARBAGE * 8], ids=["empty", "invalid", "a map", "long"])
def test_a_frame_that_says_nothing_costs_only_itself(disk_host: Any, kind: int, payload: bytes) -> None:
    """Intact bytes that are no record are damage: reported, and its neighbours are read."""
    with otr.experiment("garbage") as exp:
        disk_host.call("before")
        assert exp._capture is not None
        exp._capture.log.append(kind, payload)
        disk_host.call("after")
        assert sorted(exp.spans().collect()["name"]) == ["after", "before"]
    assert sorted(exp.spans().collect()["name"]) == ["after", "before"]
    assert sum(entry.damaged_bytes for entry in manifest_of(disk_host, exp).sealed) > 0 or kind == frame.OTLP


def manifest_of(host: Any, exp: otr.Experiment) -> Any:
    from otel_research.store import manifest

    return manifest.latest(host.recorder.library.store.folder(exp.id) / "manifest")
