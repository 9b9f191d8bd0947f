"""The ledger as OpenTelemetry metrics, beside the SDK's own."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

PROGRAM = """
import json
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
import otel_research as otr
from otel_research.testing import recording

reader = InMemoryMetricReader()
IS_EARLY and metrics.set_meter_provider(MeterProvider([reader]))

def collected():
    data, found = reader.get_metrics_data(), {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            if scope.scope.name == "otel_research":
                for metric in scope.metrics:
                    found[metric.name] = {
                        "/".join(map(str, point.attributes.values())): point.value for point in metric.data.data_points
                    } | {"unit": metric.unit}
    return found

def explode(span):
    if span.name == "bad":
        raise ValueError("no")
    return span.name != "noise"

with recording() as (recorder, provider):
    IS_EARLY or metrics.set_meter_provider(MeterProvider([reader]))
    tracer = provider.get_tracer("x")
    tracer.start_span("outside").end()
    exp = otr.start_experiment("metrics", event_filter=explode)
    for name in ("a", "b", "noise", "bad"):
        tracer.start_span(name).end()
    capture = recorder.captures[exp.id]
    lost = tracer.start_span("lost")
    def full(payload):
        raise OSError(5, "Input/output error")
    capture.log.append_end, before = full, capture.log.append_end
    lost.end()
    capture.log.append_end = before
    still_open = tracer.start_span("open")
    running, ledger = collected(), recorder.ledger().to_dict()
    still_open.end()
    otr.stop_experiment(exp.id)
closed = collected()
print(json.dumps([running, ledger, closed]))
"""


def test_the_ledger_is_exported_as_metrics(run_python: Callable[..., CompletedProcess[str]]) -> None:
    """Every count under `otel_research.*`, equal to the ledger, whenever the meter provider was set; none when closed."""
    import json

    for is_early in (True, False):
        done = run_python(PROGRAM.replace("IS_EARLY", str(is_early)))
        assert done.returncode == 0, done.stderr
        found, ledger, closed = json.loads(done.stdout.splitlines()[-1])
        assert found["otel_research.spans.started"] == {"": 6, "unit": "{span}"}
        assert found["otel_research.spans.ended"] == {
            "stored": 3,
            "filtered": 1,
            "sampled_out": 0,
            "duplicates": 0,
            "late": 0,
            "lost": 1,
            "unit": "{span}",
        }
        assert found["otel_research.spans.lost"] == {"write_error": 1, "unit": "{span}"}
        assert found["otel_research.spans.outside"] == {"": 1, "unit": "{span}"}
        assert found["otel_research.spans.open"] == {"": 1, "unit": "{span}"}
        assert found["otel_research.errors"] == {"event_filter": 1, "unit": "{error}"}
        assert (ledger["stored"], ledger["lost"], ledger["open"]) == (3, {"write_error": 1}, 1)
        assert all(set(points) <= {"unit"} for points in closed.values())
