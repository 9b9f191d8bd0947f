"""The methods paragraph of a comparison: what a paper has to say, with versions."""

from __future__ import annotations

from otel_research.analysis.comparison import Comparison, Effect, improvement
from otel_research.analysis.stats.outcome import library

_DESIGNS = {
    "paired": "paired on shared items (repetitions averaged within items)",
    "clustered": "with cluster-robust standard errors (CR2, Satterthwaite degrees of freedom)",
    "independent": "as independent samples",
}
_CORRECTIONS = {
    "holm": "Holm's method",
    "bonferroni": "Bonferroni's method",
    "bh": "Benjamini and Hochberg's method",
    "by": "Benjamini and Yekutieli's method",
    "none": "no correction",
}

NOTES = ("amended", "exclusions")
"""Checks that say what was noted after the declaration."""


def paragraph(found: Comparison) -> str:
    """One paragraph in the past tense."""
    head = found.effects[found.headline]
    family = [effect for effect in found.effects.values() if effect.is_primary]
    parts = [
        f"{found.candidate} was compared with {found.baseline} per {found.unit} "
        f"(n = {head.n[0]:,} and {head.n[1]:,}"
        + (f"; {head.n_items:,} items" if head.n_items else "")
        + f"), {_DESIGNS[head.design]}.",
        f"The estimand was the {head.estimand} of {found.headline}, tested by {head.test.name} ({head.test.method}).",
        f"P-values of {len(family)} primary outcome{'s' if len(family) != 1 else ''} "
        f"({', '.join(effect.outcome for effect in family)}) were adjusted by {_CORRECTIONS[found.correction]} "
        f"at alpha = {found.alpha:g}"
        + ("; other outcomes by Benjamini and Hochberg's method." if _rest(found) else "."),
        _result(head),
    ]
    if found.n_resamples:
        parts.append(
            f"Quantile intervals are percentile bootstrap ({found.n_resamples:,} resamples, seed {found.seed})."
        )
    told = [check.text for check in found.checks if check.name in NOTES]
    parts += [f"{text[0].upper()}{text[1:]}." for text in told]
    failed = [check.text for check in found.checks if not check.passed and check.name not in NOTES]
    if failed:
        parts.append(f"Design checks not passed: {'; '.join(failed)}.")
    parts.append(f"Software: otel-research {found.method}, {library('scipy')}, {library('numpy')}.")
    return " ".join(parts)


def assumptions(head: Effect) -> tuple[str, ...]:
    """What the headline's test takes for granted."""
    independence = {
        "paired": "items are independent of each other",
        "clustered": "items are independent of each other; trials of one item need not be",
        "independent": "units are independent of each other",
    }[head.design]
    shape = "the mean of the logarithms is close to normal at this n" if head.estimand == "geometric mean" else (
        "the mean is close to normal at this n" if head.estimand == "mean" else "the estimand is smooth at this n"
    )  # fmt: skip
    return (independence, shape) if head.estimand != "rate" else (independence,)


def _rest(found: Comparison) -> bool:
    return any(not effect.is_primary for effect in found.effects.values())


def _result(head: Effect) -> str:
    change, unit, ci = improvement(head)
    p = head.test.p_adjusted
    if change is None:
        return f"The change of {head.outcome} could not be computed."
    unit = " percentage points" if head.estimand == "rate" else unit
    text = f"{head.outcome.capitalize()} was {abs(change):.3g}{unit} {'better' if change >= 0 else 'worse'}"
    if ci is not None:
        text += f" ({100 * ci.level:g} % interval {ci})"
    if p is None:
        return f"{text}; the p-value is withheld or not computable."
    d = head.effect_size.cohens_d
    shown = f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"
    return f"{text}, adjusted p {shown}" + (f", Cohen's d = {d:.2f}." if d is not None else ".")
