"""Clocks of two nodes, from the requests between them: estimated with limits, flagged when they differ for sure."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from otel_research.analysis.clocks import node_of, offsets
from otel_research.analysis.faults import CHECKS, Fault, Rows, _nodes

MS = 1_000_000


def exchanges(ahead_ms: float, n: int = 200, seed: int = 0, *, reverse: bool = False) -> pl.DataFrame:
    """Requests from "a" to "b", whose clock is ahead; ways of 0.2 ms and more, not the same in both directions."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(n):
        there, back, served = 0.1 + rng.exponential(3, 2).tolist()[0], 0.1 + rng.exponential(2), 5 + rng.exponential(20)
        sent = 1_700_000_000_000_000_000 + number * 100 * MS
        received = sent + int((there + ahead_ms) * MS)
        client, server = ("b", "a") if reverse else ("a", "b")
        common = {"trace_id": f"{number:032x}"}
        rows.append({**common, "span_id": f"{number:016x}", "parent_span_id": None, "kind": "client",
                     "start_ns": sent, "end_ns": sent + int((there + served + back) * MS), "node": client})  # fmt: skip
        rows.append({**common, "span_id": f"{number + n:016x}", "parent_span_id": f"{number:016x}", "kind": "server",
                     "start_ns": received, "end_ns": received + int(served * MS), "node": server})  # fmt: skip
    return pl.DataFrame(rows)


def faults(spans: pl.DataFrame) -> list[Fault]:
    nothing: Any = None
    return list(_nodes(Rows(nothing, spans, nothing, 0, None, None, attributes=nothing)))


@pytest.mark.parametrize("ahead", [-3_600_000.0, -250.0, -7.0, 7.0, 40.0, 250.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_true_offset_is_within_the_limits(ahead: float, seed: int) -> None:
    """Whatever the ways took, the limits hold the truth, and a clear difference is flagged with its direction."""
    (found,) = offsets(exchanges(ahead, seed=seed))
    assert (found.reference, found.node, found.pairs) == ("a", "b", 200)
    assert abs(found.ms - ahead) <= found.within_ms < 2
    (fault,) = faults(exchanges(ahead, seed=seed))
    assert fault.code == "node_clock_offset"
    assert ("ahead of" if ahead > 0 else "behind") in fault.text
    (other,) = offsets(exchanges(ahead, seed=seed, reverse=True))
    assert (other.reference, other.node) == ("b", "a")


@pytest.mark.parametrize("seed", range(10))
def test_equal_clocks_are_not_flagged(seed: int) -> None:
    """Ways that differ between there and back do not look like a skewed clock."""
    assert faults(exchanges(0.0, seed=seed)) == []


def test_without_requests_between_nodes_nothing_is_said() -> None:
    """One node, no node, other kinds of spans and servers that went on after the answer give no estimate."""
    spans = exchanges(50.0, n=5)
    assert offsets(spans.with_columns(node=pl.lit("a"))) == []
    assert offsets(spans.with_columns(node=pl.lit(None, pl.String))) == []
    assert offsets(spans.with_columns(kind=pl.lit("internal"))) == []
    is_server = pl.col("kind") == "server"
    longer = spans.with_columns(end_ns=pl.when(is_server).then(pl.col("end_ns") + 10**10).otherwise("end_ns"))
    assert offsets(longer) == []
    assert _nodes in CHECKS


def test_what_names_a_node() -> None:
    """The host that the program's resource names; without one a row is on no node."""
    texts = ['{"service.name":"x","host.name":"h1"}', "{}", None, '{"xhost.name":"no"}', '{"hostxname":"no"}']
    found = pl.DataFrame({"resource": texts}).select(node_of())["node"].to_list()
    assert found == ["h1", None, None, None, None]


def test_validate_says_it() -> None:
    """From captured spans of two nodes to the finding, by the whole way."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    import otel_research as otr
    from otel_research.testing import recording

    nodes = [TracerProvider(resource=Resource({"host.name": name}), shutdown_on_exit=False) for name in ("a", "b")]
    with recording("memory:", provider=nodes[0]) as (recorder, _), otr.experiment("two") as exp:
        nodes[1].add_span_processor(otr.ExperimentSpanProcessor(recorder))
        start = 1_700_000_000_000_000_000
        for number in range(5):
            sent = start + number * 100 * MS
            client = nodes[0].get_tracer("t").start_span("call", kind=trace.SpanKind.CLIENT, start_time=sent)
            inside = trace.set_span_in_context(client)
            server = (
                nodes[1]
                .get_tracer("t")
                .start_span("serve", inside, kind=trace.SpanKind.SERVER, start_time=sent + 51 * MS)
            )
            server.end(sent + 59 * MS)
            client.end(sent + 10 * MS)
    (found,) = [finding for finding in otr.validate(exp).findings if finding.code == "node_clock_offset"]
    assert "the clock of 'b' is 50 ms ahead of that of 'a' (within 1 ms, from 5 requests)" in found.text
