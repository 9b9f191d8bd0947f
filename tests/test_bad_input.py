"""Bad input: a clear error that names the thing, and nothing harmed. Nothing here may end in a foreign exception."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import otel_research as otr
from otel_research import context
from otel_research.capture import registry
from otel_research.testing import recording

UNKNOWN = "0" * 32


def untouched(host: Any) -> None:
    """Nothing runs, nothing was stored, and the next experiment works."""
    assert registry.running == {}
    assert context.process_scope() is None
    assert otr.current_experiment() is None
    before = len(otr.list_experiments())
    with otr.experiment("works") as exp:
        host.call()
    assert exp.spans().collect().height == 1
    assert len(otr.list_experiments()) == before + 1


# -- starting -------------------------------------------------------------------------


def named_case(value: object) -> str:
    """A case's name without an object's address: the workers of a parallel run compare them."""
    return "" if isinstance(value, str) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:40]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        ".",
        "..",
        "a\nb",
        "a\x00b",
        "\x7f",
        "x" * 201,
        "\ud800",
        None,
        7,
        b"x",
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "start", [otr.start_experiment, lambda name: otr.experiment(name).__enter__()], ids=["start", "block"]
)
def test_a_bad_name_is_refused(host: Any, name: Any, start: Callable[..., Any]) -> None:
    """Empty, path-like, overlong or no text at all: the message shows it; nothing was started."""
    with pytest.raises(otr.ConfigurationError, match="name"):
        start(name)
    assert otr.list_experiments() == []
    untouched(host)


@pytest.mark.parametrize("name", ["v1.2", "a:b", "prompt v2 — größer", "日本語", "a.b.c", "x" * 200])
def test_an_unusual_name_is_fine(host: Any, name: str) -> None:
    """Words of any script, spaces, dots and colons are names."""
    with otr.experiment(name) as exp:
        host.call()
    assert otr.get_experiment(exp.id).name == name


@pytest.mark.parametrize(
    ("declaration", "named"),
    [
        ({"hypothesis": 7}, "hypothesis"),
        ({"condition": ""}, "condition"),
        ({"condition": ["a"]}, "condition"),
        ({"tags": [1]}, "tags"),
        ({"tags": ["ok", " "]}, "tags"),
        ({"tags": {"a": 1}}, "tags"),
        ({"tags": ["\udc80"]}, "surrogate"),
        ({"sample_size": 0}, "sample_size"),
        ({"sample_size": 2.5}, "sample_size"),
        ({"sample_size": True}, "sample_size"),
        ({"metadata": {"f": object()}}, r"metadata\['f'\] is a object, which is not JSON"),
        ({"metadata": {"f": {"g": {1, 2}}}}, r"metadata\['f.g'\] is a set"),
        ({"metadata": {"nan": float("nan")}}, "nan"),
        ({"metadata": {1: "x"}}, "metadata keys are text"),
        ({"metadata": ["a"]}, "metadata is a mapping"),
        ({"metadata": {"x": "\ud800"}}, "surrogate"),
        ({"factors": {"prompt": ["a", "b"]}}, r"factors\['prompt'\]"),
        ({"factors": {"n": 2**70}}, r"factors\['n'\]"),
        ({"direction": "up", "primary": "latency"}, "direction"),
        ({"direction": "lower"}, "primary"),
        ({"margin": -1, "primary": "latency"}, "margin"),
        ({"margin": {"latency": "5ms"}}, "margin"),
        ({"metrics": {"speed": True}}, "speed"),
        ({"metrics": {"cost": "yes"}}, "cost"),
        ({"study": ""}, "study"),
        ({"session_id": 7}, "session_id"),
        ({"seed": "42"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"custom_metrics": [object()]}, "custom_metrics"),
        ({"custom_metrics": 7}, "custom_metrics"),
        ({"event_filter": "name == 'x'"}, "event_filter"),
        ({"sampling_rate": 0}, "sampling_rate"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
        ({"sampling_rate": "half"}, "sampling_rate"),
        ({"sampling_strategy": 0.5}, "sampling_strategy"),
        ({"store": "postgres"}, "postgres"),
        ({"store": "dsk:/tmp/x"}, "Did you mean 'disk:/tmp/x'"),
        ({"store": "/tmp/x"}, "disk:/tmp/x"),
        ({"store": "memory:x"}, "memory"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Mapping) else "",
)
def test_a_bad_declaration_is_named_and_nothing_is_started(host: Any, declaration: dict[str, Any], named: str) -> None:
    """The message names the argument, or the key in it."""
    with pytest.raises(otr.ConfigurationError, match=named):
        otr.start_experiment("bad", **declaration)
    assert otr.list_experiments() == []
    untouched(host)


def test_an_argument_that_does_not_exist_is_named() -> None:
    """A typo in a block's arguments is a TypeError, as for any function."""
    with pytest.raises(TypeError, match="hypotesis"):
        otr.experiment("typo", hypotesis="x")


