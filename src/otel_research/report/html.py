"""A report as one HTML file: style and drawings inside, no script, nothing fetched; light, dark and print."""

from __future__ import annotations

from otel_research.report.canvas import MARKS, THEME, Figure, colour, escaped
from otel_research.report.document import Block, Document, Prose, Table

_STYLE = (
    THEME
    + MARKS
    + """
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .75rem}h2{font-size:1.15rem;margin:2.25rem 0 .5rem;
padding-top:.75rem;border-top:1px solid var(--grid)}
p{margin:.4rem 0;max-width:46rem}.note,figcaption{color:var(--faint);font-size:.85rem}
.lead p{margin:.15rem 0}.wide{overflow-x:auto}
table{border-collapse:collapse;margin:.75rem 0;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem 1rem .25rem 0;text-align:left;vertical-align:top;white-space:pre-line;border-bottom:1px solid var(--grid)}
td{min-width:4rem}h1,p,.arms th[scope=col],td:last-child{overflow-wrap:anywhere}td:first-child,th:first-child{color:var(--faint);font-weight:normal}
thead th,thead th:first-child{border-bottom:1px solid var(--faint);color:var(--ink);font-weight:600}
i{display:inline-block;width:.7em;height:.7em;margin-right:.4em;border-radius:2px;print-color-adjust:exact}
figure{margin:1.25rem 0;break-inside:avoid}figcaption b{color:var(--ink);display:block;font-size:.95rem}
svg{width:100%;height:auto;print-color-adjust:exact}
@media screen{figure{overflow-x:auto}svg{min-width:34rem}}
@page{margin:18mm}
@media print{:root{font-size:9.5pt}body{max-width:none;padding:0;font-size:1rem}p{max-width:none}th,td{padding-right:.6rem}
h2{break-after:avoid}tr{break-inside:avoid}.wide{overflow:visible}
tbody tr:first-child,tr:last-child,tr:nth-last-child(2){break-before:avoid}}
"""
)


def render(document: Document) -> str:
    """The page; every text is escaped."""
    lead = "".join(f"<p>{escaped(text)}</p>" for text in document.lead)
    sections = "".join(
        f"<section><h2>{escaped(section.title)}</h2>{''.join(map(_block, section.blocks))}</section>"
        for section in document.sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escaped(document.title)}</title><style>{_STYLE}</style></head><body>"
        f'<header><h1>{escaped(document.title)}</h1><div class="lead">{lead}</div></header>'
        f"<main>{sections}</main></body></html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Prose):
        return f"<p{' class=note' if block.is_note else ''}>{escaped(block.text)}</p>"
    if isinstance(block, Figure):
        caption = f"<figcaption><b>{escaped(block.title)}</b>{escaped(block.caption)}</figcaption>"
        return f"<figure>{caption}{block.svg(alone=False)}</figure>"
    return _table(block)


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col">{_swatch(number - 1) if table.conditions and number else ""}{escaped(cell)}</th>'
        for number, cell in enumerate(table.header)
    )
    rows = "".join(
        f'<tr><th scope="row">{escaped(row[0])}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    heading = f"<thead><tr>{head}</tr></thead>" if any(table.header) else ""
    kind = "wide arms" if table.conditions else "wide"
    return f'<div class="{kind}"><table>{heading}<tbody>{rows}</tbody></table></div>'


def _swatch(number: int) -> str:
    return f'<i style="background:{colour(number)}"></i>'
