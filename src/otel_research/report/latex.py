"""A report as a LaTeX article: prose and tables (longtable, booktabs); for pdfLaTeX, XeLaTeX and LuaLaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from otel_research.report.canvas import Figure
from otel_research.report.document import Block, Document, Prose, Table

_HEAD = r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage{iftex}
\ifPDFTeX\usepackage[utf8]{inputenc}\fi
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs,longtable,array}
\setlength{\parindent}{0pt}\setlength{\parskip}{4pt}\setlength{\tabcolsep}{4pt}
\newcommand{\room}[1]{\par\ifdim\dimexpr\pagegoal-\pagetotal\relax<#1\baselineskip\newpage\fi}
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
_WHOLE = 40
"""Lines of a table that is not torn apart; a longer one is."""
_LONG = 30
"""Characters of a word that may be broken."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def render(document: Document) -> str:
    """The source of the article; what a user named is no command."""
    parts = [rf"\section*{{{escaped(document.title)}}}", *(_paragraph(text) for text in document.lead)]
    for section in document.sections:
        shown = [block for block in section.blocks if not isinstance(block, Figure)]
        if shown:
            room, *blocks = (part for block in shown for part in _block(block))
            parts += [room, rf"\subsection*{{{escaped(section.title)}}}", *blocks]
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


def _block(block: Block) -> list[str]:
    """The room that it needs with a heading above it, and the block."""
    if isinstance(block, Prose):
        return [_room(4), rf"{{\small {_paragraph(block.text)}}}" if block.is_note else _paragraph(block.text)]
    assert isinstance(block, Table)
    lines = _lines(block)
    return [_room(lines + 5 if lines <= _WHOLE else 10), _table(block)]


def _room(lines: int) -> str:
    """A new page, unless so many lines fit on this one."""
    return rf"\room{{{lines}}}"


def _lines(table: Table) -> int:
    """About how many lines it takes: as many as the fullest cell of each row."""
    width = [share * _LINE for share in _shares(table)]
    rows = (zip(row, width, strict=True) for row in _rows(table))
    return sum(
        max(sum(math.ceil((len(part) or 1) / wide) for part in cell.split("\n")) for cell, wide in row) for row in rows
    )


def _table(table: Table) -> str:
    head = f"{_row(table.header)}\\midrule\\endhead\n" if any(table.header) else ""
    rows = "".join(f"{_row(row)}" for row in table.rows)
    spec = "".join(
        rf">{{\raggedright\arraybackslash}}p{{\dimexpr{share:.3f}\linewidth-2\tabcolsep\relax}}"
        for share in _shares(table)
    )
    return f"{{\\small\\begin{{longtable}}{{{spec}}}\n\\toprule\n{head}{rows}\\bottomrule\n\\end{{longtable}}}}"


def _rows(table: Table) -> list[Sequence[str]]:
    return [*([table.header] if any(table.header) else []), *table.rows]


def _shares(table: Table) -> list[float]:
    """The columns' parts of the line, by the longest text in each; a small table does not fill it."""
    columns = zip(*(row for row in (table.header, *table.rows)), strict=True)
    wanted = [min(max(len(line) for cell in column for line in [*cell.split("\n")]), _WIDEST) + 4 for column in columns]
    return [0.999 * one / max(sum(wanted), _LINE) for one in wanted]  # rounded, they must not be wider than the line


def _row(cells: Sequence[str]) -> str:
    return " & ".join(r"\newline ".join(escaped(part) for part in cell.split("\n")) for cell in cells) + " \\\\\n"