def test_numbers_and_text_of_other_libraries_are_taken_for_what_they_are(host: Any) -> None:
    """NumPy's numbers and enumerations are plain JSON when stored."""

    class Level(str, enum.Enum):  # noqa: UP042 - whose str() is not its value
        HIGH = "high"

    with (
        otr.experiment(
            "types",
            sample_size=np.int64(5),
            seed=np.int32(7),
            metadata={"lr": np.float64(0.5), "level": Level.HIGH},
            factors={"temperature": np.float64(0.7), "level": Level.HIGH},
        ) as exp,
        exp.trial(item=np.int64(3), repetition=np.int64(1)),
    ):
        host.call()
    assert (exp.sample_size, exp.seed, exp.metadata) == (5, 7, {"lr": 0.5, "level": "high"})
    (row,) = exp.spans().filter(pl.col("is_call")).collect().to_dicts()
    assert (row["factors"], row["item_id"], row["repetition"]) == ('{"temperature":0.7,"level":"high"}', "3", 1)


def test_a_second_process_wide_experiment_names_both_and_the_way_out(host: Any) -> None:
    """The message holds both names, the running one's id, and the scoped form; the first runs on."""
    first = otr.start_experiment("first one")
    with pytest.raises(otr.ExperimentRunning) as refused:
        otr.start_experiment("second one")
    text = str(refused.value)
    assert all(part in text for part in ("'first one'", first.id, "'second one'", "with otr.experiment('second one')"))
    host.call()
    otr.stop_experiment(first)
    assert first.spans().collect().height == 1
    untouched(host)


# -- finding, stopping, recording -----------------------------------------------------


@pytest.mark.parametrize("experiment_id", [UNKNOWN, "nope", "", "../x", None, 7, "A" * 32], ids=repr)
@pytest.mark.parametrize("use", [otr.get_experiment, otr.stop_experiment], ids=["get", "stop"])
def test_an_unknown_id(host: Any, experiment_id: Any, use: Callable[..., Any]) -> None:
    """Whatever is no experiment's id is an UnknownExperiment that shows it and says where ids are listed."""
    with pytest.raises(otr.UnknownExperiment, match=r"otel-research ls|list_experiments\(\)"):
        use(experiment_id)


@pytest.mark.parametrize("analyse", [otr.calculate_metrics, otr.metrics_by, otr.export], ids=lambda f: f.__name__)
def test_an_unknown_id_in_an_analysis(host: Any, analyse: Callable[..., Any]) -> None:
    """The same error wherever an id is taken."""
    arguments = {"metrics_by": ("condition",), "export": ("csv",)}.get(analyse.__name__, ())
    with pytest.raises(otr.UnknownExperiment, match=UNKNOWN):
        analyse(UNKNOWN, *arguments)


def test_what_cannot_be_analysed_is_refused(host: Any) -> None:
    """A type that is none of experiment, id, selection or frame is named."""
    with pytest.raises(otr.ConfigurationError, match="dict"):
        otr.calculate_metrics({})  # type: ignore[arg-type]


def test_an_unknown_state_is_no_empty_list(host: Any) -> None:
    """A state that does not exist is an error, not a list that looks like an answer."""
    with pytest.raises(otr.ConfigurationError, match=r"finished.*running, stopped, archived"):
        otr.list_experiments(state="finished")  # type: ignore[arg-type]


def test_stopping_twice(host: Any) -> None:
    """The second stop says that it is stopped already; the data are as they were."""
    exp = otr.start_experiment("twice")
    host.call()
    otr.stop_experiment(exp.id)
    sealed = exp.content_hash
    with pytest.raises(otr.ExperimentStopped, match=f"{exp.id}.*stopped already"):
        otr.stop_experiment(exp.id)
    assert exp.content_hash == sealed
    assert exp.spans().collect().height == 1


def test_recording_into_a_stopped_experiment(host: Any) -> None:
    """Every way in says that it is stopped, and how to go on; nothing is added."""
    exp = otr.start_experiment("over")
    host.call()
    inside = exp.activate()
    inside.__enter__()
    otr.stop_experiment(exp)
    ways: list[Callable[[], Any]] = [
        lambda: otr.record("r", {"x": 1}),
        lambda: exp.activate().__enter__(),
        lambda: exp.arm("a").__enter__(),
        lambda: exp.session("s").__enter__(),
        lambda: exp.aside("j").__enter__(),
        lambda: exp.trial(item="q"),
    ]
    for way in ways:
        with pytest.raises(otr.ExperimentStopped, match=r"'over'.*resume"):
            way()
    inside.__exit__(None, None, None)
    with pytest.raises(otr.ExperimentStopped, match="'over'"):
        otr.record("r", {"x": 1})
    host.call()
    assert exp.spans().collect().height == 1
    untouched(host)


