"""In a real browser: every page, both themes, wide and narrow; the numbers are the library's; keys; hostile names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages import opened, until
from stores import NAMES, Made, Server

import otel_research as otr
from otel_research.handle import Experiment
from otel_research.store.library import Library

READY = {
    "list": "tr.row .cost:not(:has-text('…'))",
    "experiment": "#quality h2 .sub",
    "compare": ".verdict",
    "trace": ".tree li",
    "study": "svg .est",
    "empty": "#quality h2 .sub",
    "hostile": "#quality h2 .sub",
}


def experiment(made: Made, name: str) -> Experiment:
    library = Library(made.url)
    return Experiment(library.get(made.ids[name]), library)


def a_trace(made: Made, name: str) -> str:
    return str(experiment(made, name).spans().select("trace_id").collect()["trace_id"][0])


def addresses(made: Made) -> dict[str, str]:
    ablation = made.ids["ablation"]
    return {
        "list": "/",
        "experiment": f"/experiment/{ablation}",
        "compare": f"/compare?baseline={ablation}:baseline&candidate={ablation}:cot",
        "trace": f"/experiment/{ablation}/trace/{a_trace(made, 'ablation')}",
        "study": "/study/three%20labs",
        "empty": f"/experiment/{made.ids['empty']}",
        "hostile": f"/experiment/{made.ids['hostile']}",
    }


@pytest.mark.parametrize("name", list(READY))
def test_a_page_in_both_themes_wide_and_narrow(
    browser: Any, server: Server, made: Made, artefacts: Path, name: str
) -> None:
    """No console error, nothing asked of the outside, no sideways scrolling; and a picture of each."""
    for dark in (False, True):
        with opened(browser, server, dark=dark, width=1280) as watched:
            page = watched.open(addresses(made)[name])
            page.wait_for_selector(READY[name], state="attached")
            for width in (1280, 390):
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(150)
                page.screenshot(path=artefacts / f"{name}-{'dark' if dark else 'light'}-{width}.png", full_page=True)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert "token=" not in page.url


def shown(page: Any, condition: str) -> list[str]:
    row = page.locator("#conditions tbody tr", has=page.locator(f"text='{condition}'")).first
    return [cell.strip() for cell in row.locator("td").all_inner_texts()]


def test_the_numbers_on_the_page_are_those_of_calculate_metrics(browser: Any, server: Server, made: Made) -> None:
    """n, p50 with its interval, success rate, cost and what has no price: digit by digit."""
    expected = otr.metrics_by(experiment(made, "ablation"), "condition", unit="trial")
    with opened(browser, server) as watched:
        page = watched.open(addresses(made)["experiment"])
        page.wait_for_selector(READY["experiment"])
        for condition in ("baseline", "cot"):
            metrics = expected[condition]
            assert metrics.latency is not None
            assert metrics.cost is not None
            assert metrics.reliability is not None
            cells = shown(page, condition)
            ci = metrics.latency.ci["p50"]
            assert cells[1].startswith(f"{metrics.n}")
            assert (
                cells[2].replace("\n", " ").startswith(f"{four(metrics.latency.p50)} [{four(ci.low)}, {four(ci.high)}]")
            )
            assert cells[5].startswith(f"{four(100 * metrics.reliability.success_rate)} %")
            assert cells[7] == f"{metrics.cost.total_usd:.4f} + {metrics.cost.unpriced} unpriced"
        exact = page.locator("#conditions td[data-value]").first.get_attribute("data-value")
        assert float(exact) == expected["baseline"].latency.p50  # type: ignore[union-attr]


def four(value: float | None) -> str:
    """Four significant digits, as the page and the terminal write them."""
    assert value is not None
    return f"{value:,.0f}" if abs(value) >= 10_000 or float(value).is_integer() else f"{float(f'{value:.4g}'):.10g}"


def test_the_verdict_is_that_of_compare(browser: Any, server: Server, made: Made) -> None:
    """The page adds nothing to the comparison and leaves no outcome out."""
    exp = experiment(made, "ablation")
    expected = otr.compare(exp.where({"condition": "baseline"}), exp.where({"condition": "cot"}))
    with opened(browser, server) as watched:
        page = watched.open(addresses(made)["compare"])
        page.wait_for_selector(".verdict")
        assert watched.text(".verdict").endswith(expected.verdict)
        text = watched.text("main")
        assert all(name in text for name in expected.effects)
        assert expected.methods[:60] in text


def test_everything_can_be_reached_by_keyboard(browser: Any, server: Server, made: Made) -> None:
    """/ searches, j and k move, Enter opens, arrows move in a trace, t changes the theme, ? helps."""
    with opened(browser, server) as watched:
        page = watched.open("/")
        page.wait_for_selector("tr.row")
        page.keyboard.press("/")
        page.keyboard.type("ablation")
        until(page, "document.querySelectorAll('tr.row').length === 1")
        page.keyboard.press("Tab")
        page.locator("input[type=search]").first.evaluate("element => element.blur()")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("j")
        assert "prompt-ablation" in page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        page.wait_for_url("**/experiment/*")
        page.wait_for_selector("#tail tr.row")
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.keyboard.press("t")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        page.keyboard.press("?")
        assert page.locator("dialog[open]").count() == 1
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_selector(".tree li")
        page.locator(".tree li[aria-selected=true]").focus()
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
        # With Tab alone every page can be walked: the first stop skips to the content.
        page.evaluate("document.activeElement.blur()")


def test_hostile_names_are_shown_and_do_nothing(browser: Any, server: Server, made: Made) -> None:
    """Markup, paths, control characters, marks that turn the line, a megabyte of text: all of it is text."""
    with opened(browser, server) as watched:
        page = watched.open(addresses(made)["hostile"])
        page.wait_for_selector(READY["hostile"])
        check_harmless(page)
        text = watched.text("main")
        assert "<script>" in text
        assert "../../etc/passwd" in text
        assert "⟨U+202E⟩gnp.exe" in text
        assert "␇bell␛[31mred" in text
        assert "2 more scores are in the numbers at the foot of the page: score 4, score 5." in text
        links = page.locator("#tail a.main").all()
        assert len(links) >= len(NAMES)
        for link in links[:6]:
            assert link.get_attribute("href").startswith(f"/experiment/{made.ids['hostile']}/trace/")
        page = watched.open(f"/experiment/{made.ids['hostile']}/trace/{a_trace(made, 'hostile')}")
        page.wait_for_selector(".tree li")
        page.locator(".tree li", has_text="chat").or_(page.locator(".tree li").nth(1)).first.click()
        for tab in page.locator("[role=tab]").all():
            tab.click()
            check_harmless(page)
        assert page.evaluate("document.body.innerText.length") < 3_000_000


def check_harmless(page: Any) -> None:
    assert page.title() != "owned"
    assert (
        page.evaluate("document.querySelectorAll('main script, main img, main b:not(.strip b), main iframe').length")
        == 0
    )
    assert page.evaluate("[...document.querySelectorAll('a')].every(a => a.protocol === 'http:')")


def test_downloads_hold_every_span(browser: Any, server: Server, made: Made) -> None:
    """CSV and Parquet from the page's foot have the rows of `exp.spans()`."""
    import polars as pl

    exp = experiment(made, "ablation")
    expected = exp.spans().select(pl.len()).collect().item()
    with opened(browser, server) as watched:
        page = watched.open(addresses(made)["experiment"])
        page.wait_for_selector("footer a")
        for name, read in (("CSV", pl.read_csv), ("Parquet", pl.read_parquet)):
            with page.expect_download() as caught:
                page.locator("footer a", has_text=name).first.click()
            assert read(caught.value.path()).height == expected


