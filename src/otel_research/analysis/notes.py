"""The warnings of `Metrics`: what a reader of these numbers has to know."""

from __future__ import annotations

from collections.abc import Iterator

from otel_research.analysis.gather import Draft
from otel_research.analysis.result import Warn
from otel_research.analysis.scored import without_trial
from otel_research.analysis.subject import Subject, unusable
from otel_research.analysis.units import NO_CALLS, Tables

_TEXTS = {
    NO_CALLS: "no span is a request to a model, so nothing can be said per call; use unit='trial' or unit='span'",
    "no_trial_spans": "there is no trial; record some with exp.trial(...) or use unit='call'",
    "no_sessions": "no span has a session; declare one with exp.session(...)",
    "no_spans": "there are no spans",
    "no_groups": "the unit's expression is null for every span",
}


def of(subject: Subject, table: Tables, draft: Draft) -> Iterator[Warn]:
    """The warnings of one group, most severe first."""
    if table.reason:
        yield Warn(code=table.reason, severity="error", text=_TEXTS[table.reason])
    missing = lost(subject)
    if missing:
        yield Warn(code="lost", severity="error", text=f"{missing:,} spans were lost in capture", value=float(missing))
    if draft.unweighted or (subject.record is not None and subject.record.is_unweighted):
        text = "a yes/no sampling strategy hides its probabilities: these numbers are of the kept spans only"
        yield Warn(code="unweighted", severity="warning", text=text, value=float(draft.unweighted))
    yield from unusable_exclusions(subject)
    unplaced = without_trial(subject)
    if unplaced:
        text = f"{unplaced:,} scores that were noted after the run name no trial: they are in no number"
        yield Warn(code="unplaced_scores", severity="warning", text=text, value=float(unplaced))
    yield from _about_parts(draft)
    if table.has_fallen_back:
        yield Warn(
            code="root_spans", severity="info", text="no span carries a GenAI marker: root spans are taken as calls"
        )
    if draft.is_weighted:
        text = "sampled: totals are estimates by weight; means, ratios and percentiles are consistent, not unbiased"
        yield Warn(code="weighted", severity="info", text=text)


def _about_parts(draft: Draft) -> Iterator[Warn]:
    cost, tokens, outcome = (draft.parts.get(name) or {} for name in ("cost", "tokens", "reliability"))
    if cost.get("unpriced"):
        n, models = cost["unpriced"], ", ".join(cost["unpriced_models"])
        text = f"{n:,} calls are unpriced ({models}): totals are of the others, unpriced is not free"
        yield Warn(code="unpriced", severity="warning", text=text, value=float(n))
    if tokens.get("unknown"):
        n = tokens["unknown"]
        text = f"{n:,} calls reported no tokens: they are in no sum"
        yield Warn(code="unknown_tokens", severity="warning", text=text, value=float(n))
    if outcome.get("interrupted"):
        n = outcome["interrupted"]
        text = f"{n:,} units were interrupted: their outcome and latency are unknown"
        yield Warn(code="interrupted", severity="warning", text=text, value=float(n))
    censored = (draft.parts.get("latency") or {}).get("n_censored")
    if censored:
        text = f"{censored:,} timeouts are right-censored: quantiles are Kaplan-Meier, the mean is a lower bound"
        yield Warn(code="censored", severity="warning", text=text, value=float(censored))


def unusable_exclusions(subject: Subject) -> Iterator[Warn]:
    """One warning per exclusion that the rows cannot answer, and that therefore excludes nothing."""
    for text in unusable(subject):
        yield Warn(code="unusable_exclusion", severity="warning", text=text)


def lost(subject: Subject) -> int:
    """Spans that capture lost, by the subject's ledger."""
    ledger = subject.ledger or (subject.record.ledger if subject.record else {})
    counts = ledger.get("lost") or {}
    return sum(counts.values()) if isinstance(counts, dict) else int(counts)
