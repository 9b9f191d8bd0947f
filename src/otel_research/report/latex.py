"""A report as a LaTeX article: prose and tables (longtable, booktabs); for pdfLaTeX, XeLaTeX and LuaLaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

from otel_research.report.canvas import Figure
from otel_research.report.document import Block, Document, Prose, Table

_HEAD = r"""\documentclass[10pt]{article}
\usepackage[T1]{fontenc}
\usepackage{iftex}
\ifPDFTeX\usepackage[utf8]{inputenc}\fi
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs,longtable,array}
\setlength{\parindent}{0pt}\setlength{\parskip}{4pt}
\begin{document}
"""
_MACROS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}", '"': r"\textquotedbl{}", "-": "{-}",
    "→": r"$\rightarrow$", "∞": r"$\infty$", "–": "--", "µ": r"$\mu$", "·": r"$\cdot$", "…": r"\ldots{}", "±": r"$\pm$",
    **{mark: f"$^{{{number}}}$" for number, mark in enumerate("¹²³⁴⁵⁶⁷⁸⁹", 1)},
}  # fmt: skip
_LINE, _WIDEST = 96, 60
"""Characters in a line of a table, and the most that a column asks for."""
_LONG = 30
"""Characters of a word that may be broken."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def render(document: Document) -> str:
    """The source of the article; what a user named is no command."""
    parts = [rf"\section*{{{escaped(document.title)}}}", *(_paragraph(text) for text in document.lead)]
    for section in document.sections:
        blocks = [_block(block) for block in section.blocks if not isinstance(block, Figure)]
        if blocks:
            parts += [rf"\subsection*{{{escaped(section.title)}}}", *blocks]
    return _HEAD + "\n\n".join(parts) + "\n\\end{document}\n"


def escaped(text: str) -> str:
    """Text on one line, every special character as what prints it."""
    flat = " ".join(_CONTROL.sub("?", text).split())
    return " ".join(map(_word, flat.split(" ")))


def _word(word: str) -> str:
    """One word; a long one, as a hash is, may be broken anywhere that is not inside a macro."""
    pieces = [_MACROS.get(one, one) for one in word]
    return (r"\allowbreak{}" if len(word) > _LONG else "").join(pieces)


def _paragraph(text: str) -> str:
    return escaped(text) + r"\par"


def _block(block: Block) -> str:
    if isinstance(block, Prose):
        return rf"{{\small {_paragraph(block.text)}}}" if block.is_note else _paragraph(block.text)
    assert isinstance(block, Table)
    return _table(block)


def _table(table: Table) -> str:
    head = f"{_row(table.header)}\\midrule\\endhead\n" if any(table.header) else ""
    rows = "".join(f"{_row(row)}" for row in table.rows)
    spec = "".join(
        rf">{{\raggedright\arraybackslash}}p{{\dimexpr{share:.3f}\linewidth-2\tabcolsep\relax}}"
        for share in _shares(table)
    )
    return f"{{\\small\\begin{{longtable}}{{{spec}}}\n\\toprule\n{head}{rows}\\bottomrule\n\\end{{longtable}}}}"


def _shares(table: Table) -> list[float]:
    """The columns' parts of the line, by the longest text in each; a small table does not fill it."""
    columns = zip(*(row for row in (table.header, *table.rows)), strict=True)
    wanted = [min(max(len(line) for cell in column for line in [*cell.split("\n")]), _WIDEST) + 4 for column in columns]
    return [0.999 * one / max(sum(wanted), _LINE) for one in wanted]  # rounded, they must not be wider than the line


def _row(cells: Sequence[str]) -> str:
    return " & ".join(r"\newline ".join(escaped(part) for part in cell.split("\n")) for cell in cells) + " \\\\\n"