def test_a_page_prints_without_its_controls(browser: Any, server: Server, made: Made, artefacts: Path) -> None:
    """On paper: black on white, no buttons, nothing cut off."""
    with opened(browser, server, dark=True) as watched:
        page = watched.open(addresses(made)["experiment"])
        page.wait_for_selector(READY["experiment"])
        page.emulate_media(media="print")
        assert (
            page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert page.locator("footer button:visible").count() == 0
        page.pdf(path=artefacts / "experiment.pdf")


@pytest.mark.parametrize("name", ["list", "experiment", "compare", "study"])
def test_what_a_page_shows_can_be_taken_along(browser: Any, server: Server, made: Made, name: str) -> None:
    """The numbers of a page as CSV and as Parquet: the same table, with what the page shows in it."""
    import polars as pl

    frames = []
    with opened(browser, server) as watched:
        page = watched.open(addresses(made)[name])
        for format, read in (("csv", pl.read_csv), ("parquet", pl.read_parquet)):
            link = page.locator(f"footer a[href*='format={format}']")
            link.wait_for()
            with page.expect_download() as caught:
                link.click()
            frames.append(read(caught.value.path()))
    assert frames[0].shape == frames[1].shape
    if name == "list":
        assert set(frames[1]["id"]) == set(made.ids.values())
        return
    expected = {
        "experiment": "latency.p50",
        "compare": "effects.latency.improvement_pct",
        "study": "outcomes.latency.",
    }
    assert [field for field in frames[1]["field"] if field.startswith(expected[name])] != []
    if name == "experiment":
        by = otr.metrics_by(experiment(made, "ablation"), "condition", unit="trial", ci=False)
        p50 = dict(frames[1].filter(pl.col("field") == "latency.p50").select("condition", "value").rows())
        assert p50 == {condition: metrics.latency.p50 for condition, metrics in by.items() if metrics.latency}


def test_twelve_conditions_with_long_names_are_told_apart(browser: Any, server: Server) -> None:
    """Each has a look of its own; a name that is cut keeps its end, where long names differ."""
    with opened(browser, server) as watched:
        page = watched.open("/")
        looks = page.evaluate("import('/static/charts.js').then(m => [...Array(12).keys()].map(m.kind))")
        assert len(set(looks)) == 12
        names = [f"{'the-same-beginning-' * 8}temperature-{n}" for n in (1, 2)]
        first, second = page.evaluate(
            "names => import('/static/dom.js').then(m => names.map(n => m.cut(n, 40)))", names
        )
        assert first != second
        assert (len(first), first[:8], first[-13:]) == (40, "the-same", "temperature-1")
