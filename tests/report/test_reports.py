"""Reports and figures: whole, self-contained, and nothing that a user named is markup."""

from __future__ import annotations

import html.parser
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from tests.conftest import CALL, Host

import otel_research as otr
from otel_research.analysis.shape import shape
from otel_research.analysis.subject import Subject
from otel_research.cli import main
from otel_research.errors import ConfigurationError
from otel_research.report import figures, latex, markdown
from otel_research.report.canvas import Figure, Scale, colour, scale_of
from otel_research.report.document import Document, Section, Table
from otel_research.report.metrics import COLOURS
from otel_research.report.values import amount

NASTY = "<script>alert(1)</script> & $x_1$ | `a` [b](c) \\input{d} \x01"
MS = 1_000_000


def run(
    host: Host, name: str = "prompts", arms: tuple[str, ...] = ("short", "long"), trials: int = 12
) -> otr.Experiment:
    """Trials with one priced call each; the last of every arm fails."""
    with otr.experiment(name, hypothesis="short is faster", seed=7, metadata={"k": NASTY}) as exp:
        for item in range(trials):
            for place, arm in enumerate(arms):
                with exp.arm(arm), exp.trial(item=item) as trial:
                    start = 1_700_000_000_000_000_000 + (item * 1000 + place) * MS
                    span = host.tracer.start_span("chat", attributes=dict(CALL), start_time=start)  # type: ignore[arg-type]
                    span.end(start + (50 + 10 * place + item) * MS)
                    if item == trials - 1:
                        trial.fail("no answer")
    return exp