def test_recording_where_nothing_ever_ran(run_python: Callable[..., Any]) -> None:
    """Without any experiment, `record` and `score` say how to start one."""
    run = run_python("""
import otel_research as otr
for call in (lambda: otr.record("r", {"x": 1}), lambda: otr.score("s", 1.0)):
    try:
        call()
    except otr.ExperimentError as error:
        print(type(error).__name__, "start_experiment" in str(error))
""")
    assert run.stdout.split() == ["ExperimentError", "True"] * 2, run.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("", {"x": 1}), "name"),
        ((None, {"x": 1}), "name"),
        (("r", None), "measurements"),
        (("r", [("x", 1)]), "measurements"),
        (("r", {"x": object()}), r"measurements\['x'\] is a object, which is not JSON"),
        (("r", {"": 1}), "measurements keys"),
        (("r", {1: 1}), "measurements keys"),
        (("r", {"x": 1}, {"m": {1, 2}}), r"metadata\['m'\] is a set, which is not JSON"),
        (("r", {"x": 1}, {"m": {"n": object()}}), r"metadata\['m.n'\]"),
        (("r", {"x": 1}, ["m"]), "metadata"),
        (("r", {"x": 1}, {"experiment.id": "other"}), "experiment.id"),
        (("r", {"duration_ms": -5}), "duration_ms"),
        (("r", {"duration_ms": "5"}), "duration_ms"),
        (("r", {"duration_us": float("nan")}), "duration_us"),
    ],
    ids=named_case,
)
def test_a_bad_record_is_refused_whole(host: Any, arguments: tuple[Any, ...], named: str) -> None:
    """The message names the key; no half of a row is left."""
    with otr.experiment("records") as exp:
        with pytest.raises(otr.ConfigurationError, match=named):
            otr.record(*arguments)
        otr.record("good", {"x": 1})
    assert exp.spans().collect()["name"].to_list() == ["good"]


@pytest.mark.parametrize(
    ("name", "given", "named"),
    [("", {"value": 1.0}, "name"), (None, {"value": 1.0}, "name"), ("s", {}, "value or a label"),
     ("s", {"value": "good"}, "label="), ("s", {"value": float("nan")}, "nan"), ("s", {"value": float("inf")}, "inf")],
)  # fmt: skip
def test_a_bad_score_is_refused(host: Any, name: Any, given: dict[str, Any], named: str) -> None:
    """A score is a finite number or a label."""
    with otr.experiment("scores") as exp, exp.trial(item="q"), pytest.raises(otr.ConfigurationError, match=named):
        otr.score(name, **given)
    assert exp.spans().collect().height == 1


