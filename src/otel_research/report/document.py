"""What a report says, before it is HTML, Markdown or LaTeX: sections of prose, tables and figures.

Input is plain JSON data, the same that `--json` prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_research.report import figures
from otel_research.report.canvas import Figure
from otel_research.report.comparison import effect_lines, footing, improvement_of, labels_of, place_of
from otel_research.report.forest import axis_label, forest
from otel_research.report.metrics import metric_lines, plural, warnings_of
from otel_research.report.terminal import captured
from otel_research.report.values import Footnotes, amount, interval, signed


@dataclass(frozen=True)
class Prose:
    """One paragraph; a note is set smaller."""

    text: str
    is_note: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a header. With `conditions`, the columns after the first are conditions in their order."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    conditions: bool = False


Block = Prose | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A report: its title, what a reader has to know first, and its sections."""

    title: str
    lead: Sequence[str]
    sections: Sequence[Section] = field(default_factory=tuple)


def of_experiment(told: Mapping[str, Any]) -> Document:
    """The report of one experiment; see `otel_research.reported.report_data` for the data."""
    experiment, comparison = told["experiment"], told["comparison"]
    state = experiment["state"] + (" (crash)" if experiment.get("ended_by") == "crash" else "")
    lead = [
        f"Experiment {experiment['id']}, {state}.",
        *(_sentence(line) for line in captured(told["ledger"]).plain.splitlines()),
    ]
    if experiment.get("hypothesis"):
        lead.insert(0, f"Hypothesis: {experiment['hypothesis']}")
    sizes = (
        f"{name or 'all'} {amount(block['n'])} {plural(block['unit'], block['n'])}"
        for name, block in told["conditions"].items()
    )
    lead.append(f"n: {' · '.join(sizes) or 'nothing'}")
    if comparison:
        lead.append(verdict(comparison))
    shape, unit = told["shape"], told["unit"]
    sections = [
        Section("Results", list(_numbers(told["conditions"]))),
        *(_comparisons(comparison) if comparison else ()),
        *([Section("Comparison", [Prose(f"None: {told['no_comparison']}.")])] if told["no_comparison"] else ()),
        Section(
            "Figures",
            [
                figures.latency(shape["steps"], shape["counts"], unit, shape["n_censored"], shape["n_unknown"]),
                figures.percentiles(told["conditions"]),
                figures.timeline(shape["points"], shape["counts"], unit),
                figures.cost(told["conditions"]),
            ],
        ),
        Section("Methods", list(_methods(told))),
        Section("Data quality", list(_quality(told["quality"]))),
        Section("Ledger and overhead", [_ledger(told["ledger"]), *_overhead(told["ledger"])]),
        Section("Provenance", [_provenance(told)]),
    ]
    return Document(experiment["name"], lead, sections)


def of_comparison(comparison: Mapping[str, Any], software: Mapping[str, Any]) -> Document:
    """The report of a comparison, from `Comparison.to_dict()`."""
    candidate, baseline = labels_of(comparison["candidate"], comparison["baseline"])
    methods = [Prose(comparison["methods"])] if comparison["methods"] else []
    facts = [*_facts({"data hash": comparison.get("data_hash"), "method": comparison["method"], **software})]
    return Document(
        f"{candidate} against {baseline}",
        [verdict(comparison)],
        [
            *_comparisons(comparison),
            Section("Methods", [*methods, *_assumed(comparison)]),
            Section("Provenance", [Table(("", ""), facts)]),
        ],
    )


def of_result(
    result: Mapping[str, Any], heading: str, rows: Sequence[Sequence[str]], software: Mapping[str, Any]
) -> Document:
    """The report of any other result: its table, its warnings and how it was made."""
    kind = result["result"]
    facts = _facts({"data hash": result.get("data_hash"), "method": result["method"], **software})
    return Document(
        kind,
        [heading],
        [
            Section("Results", [Table(("", "value", "interval"), rows), *_warned(result)]),
            Section("Methods", [Prose(f"Estimand: {result['estimand']}."), *_assumed(result)]),
            Section("Provenance", [Table(("", ""), list(facts))]),
        ],
    )


