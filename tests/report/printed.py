"""Reports as people get them: drawn by the real browser, light, dark, narrow and on paper, and set by the real LaTeX.

    python -m tests.report.printed FOLDER

Run by `nox -s printed`. Needs Debian's `chromium`, `texlive-latex-base` and `texlive-latex-recommended`. Fails where a page is wider
than its window, fetches or runs anything, or LaTeX stops or sets a line too wide; the pictures in FOLDER are for a person's eyes.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

from opentelemetry import trace

import otel_research as otr

WIDTHS = (1000, 390)
MS = 1_000_000


def experiment(name: str, items: int, chance: random.Random) -> otr.Experiment:
    """Two conditions on shared items, with a dearer model now and then, and one without a price."""
    tracer = trace.get_tracer("printed")
    at = 1_700_000_000_000_000_000
    hypothesis = "The short prompt is faster & not <less> right."
    with otr.experiment(name, hypothesis=hypothesis, sample_size=items, metadata={"path": "a_b\\c$" * 20}) as exp:
        for item in range(items):
            for condition, words in (("baseline", 120), ("short", 20)):
                with exp.arm(condition), exp.trial(item=f"q{item}") as trial:
                    model = "house-model-7b" if item % 17 == 3 else ("gpt-4o-mini", "gpt-4o")[chance.random() < 0.3]
                    call = {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": model,
                        "gen_ai.usage.input_tokens": 100 + chance.randrange(40),
                        "gen_ai.usage.output_tokens": words + chance.randrange(9),
                    }
                    span = tracer.start_span("chat", attributes=call, start_time=at)
                    at += int(MS * chance.lognormvariate(6, 0.4) * (1 + words / 200))
                    span.end(at)
                    trial.score("accuracy", float(chance.random() < 0.7))
    return exp


def write(folder: Path) -> list[str]:
    """An experiment, a comparison and a study, as HTML and LaTeX; their names."""
    otr.configure(store="memory:")
    chance = random.Random(4)
    runs = [experiment(f"prompt-length-{number}", 30 + 10 * number, chance) for number in range(4)]
    sides = [runs[-1].where({"condition": name}) for name in ("baseline", "short")]
    results = {
        "experiment": runs[-1],
        "comparison": otr.compare(*sides, unit="call"),
        "study": otr.study(runs, baseline="baseline", candidate="short", unit="call", metrics=["latency", "cost"]),
    }
    for name, result in results.items():
        for ending in ("html", "tex", "md"):
            otr.write_report(result, folder / f"{name}.{ending}")
    return list(results)


def draw(folder: Path, names: list[str]) -> list[str]:
    """A picture per page, theme and width, and its PDF; what is wrong."""
    from playwright.sync_api import sync_playwright

    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
                asked: list[str] = []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.on("console", lambda said, wrong=wrong: wrong.append(f"the page says {said.text}"))
                for name in names:
                    page.goto((folder / f"{name}.html").as_uri())
                    page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
                    if page.evaluate("document.documentElement.scrollWidth") > width:
                        wrong.append(f"{name} is wider than {width} pixels")
                wrong += [f"fetched {url}" for url in asked if not url.startswith("file:")]
        for name in names:
            page.goto((folder / f"{name}.html").as_uri())
            page.pdf(path=folder / f"{name}.pdf", format="A4")
            if not (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF"):
                wrong.append(f"{name}.pdf is no PDF")
        browser.close()
    return wrong


def typeset(folder: Path, names: list[str]) -> list[str]:
    """The articles by pdfLaTeX; where it stops, or a line is more than a point too wide."""
    wrong = []
    for name in names:
        words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"-jobname={name}-latex", f"{name}.tex"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            wrong.append(f"{name}.tex: {done.stdout[-800:]}")
        wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide", done.stdout)]
        wrong += [f"{name}.tex: a line is {points} pt too wide" for points in wide if points > 1]
    return wrong


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for program in ("chromium", "pdflatex"):
        if shutil.which(program) is None:
            raise SystemExit(f"no {program}: apt-get install chromium texlive-latex-base texlive-latex-recommended")
    names = write(folder)
    wrong = draw(folder, names) + typeset(folder, names)
    print("\n".join(wrong) or f"{', '.join(names)}: drawn light, dark, narrow and on paper, and typeset; see {folder}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