@pytest.mark.parametrize(
    ("use", "named"),
    [
        (lambda exp: exp.arm("").__enter__(), "condition"),
        (lambda exp: exp.arm(None).__enter__(), "condition"),
        (lambda exp: exp.arm("\ud800").__enter__(), "surrogate"),
        (lambda exp: exp.arm("a", factors={"f": object()}).__enter__(), "factors"),
        (lambda exp: exp.session("").__enter__(), "session_id"),
        (lambda exp: exp.session(7).__enter__(), "session_id"),
        (lambda exp: exp.aside("").__enter__(), "aside"),
        (lambda exp: exp.trial(item=object()), "item"),
        (lambda exp: exp.trial(item=1.5), "item"),
        (lambda exp: exp.trial(item=""), "item"),
        (lambda exp: exp.trial(item="q", repetition=-1), "repetition"),
        (lambda exp: exp.trial(item="q", repetition="first"), "repetition"),
        (lambda exp: exp.trial(item="q", note=object()), "note"),
        (lambda exp: exp.exclude("t", reason=""), "reason"),
        (lambda exp: exp.exclude(pl.col("item_id") == "q", reason="r"), "mapping"),
        (lambda exp: exp.exclude(exp.trial(item="q"), reason="r"), "a trial that has run"),
        (lambda exp: list(exp.stream(0)), "batch_size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_label_is_refused(host: Any, use: Callable[[otr.Experiment], Any], named: str) -> None:
    """What spans would carry is checked where it is said, not when it is too late; the experiment runs on."""
    with otr.experiment("labels") as exp:
        with pytest.raises(otr.ConfigurationError, match=named):
            use(exp)
        host.call()
    assert exp.spans().collect().height == 1
    assert exp.annotations() == []
    assert exp.ledger().errors == {}


# -- what the user's code does wrong --------------------------------------------------


class Raises:
    name = "raises"

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        raise ZeroDivisionError("no data")


class Answers:
    name = "answers"

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        return {"rows": spans.select(pl.len()).collect().item()}


def test_a_calculator_that_raises_does_not_silence_the_others(host: Any) -> None:
    """Its entry is None with the error as the reason; every other number is there."""
    with otr.experiment("calculators", custom_metrics=[Raises(), Answers()]) as exp:
        host.call()
        host.call()
    metrics = otr.calculate_metrics(exp)
    assert metrics.custom["answers"] == {"rows": 2}
    assert metrics.custom["raises"] is None
    assert "ZeroDivisionError" in metrics.reasons["custom.raises"]
    assert metrics.latency.count == 2


def test_a_filter_that_raises_keeps_the_span_and_counts_the_error(host: Any) -> None:
    """A span is never lost to a bug in a filter."""
    with otr.experiment("filter", event_filter=lambda span: span.no_such_attribute) as exp:
        host.call()
    assert exp.spans().collect().height == 1
    assert exp.ledger().errors == {"event_filter": 1}


def test_attributes_of_any_kind_lose_no_span(host: Any) -> None:
    """What JSON cannot hold is tagged; the neighbours are untouched and analyses run."""
    odd = {
        "nan": float("nan"), "inf": float("inf"), "big": 2**80, "bytes": b"\xff\x00", "surrogate": "a\ud800b",
        "nul": "a\x00b", "none": None, "nested": {"a": [1, {"b": b"x"}]}, "long": "x" * 200_000,
    }  # fmt: skip
    with otr.experiment("odd") as exp:
        for key, value in odd.items():
            host.call("odd", **{key: value})
        host.call("good")
    assert exp.spans().collect().height == len(odd) + 1
    assert exp.ledger().errors == {}
    assert exp.metrics().latency.count == len(odd) + 1


# -- out ------------------------------------------------------------------------------


def exported(host: Any) -> otr.Experiment:
    with otr.experiment("exported") as exp:
        host.call()
    return exp


@pytest.mark.parametrize("format", ["xlsx", "", "CSVV", None, 7])
def test_an_unknown_export_format(host: Any, tmp_path: Path, format: Any) -> None:
    """The message names the formats there are; no file is left."""
    with pytest.raises(otr.ConfigurationError, match="csv"):
        exported(host).export(format, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_path(host: Any, tmp_path: Path) -> None:
    """A file where a folder is needed, or a folder where the file goes: named, and left as it is."""
    exp = exported(host)
    blocker = tmp_path / "file"
    blocker.write_text("precious")
    (tmp_path / "folder").mkdir()
    for path in (blocker / "out.csv", tmp_path / "folder", Path("/proc/nowhere/out.csv")):
        with pytest.raises(otr.ResearchError) as refused:
            exp.export("csv", path)
        assert path.name in str(refused.value) or str(path.parent) in str(refused.value)
    assert blocker.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_an_unwritable_store(tmp_path: Path) -> None:
    """A store below a file: StoreError with the place and the way out; the next store works."""
    blocker = tmp_path / "file"
    blocker.write_text("precious")
    with recording(f"disk:{blocker}/store") as (_, provider):
        with pytest.raises(otr.StoreError, match=rf"{blocker}.*store="):
            otr.start_experiment("nowhere to go")
        assert registry.running == {}
        assert otr.current_experiment() is None
        provider.get_tracer("x").start_span("goes on").end()
        with otr.experiment("elsewhere", store=f"disk:{tmp_path}/good") as exp:
            provider.get_tracer("x").start_span("s").end()
        assert exp.spans().collect().height == 1
    assert blocker.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"store": "dsk:x"}, "Did you mean 'disk:x'"),
        ({"store": 7}, "int is not a Store"),
        ({"provider": object()}, "TracerProvider"),
        ({"forward": "zipkin"}, "zipkin"),
        ({"forward": ["otlp", 7]}, "7"),
        ({"overload": "panic"}, "panic"),
        ({"fsync": "2s"}, "2s"),
        ({"content": "some"}, "some"),
        ({"starts": "no"}, "starts"),
        ({"forward_all": "yes"}, "forward_all"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_setting_leaves_nothing_behind(arguments: dict[str, Any], named: str) -> None:
    """configure() refuses it by name, sets no global provider, and works when called rightly."""
    from opentelemetry import trace

    before = trace.get_tracer_provider()
    with pytest.raises(otr.ConfigurationError, match=named):
        otr.configure(**{"store": "memory:", **arguments})
    assert trace.get_tracer_provider() is before
    with recording():
        pass


def test_every_error_is_a_research_error() -> None:
    """One tree: whoever catches ResearchError catches them all; the built-in kinds still match."""
    for name in otr.errors.__dict__:
        kind = getattr(otr.errors, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert issubclass(kind, otr.ResearchError)
    assert issubclass(otr.ConfigurationError, ValueError)
    assert issubclass(otr.UnknownExperiment, LookupError)
    assert issubclass(otr.MissingExtra, ImportError)