def of_study(study: Mapping[str, Any], software: Mapping[str, Any]) -> Document:
    """The report of a study, from `Study.to_dict()`."""
    count, outcomes = len(study["experiments"]), list(study["outcomes"].values())
    facts = _facts({"data hash": study.get("data_hash"), "method": study["method"], **software})
    corrected = f"P-values are corrected over all experiments and outcomes ({study['correction']})."
    return Document(
        f"Study: {study['candidate']} against {study['baseline']}",
        [f"Study of {count} experiments: {', '.join(study['experiments'])}.", *map(_pooled, outcomes)],
        [
            *(Section(pooled["outcome"], list(_outcome(pooled, study))) for pooled in outcomes),
            Section(
                "Methods", [Prose(f"Estimand: {study['estimand']}. {corrected}"), *_assumed(study), *_warned(study)]
            ),
            Section("Provenance", [Table(("", ""), list(facts))]),
        ],
    )


def _pooled(pooled: Mapping[str, Any]) -> str:
    """One outcome over all experiments, in a sentence."""
    unit = " %" if pooled["scale"] == "percent" else ""
    return (
        f"{pooled['outcome']}: {signed(pooled['effect'])}{unit}{interval(pooled['ci'])}, p = {amount(pooled['p_adjusted'])}; "
        f"{amount(pooled['i2'])} % of the variation between experiments is not chance (I²)."
    )


def _outcome(pooled: Mapping[str, Any], study: Mapping[str, Any]) -> Iterable[Block]:
    yield forest(pooled, study["candidate"], study["baseline"])
    rows = [
        [
            row["experiment"],
            " / ".join(map(amount, row["n"])),
            signed(row["effect"]) + interval(row["ci"]),
            f"{100 * row['weight']:.0f} %",
            amount(row["p_adjusted"]),
            "–"
            if row["pooled_without"] is None
            else signed(row["pooled_without"]) + interval(row["pooled_without_ci"]),
        ]
        for row in pooled["forest"]
    ]
    total = ["pooled", "", signed(pooled["effect"]) + interval(pooled["ci"]), "100 %", amount(pooled["p_adjusted"]), ""]
    yield Table(
        (
            "experiment",
            "n",
            axis_label(pooled, study["candidate"], study["baseline"]),
            "weight",
            "p",
            "pooled without it",
        ),
        [*rows, total],
    )
    expected = pooled["prediction"]
    new = f" A new experiment is expected within{interval(expected)}." if expected else ""
    yield Prose(
        f"Between experiments: tau² {amount(pooled['tau2'])}, Q {amount(pooled['q'])} (p = {amount(pooled['q_p'])}). "
        f"If all had one true effect it would be {signed(pooled['fixed'])}.{new}",
        is_note=True,
    )


def verdict(comparison: Mapping[str, Any]) -> str:
    """The verdict in a sentence, and what else would have to be said of it."""
    candidate, baseline = labels_of(comparison["candidate"], comparison["baseline"])
    head = comparison["effects"].get(comparison["headline"])
    found = (improvement_of(head) if head else "") or "no effect could be computed"
    text = f"{candidate} against {baseline}: {comparison['verdict'].upper()}, by {comparison['headline']} per {comparison['unit']} ({found})."
    others = [verdict(other) for other in comparison["others"]]
    return " ".join([text, *others])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _numbers(blocks: Mapping[str, Mapping[str, Any]]) -> Iterable[Block]:
    if not blocks:
        yield Prose("There are no units to report on.")
        return
    notes = Footnotes()
    rows = [[label, *cells] for label, cells in metric_lines(list(blocks.values()), notes)]
    yield Table(["", *(name or "all" for name in blocks)], rows, conditions=True)
    yield from (Prose(text, is_note=True) for text in notes.lines())
    yield from (Prose(f"Note: {text}", is_note=True) for text in warnings_of(blocks))


def _comparisons(comparison: Mapping[str, Any]) -> Iterable[Section]:
    candidate, baseline = labels_of(comparison["candidate"], comparison["baseline"])
    notes = Footnotes()
    found = sorted(comparison["effects"].items(), key=lambda pair: place_of(pair[0], comparison["headline"]))
    rows = [
        [name, effect["verdict"], "\n".join(effect_lines(name, effect, comparison.get("reasons") or {}, notes))]
        for name, effect in found
    ]
    blocks: list[Block] = [
        Table(("outcome", "verdict", f"{baseline} → {candidate}"), rows),
        *(Prose(line, is_note=True) for line in (*notes.lines(), *footing(comparison))),
        figures.effects({**comparison, "candidate": candidate, "baseline": baseline}),
        Table(("check of the design", "passed", "finding"), [_check(check) for check in comparison["checks"]]),
        *_warned(comparison),
    ]
    yield Section(f"{candidate} against {baseline}", blocks)
    for other in comparison["others"]:
        yield from _comparisons(other)


def _check(check: Mapping[str, Any]) -> list[str]:
    return [check["name"].replace("_", " "), "yes" if check["passed"] else f"no ({check['severity']})", check["text"]]


