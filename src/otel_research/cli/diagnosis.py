"""Is my set-up capturing? One canary span through the real thing, and what is attached to it.

Plain data out: `doctor` prints it. Nothing is left behind: the canary's experiment is deleted.
"""

from __future__ import annotations

import inspect
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_research import context

if TYPE_CHECKING:
    from otel_research.recorder import Recorder
    from otel_research.store.library import Library

NAME = "otel-research-doctor"
CANARY = "canary"
CANARY_SECONDS = 5.0
"""How long the end of the canary is waited for: it has been said, and either it arrived or it never will."""
LOW_DISK = 1 << 30
LIMITS = (
    ("max_span_attributes", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "{} attributes of a span and drops the oldest"),
    ("max_events", "OTEL_SPAN_EVENT_COUNT_LIMIT", "{} events of a span and drops the oldest"),
    ("max_links", "OTEL_SPAN_LINK_COUNT_LIMIT", "{} links of a span and drops the oldest"),
    ("max_event_attributes", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "{} attributes of an event and drops the oldest"),
    ("max_link_attributes", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "{} attributes of a link and drops the oldest"),
    (
        "max_span_attribute_length",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "{} characters of a text in an attribute and cuts off what is",
    ),
)
"""A limit of the SDK's, the variable that sets it, and what it does to a span."""


class Finding(NamedTuple):
    """One thing to know: "ok", "warning" (may cost something) or "failed" (spans are lost)."""

    severity: str
    text: str


def diagnose(store: str | None = None) -> dict[str, Any]:
    """Send a canary span through the process's recorder, or through one made for the purpose.

    Keys: `ok, store, canary, provider, processors, tracers, limits, unmapped, disk, clock, unreadable, environment,
    findings`.
    """
    from otel_research import recorder

    active = recorder.current()
    # What hangs on the provider is the host's business: look before anything of ours is added.
    used = active if active is not None and store is None else recorder.configure(store=store)
    try:
        told: dict[str, Any] = {"store": used.library.url, "canary": send_canary(used)}
        told |= {"provider": provider(used), "processors": list(processors(used)), "limits": limits(used)}
        told |= {"unmapped": unmapped(used.library), "disk": disk(used), "clock": clock()}
        told["tracers"] = list(tracers(used))
        told["unreadable"] = used.library.unreadable()
        told["environment"] = {
            name: _shown(name, value) for name, value in sorted(os.environ.items()) if _is_ours(name)
        }
    finally:
        if used is not active:
            used.close()
    findings = list(judge(told))
    return {
        "ok": not any(finding.severity == "failed" for finding in findings),
        **told,
        "findings": [finding._asdict() for finding in findings],
    }


def send_canary(used: Recorder) -> dict[str, Any]:
    """A span in an experiment of its own: was it recorded, did it reach the store, is it whole?"""
    import polars as pl

    import otel_research as otr

    text = "café \U0001f426"
    began = time.perf_counter()
    assert used.provider is not None
    experiment = otr.start_experiment(NAME, tags=("otel-research:doctor",))
    try:
        with experiment.activate():
            tracer = used.provider.get_tracer("otel_research.doctor")
            with tracer.start_as_current_span(CANARY, attributes={"canary.text": text}) as span:
                is_recording = span.is_recording()
            crosses_threads = threads_carry()
        otr.stop_experiment(experiment, timeout=CANARY_SECONDS)
        found = experiment.library.scan(experiment.id).filter(pl.col("name") == CANARY)
        rows = found.select("attributes", "dropped_attributes", "end_ns").collect().to_dicts()
        ledger = experiment.ledger().to_dict()
    finally:
        experiment.cleanup(keep_data=False, force=True)
    return {
        "is_recorded": is_recording,
        "crosses_threads": crosses_threads,
        "is_stored": len(rows) == 1,
        "is_whole": len(rows) == 1 and _is_whole(rows[0], text),
        "seconds": round(time.perf_counter() - began, 3),
        "ledger": ledger,
    }


def _is_whole(row: dict[str, Any], text: str) -> bool:
    return row["end_ns"] is not None and text in row["attributes"] and not row["dropped_attributes"]