class Reader(html.parser.HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_an_html_report_is_one_file_that_fetches_and_runs_nothing(host: Host, tmp_path: Path) -> None:
    """Style and drawings are inside; there is no script and no address to load from."""
    path = run(host).report(tmp_path / "report.html")
    page = path.read_text()
    read = Reader(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert read.addresses == []
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert read.tags.count("svg") == 5
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_a_report_says_what_a_reader_must_be_able_to_check(host: Host, tmp_path: Path) -> None:
    """Hypothesis, counts, verdict, methods, ledger, content hash, prices and versions, with the stored values."""
    exp = run(host)
    found = " ".join(Reader(exp.report(tmp_path / "r.html").read_text()).text)
    compared = otr.compare(exp.where({"condition": "short"}), exp.where({"condition": "long"}))
    stored = exp.ledger().stored
    assert exp.content_hash
    for words in (
        "short is faster",
        exp.id,
        exp.content_hash,
        f"Captured {stored:,} spans · lost 0",
        "n: long 12 trials · short 12 trials",
        f"long against short: {compared.verdict.upper()}",
        compared.methods,
        "Baseline: short (the first that was started).",
        otr.__version__,
        "genai-prices",
        "git revision",
        f"Score {exp.validate().data_quality_score:.4g} of 100",
    ):
        assert words in found, words


@pytest.mark.parametrize("ending", ["html", "md", "tex"])
def test_what_a_user_named_is_no_markup(host: Host, tmp_path: Path, ending: str) -> None:
    """Names, conditions and metadata appear as text in every format."""
    exp = run(host, name="<b>bold & $x_1$ | `a`", arms=("<b>one", "two|`x`"), trials=3)
    text = exp.report(tmp_path / f"r.{ending}").read_text()
    if ending == "html":
        assert "<script" not in text
        assert "<b>one" not in text
        assert "\x01" not in text
        assert "&lt;script&gt;" in text
        assert "&lt;b&gt;one" in text
    elif ending == "md":
        assert not re.search(r"(?<!\\)<(?!br>)", text)
        assert "two\\|\\`x\\`" in text
    else:
        assert "\\input{d}" not in text
        assert "\\textbackslash{}input\\{d\\}" in text
        assert "\\$x\\_1\\$" in text


def test_markdown_tables_keep_their_columns(host: Host, tmp_path: Path) -> None:
    """Every row of a table has as many cells as its header, whatever is in them."""
    text = run(host, arms=("a|b", "c")).report(tmp_path / "r.md").read_text()
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 4
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_latex_closes_what_it_opens() -> None:
    """Special characters become what prints them; braces stay in balance."""
    shown = latex.escaped("50 % of {a} & b_c ~ ^ \\ → ∞ µ ² < > #1 $")
    assert shown == (
        r"50 \% of \{a\} \& b\_c \textasciitilde{} \textasciicircum{} \textbackslash{} $\rightarrow$ $\infty$ $\mu$ "
        r"$^{2}$ \textless{} \textgreater{} \#1 \$"
    )


def test_markdown_does_not_become_a_list() -> None:
    """A text that begins like a list or a heading is still a paragraph."""
    assert markdown.escaped("- a") == "\\- a"
    assert markdown.escaped("1. a") == "1\\. a"
    assert markdown.escaped("1.5 a") == "1.5 a"
    assert markdown.escaped("# a\nb") == "\\# a b"


def test_a_comparison_and_any_other_result_have_reports(host: Host, tmp_path: Path) -> None:
    """`write_report` takes what `compare` and `validate` return, with verdict, checks and data hash."""
    exp = run(host)
    compared = otr.compare(exp.where({"condition": "short"}), exp.where({"condition": "long"}))
    page = " ".join(Reader(otr.write_report(compared, tmp_path / "c.html").read_text()).text)
    assert f"long against short: {compared.verdict.upper()}" in page
    assert compared.methods in page
    assert all(check.text in page for check in compared.checks)
    quality = exp.validate()
    shown = otr.write_report(quality, tmp_path / "q.md").read_text()
    assert "data\\_quality\\_score" in shown
    assert "Quality" in shown


def test_a_study_and_an_analysis_of_variance_have_reports(host: Host, tmp_path: Path) -> None:
    """Their numbers stand in every format, under what they are and how they were made."""
    for result in (study_of(), otr.anova([[1.0, 2, 3, 4], [2.0, 3, 4, 6], [5.0, 6, 7, 9]])):
        for ending in ("html", "md", "tex"):
            text = otr.write_report(result, tmp_path / f"r.{ending}").read_text()
            assert type(result).__name__ in text
            numbers = [amount(row["value"]) for row in result.shown() if row["value"] is not None]
            assert numbers
            shown = text.replace("{-}", "-")
            assert [one for one in numbers if one not in shown] == []


def study_of(experiments: int = 3) -> otr.Study:
    """A study of frames, each with 12 calls per condition."""
    arms = [
        {
            "condition": ["a"] * 12 + ["b<i>"] * 12,
            "duration_ms": [10.0 + k % 12 + k // 12 + shift for k in range(24)],
            "is_call": [True] * 24,
            "start_ns": list(range(24)),
        }
        for shift in range(experiments)
    ]
    return otr.study([pl.DataFrame(one) for one in arms], baseline="a")


def test_a_study_report_draws_its_forest(tmp_path: Path) -> None:
    """Every experiment is a square with its interval and a row of the table; the pooled effect is a diamond."""
    study = study_of()
    (pooled,) = study.outcomes.values()
    page = otr.write_report(study, tmp_path / "s.html").read_text()
    drawn = ET.fromstring(re.search(r"<svg.*?</svg>", page, re.DOTALL)[0])  # type: ignore[index]
    names = [mark.text for mark in drawn.iter() if mark.tag.endswith("text")]
    assert [row.experiment for row in pooled.forest] == names[-2 * len(pooled.forest) - 4 : -4 : 2]
    sides = [float(mark.get("width", "")) for mark in drawn.iter() if mark.tag.endswith("rect")]
    areas = [side**2 / row.weight for side, row in zip(sides, pooled.forest, strict=True)]
    assert areas == pytest.approx([areas[0]] * len(areas), rel=0.02)  # area is weight
    assert sum(mark.tag.endswith("path") for mark in drawn.iter()) == 1
    text = " ".join(Reader(page).text)
    assert "b<i> minus a, % of a" in text
    assert f"{amount(pooled.i2)} % of the variation between experiments is not chance" in text


def test_columns_of_latex_tables_fit_the_line_and_their_texts() -> None:
    """No table is wider than its line, a short column takes less than a long one, and a hash may be broken."""
    table = Table(("outcome", "is"), [["latency", "yes " * 40], ["hash", "0123456789" * 6]])
    source = latex.render(Document("t", [], [Section("s", [table])]))
    short, long = (float(share) for share in re.findall(r"dimexpr([\d.]+)", source))
    assert short < long / 3
    assert short + long <= 1
    assert r"0\allowbreak{}1\allowbreak{}2" in source


def test_several_candidates_are_each_compared(host: Host, tmp_path: Path) -> None:
    """With three conditions a report has two comparisons, and the baseline is the one that is named so."""
    page = " ".join(Reader(run(host, arms=("x", "baseline", "y")).report(tmp_path / "r.html").read_text()).text)
    assert "x against baseline:" in page
    assert "y against baseline:" in page
    assert "Baseline: baseline (by its name)." in page


def test_one_condition_or_no_span_is_said_not_hidden(host: Host, tmp_path: Path) -> None:
    """Without anything to compare or to draw the report says so, with the reason."""
    page = " ".join(Reader(run(host, arms=("only",)).report(tmp_path / "one.html").read_text()).text)
    assert "None: the experiment has 1 condition." in page
    with otr.experiment("empty") as empty:
        pass
    page = " ".join(Reader(empty.report(tmp_path / "none.html").read_text()).text)
    assert "Captured 0 spans" in page
    assert "not drawn: no call has a known latency" in page


@pytest.mark.parametrize("name", ["report.pdf", "report", "missing/report.html"])
def test_a_file_that_cannot_be_written_is_named(host: Host, tmp_path: Path, name: str) -> None:
    """Another ending or a folder that is not there is an error that says what to do; nothing is left behind."""
    with pytest.raises(ConfigurationError, match=r"report|missing"):
        run(host, trials=3).report(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_baseline_and_a_wrong_thing_are_errors(host: Host, tmp_path: Path) -> None:
    """The message names the conditions there are, or what can be reported on."""
    exp = run(host, trials=3)
    with pytest.raises(ConfigurationError, match="Its conditions: short, long"):
        exp.report(tmp_path / "r.html", baseline="medium")
    with pytest.raises(ConfigurationError, match="cannot report on a int"):
        otr.write_report(3, tmp_path / "r.html")


@pytest.mark.parametrize("kind", ["latency", "percentiles", "effects", "cost", "timeline"])
def test_a_figure_is_svg_for_notebooks_and_files(host: Host, tmp_path: Path, kind: str) -> None:
    """Every plot is well-formed SVG inside its frame, has a title, and can be saved."""
    figure: Figure = getattr(run(host, arms=("a<b", "c&d")).plot, kind)()
    drawn = ET.fromstring(figure._repr_svg_())
    assert drawn.tag.endswith("svg")
    assert drawn[0].text == figure.title
    assert "nan" not in figure.body.lower()
    assert "inf" not in figure.body.lower()
    for mark in drawn.iter():
        for name in ("x", "x1", "x2", "cx"):
            if mark.get(name):
                assert -1 <= float(mark.get(name, "")) <= 721, (mark.tag, mark.attrib)
    assert figure.save(tmp_path / "f.svg").read_text().startswith("<svg")


def test_colour_means_condition_in_every_figure(host: Host) -> None:
    """The first condition has the terminal's first colour, the second its second, in all figures."""
    plot = run(host).plot
    for figure in (plot.latency(), plot.percentiles(), plot.cost(), plot.timeline()):
        assert colour(0) == COLOURS[0]
        assert COLOURS[0] in figure.body
        assert COLOURS[1] in figure.body


def frame(values: list[float], **columns: Any) -> Subject:
    n = len(values)
    base = {
        "duration_ms": values,
        "start_ns": [k * MS for k in range(n)],
        "is_call": [True] * n,
        "condition": ["a"] * n,
    }
    return Subject(pl.LazyFrame({**base, **columns}))


def test_the_distribution_is_the_empirical_one() -> None:
    """Steps are the sorted values with the share at or below; sampled rows count by their weight."""
    assert shape(frame([3.0, 1.0, 2.0, 4.0])).steps == {"a": [(1.0, 0.25), (2.0, 0.5), (3.0, 0.75), (4.0, 1.0)]}
    weighted = shape(frame([1.0, 2.0], sample_weight=[3.0, 1.0]))
    assert weighted.steps == {"a": [(1.0, 0.75), (2.0, 1.0)]}


def test_a_large_run_is_thinned_evenly_and_says_so() -> None:
    """Both ends stay, the counts are those of the run, and the caption tells what was drawn."""
    found = shape(frame([float(k) for k in range(1, 5001)]), most=100)
    assert found.counts == {"a": 5000}
    assert len(found.steps["a"]) == 100
    assert found.steps["a"][0][0] == 1.0
    assert found.steps["a"][-1] == (5000.0, 1.0)
    figure = figures.timeline({"a": found.points["a"]}, {"a": 5000}, "call")
    assert "100 of 5,000 are drawn" in figure.caption
    assert "Drawn at 100 ranks: a." in figures.latency({"a": found.steps["a"]}, {"a": 5000}, "call", 0, 0).caption


def test_what_has_no_latency_is_counted_in_the_caption() -> None:
    """Interrupted units are not drawn, and the figure says how many."""
    found = shape(frame([1.0, 2.0, 3.0], status=["ok", "interrupted", "ok"]))
    assert (found.counts, found.n_unknown) == ({"a": 2}, 1)
    assert "1 without a known latency" in figures.latency({"a": found.steps["a"]}, {"a": 2}, "call", 0, 1).caption


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1.0, 1e6], [-3.0, 4.0], [0.001, 0.002], [1e-9, 3e9]])
def test_scales_hold_every_value_and_have_ticks(values: list[float]) -> None:
    """Values lie on the paper, low ones before high ones; there are a few ticks, all inside."""
    scale = scale_of(values, 0.0, 100.0)
    assert all(0 <= scale(value) <= 100 for value in values)
    assert 2 <= len(scale.ticks()) <= 20
    assert all(-0.5 <= scale(tick) <= 100.5 for tick in scale.ticks())


def test_ticks_are_round() -> None:
    """One, two or five times a power of ten."""
    assert Scale(0.0, 10.0, 0.0, 1.0).ticks() == [0, 2, 4, 6, 8, 10]
    assert Scale(1.0, 100.0, 0.0, 1.0, is_log=True).ticks() == [1, 2, 5, 10, 20, 50, 100]


def test_the_command_writes_the_same_report(disk_host: Host, tmp_path: Path) -> None:
    """`otel-research report NAME` writes the format that the output's name ends in."""
    run(disk_host)
    store = f"disk:{tmp_path / 'store'}"
    target = tmp_path / "out.md"
    done = CliRunner().invoke(main, ["report", "prompts", "--store", store, "-o", str(target), "--baseline", "long"])
    assert done.exit_code == 0, done.output
    assert "Baseline: long (asked for)" in target.read_text()
    wrong = CliRunner().invoke(main, ["report", "prompts", "--store", store, "-o", str(tmp_path / "out.pdf")])
    assert wrong.exit_code == 2