def _warned(result: Mapping[str, Any]) -> Iterable[Prose]:
    return (Prose(f"{warn['severity'].capitalize()}: {warn['text']}", is_note=True) for warn in result["warnings"])


def _assumed(result: Mapping[str, Any]) -> Iterable[Prose]:
    if result.get("assumptions"):
        yield Prose(f"Assumed: {'; '.join(result['assumptions'])}.")


def _methods(told: Mapping[str, Any]) -> Iterable[Prose]:
    comparison = told["comparison"]
    if comparison:
        yield Prose(f"Baseline: {told['baseline']} ({told['baseline_by']}).")
        yield from (Prose(one["methods"]) for one in (comparison, *comparison["others"]) if one["methods"])
    for block in list(told["conditions"].values())[:1]:
        yield Prose(
            f"Numbers per {block['unit']}, by {block['method']}. Quantiles interpolate linearly (type 7 of Hyndman and Fan, "
            "1996), and by Kaplan-Meier where timeouts censor them. Evaluation calls and excluded trials are left out."
        )
        yield from _assumed(block)
    for text in told["amendments"]:
        yield Prose(f"{text[0].upper()}{text[1:]}.", is_note=True)
    for note in told["exclusions"]:
        yield Prose(f"Excluded by {note.get('author') or 'unknown'}: {note.get('reason')}", is_note=True)


def _quality(quality: Mapping[str, Any]) -> Iterable[Block]:
    components = ", ".join(f"{name.replace('_', ' ')} {amount(value)}" for name, value in quality["components"].items())
    yield Prose(f"Score {amount(quality['data_quality_score'])} of 100: the product of {components or 'nothing'}.")
    if quality["findings"]:
        yield Table(
            ("severity", "finding", "count"),
            [[one["severity"], one["text"], amount(one["count"])] for one in quality["findings"]],
        )


def _ledger(ledger: Mapping[str, Any]) -> Table:
    counts = {name: value for name, value in ledger.items() if isinstance(value, int) and not isinstance(value, bool)}
    lost = {f"lost: {reason}": count for reason, count in (ledger.get("lost") or {}).items()} or {"lost": 0}
    return Table(("spans", "count"), [[name.replace("_", " "), amount(n)] for name, n in {**counts, **lost}.items()])


def _overhead(ledger: Mapping[str, Any]) -> Iterable[Prose]:
    found = ledger.get("overhead") or {}
    if found.get("hooks_us_per_span") is None or found.get("bare_span_us") is None:
        yield Prose("What observing cost was not measured in this run (one span in 64 is timed).", is_note=True)
        return
    yield Prose(
        f"Observing took {amount(found['hooks_us_per_span'])} µs a span, beside {amount(found['bare_span_us'])} µs for the "
        f"span itself ({amount(found['spans_timed'])} timed, in this run)."
    )


def _provenance(told: Mapping[str, Any]) -> Table:
    experiment = told["experiment"]
    environment = experiment.get("environment") or {}
    git = environment.get("git") or {}
    revision = (
        f"{git['commit']}{' with uncommitted changes' if git.get('is_dirty') else ''}" if git.get("commit") else None
    )
    facts = {
        "experiment": experiment["id"],
        "content hash": experiment.get("content_hash"),
        "started": experiment.get("started_at"),
        "stopped": experiment.get("stopped_at"),
        "declared n per condition": experiment.get("sample_size"),
        "declared outcomes": ", ".join(experiment.get("primary") or ()),
        "seed": experiment.get("seed"),
        "study": experiment.get("study"),
        "tags": ", ".join(experiment.get("tags") or ()),
        **{f"metadata {name}": value for name, value in (experiment.get("metadata") or {}).items()},
        "git revision": revision,
        "prices": told["prices"],
        "python": environment.get("python"),
        "platform": environment.get("platform"),
        "processor": environment.get("cpu"),
        "command": " ".join(map(str, environment.get("command") or ())),
        **{f"package {name}": version for name, version in told["packages"].items()},
        **told["software"],
    }
    always = ("content hash", "git revision")
    return Table(("", ""), list(_facts(facts, always)))


def _facts(facts: Mapping[str, Any], always: Sequence[str] = ()) -> Iterable[list[str]]:
    for name, value in facts.items():
        if value not in (None, "", [], {}):
            yield [name, _words(value)]
        elif name in always:
            yield [name, "not known"]


def _words(value: Any) -> str:
    """A value as text: lists by commas, what is nested as JSON."""
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, int, float)) for one in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