def provider(used: Recorder) -> dict[str, Any]:
    """Whose provider it is, and what decides and names its spans."""
    found: Any = used.provider
    return {
        "type": _type(found),
        "is_ours": used.is_own_provider,
        "sampler": found.sampler.get_description(),
        "id_generator": _type(found.id_generator),
    }


def processors(used: Recorder) -> Iterator[dict[str, Any]]:
    """What hangs on the provider, in the order it is called, with what it exports to."""
    from otel_research.capture.attach import processors_of

    assert used.provider is not None
    for processor in _leaves(processors_of(used.provider)):
        exporter = getattr(processor, "span_exporter", None) or getattr(processor, "_exporter", None)
        is_ours = type(processor).__module__.startswith("otel_research.")
        yield {
            "type": _type(processor),
            "exporter": None if exporter is None else _type(exporter),
            "is_ours": is_ours,
            "ignores_sampled_flag": False if is_ours else ignores_sampled_flag(processor),
        }


def tracers(used: Recorder) -> Iterator[dict[str, Any]]:
    """The tracers made so far that will not behave as the provider says: disabled, or with a sampler of their own."""
    provider: Any = used.provider
    for tracer in list(getattr(provider, "_tracers", {}).values()):
        scope = getattr(tracer, "_instrumentation_scope", None)
        asked = getattr(tracer, "_is_enabled", None)
        is_enabled = bool(asked()) if callable(asked) else True
        keeps = None if tracer.sampler is provider.sampler else tracer.sampler.get_description()
        if not is_enabled or keeps is not None:
            yield {"scope": getattr(scope, "name", ""), "is_enabled": is_enabled, "own_sampler": keeps}


def threads_carry() -> bool:
    """Whether a thread that is started here is in the experiment that is entered here: tried out, not guessed."""
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(context.context_scope()))
    thread.start()
    thread.join()
    here = context.context_scope()
    return here is not None and seen[0] is not None and seen[0].experiment_id == here.experiment_id


def _leaves(given: Iterable[Any]) -> Iterator[Any]:
    for processor in given:
        inner = getattr(processor, "_span_processors", None)
        if isinstance(inner, (list, tuple)):
            yield from _leaves(inner)
        else:
            yield processor


def ignores_sampled_flag(processor: Any) -> bool | None:
    """Whether `on_end` takes spans that are recorded but not sampled; None where its source is not to be had.

    Inside an experiment the host's unsampled spans are recorded, so such a processor sees more
    than before. Read from the source of `on_end`: trying it out would send it a span.
    """
    owner = next((kind for kind in type(processor).__mro__ if "on_end" in vars(kind)), None)
    if owner is None or owner.__name__ == "SpanProcessor":
        return False  # the do-nothing method of the SDK's base class
    try:
        return "sampled" not in inspect.getsource(vars(owner)["on_end"])
    except (OSError, TypeError):
        return None


def limits(used: Recorder) -> dict[str, int | None]:
    """What the SDK drops before anyone sees it; None is no limit."""
    found = getattr(used.provider, "_span_limits", None)
    return {name: getattr(found, name, None) for name, *_ in LIMITS}


def unmapped(library: Library) -> dict[str, int]:
    """Keys of model calls and agents in this store that no dialect understands, with how many spans have them."""
    from otel_research import semconv

    return dict(semconv.unmapped(library.store.scan()).rows())


def disk(used: Recorder) -> dict[str, Any]:
    """Where the journal lies and how much room there is; a memory store has no disk."""
    from otel_research.journal.segment import file_system

    root = getattr(used.library.journal, "root", None)
    if root is None:
        return {"path": None, "free_bytes": None, "filesystem": None}
    folder = next(path for path in (Path(root), *Path(root).parents) if path.exists())
    return {"path": str(root), "free_bytes": shutil.disk_usage(folder).free, "filesystem": file_system(folder)}


def clock() -> dict[str, Any]:
    """How the wall clock runs beside the monotonic one over 50 ms, in parts per million."""
    wall, steady = time.time_ns(), time.monotonic_ns()
    time.sleep(0.05)
    passed = time.monotonic_ns() - steady
    return {
        "resolution_ns": round(time.get_clock_info("time").resolution * 1e9),
        "drift_ppm": round((time.time_ns() - wall - passed) / passed * 1e6),
        "utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def judge(told: dict[str, Any]) -> Iterator[Finding]:
    """What the facts mean."""
    yield from _judge_canary(told["canary"])
    for processor in told["processors"]:
        name = processor["exporter"] or processor["type"]
        if processor["ignores_sampled_flag"] is not False:
            verb = "ignores" if processor["ignores_sampled_flag"] else "may ignore"
            yield Finding(
                "warning",
                f"{processor['type']} {verb} the sampled flag: inside an experiment it sees spans that the host's "
                "sampler drops. Wrap it: otel_research.SampledOnly(processor).",
            )
        elif not processor["is_ours"]:
            yield Finding("ok", f"spans also go to {name}, as sampled by the host")
    yield from _judge_tracers(told)
    for name, variable, what in LIMITS:
        if told["limits"][name] is not None:
            kept = what.format(told["limits"][name])
            yield Finding(
                "warning", f"the provider keeps at most {kept} beyond that. Lift it in SpanLimits, or with {variable}."
            )
    yield from _judge_surroundings(told)


def _judge_tracers(told: dict[str, Any]) -> Iterator[Finding]:
    for tracer in told.get("tracers", ()):
        if not tracer["is_enabled"]:
            yield Finding(
                "warning", f"the scope {tracer['scope']!r} is disabled: it makes no spans (tracer configurator)"
            )
        if tracer["own_sampler"] is not None:
            yield Finding(
                "warning",
                f"the tracer {tracer['scope']!r} keeps a sampler of its own, {tracer['own_sampler']}: the provider's was "
                "replaced after the tracer was made. Set the sampler before the first get_tracer().",
            )
    if not told["canary"].get("crosses_threads", True):
        yield Finding(
            "warning",
            "threads do not inherit the arm and the trial they are started in; they fall back on the process-wide "
            "experiment. configure(threads=True) carries them, so does otr.carry(function).",
        )


def _judge_canary(canary: dict[str, Any]) -> Iterator[Finding]:
    if canary["is_stored"] and canary["is_whole"]:
        yield Finding("ok", f"the canary span was captured, stored and read back ({canary['seconds']} s)")
    elif canary["is_stored"]:
        yield Finding("failed", "the canary span was stored, but not whole: its end or attributes are missing")
    elif not canary["is_recorded"]:
        yield Finding("failed", "no span is recorded at all. Is OTEL_SDK_DISABLED set?")
    else:
        yield Finding("failed", f"the canary span did not reach the store; ledger: {canary['ledger']}")


def _judge_surroundings(told: dict[str, Any]) -> Iterator[Finding]:
    from otel_research.journal.segment import MAPPABLE

    free, kind = told["disk"]["free_bytes"], told["disk"]["filesystem"]
    if told["disk"]["path"] is None:
        yield Finding("warning", "the memory store ends with the process; use disk:PATH to keep spans")
    elif free < LOW_DISK:
        yield Finding("warning", f"only {free / 1e6:,.0f} MB are free at {told['disk']['path']}")
    else:
        yield Finding("ok", f"{free / 1e9:,.1f} GB are free at {told['disk']['path']}")
    if kind is not None and kind not in MAPPABLE:
        yield Finding("ok", f"the file system is {kind}: the journal writes with system calls instead of a memory map")
    if abs(told["clock"]["drift_ppm"]) > 5_000:
        yield Finding("warning", f"the wall clock is being adjusted ({told['clock']['drift_ppm']:,} ppm now)")
    for trouble in told.get("unreadable", ()):
        yield Finding("warning", f"an experiment is not listed: {trouble}")
    if told["unmapped"]:
        first = ", ".join(list(told["unmapped"])[:5])
        text = f"attribute keys of stored spans that are in no dialect: {len(told['unmapped'])} ({first})"
        yield Finding("ok", f"{text}; they are kept in `attributes`")


def _type(found: Any) -> str:
    return f"{type(found).__module__}.{type(found).__qualname__}"


def _is_ours(name: str) -> bool:
    return name.startswith("OTEL_")


def _shown(name: str, value: str) -> str:
    """Headers and store URLs may hold credentials."""
    from otel_research.environment import HIDDEN, without_secrets

    return HIDDEN if "HEADERS" in name else without_secrets([value])[0]
