"""Page of `check`: as text of at most 80 columns, and as one HTML file with its figures inside."""

import base64
import html
import io
import textwrap
from collections.abc import Sequence

from PIL import Image

from commands.check.findings import SHOWN, Finding, Section, Table

WIDTH = 80
ROWS = 20  # of a table, in text
LISTED = 200  # names of a finding, in HTML

STYLE = """
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff; }
body { font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #bbb; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top; }
figure { margin: 1.2rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #444; font-size: .9rem; }
li { margin: .4rem 0; overflow-wrap: anywhere; } .wrong { border-left: .3rem solid #b3261e; padding-left: .6rem; }
.note { border-left: .3rem solid #1f5fa8; padding-left: .6rem; } code { font-size: .9rem; }
.scroll { max-height: 24rem; overflow: auto; }
""".strip()


def text_page(title: str, verdict: str, sections: Sequence[Section]) -> str:
    """The page as text, at most WIDTH columns wide."""
    lines = [*_wrapped(title), *_wrapped(verdict)]
    for section in sections:
        lines += ["", section.title.upper(), *_body(section)]
    return "\n".join(lines) + "\n"


def html_page(title: str, verdict: str, sections: Sequence[Section]) -> str:
    """The page as HTML that needs no other file and no network."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body><main>",
        f"<h1>{html.escape(title)}</h1><p><strong>{html.escape(verdict)}</strong></p>",
    ]
    for section in sections:
        parts.append(f"<section><h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(line)}</p>" for line in section.lines]
        if section.findings:
            parts += ["<ul>", *map(_item, section.findings), "</ul>"]
        parts += map(_html_table, section.tables)
        for figure in section.figures:
            words = html.escape(figure.text)
            image = f'<img src="{_png(figure.image)}" alt="{words}">'
            parts.append(f"<figure>{image}<figcaption>{words}</figcaption></figure>")
        parts.append("</section>")
    return "\n".join([*parts, "</main></body></html>"]) + "\n"


def _body(section: Section) -> list[str]:
    lines = [line for text in section.lines for line in _wrapped(text, "  ")]
    for table in section.tables:
        lines += _text_table(table)
    for finding in section.findings:
        lines += _wrapped(f"{'WRONG' if finding.wrong else 'note'}: {finding.text}", "  ", "    ")
        for name in finding.names[:SHOWN]:
            lines += _wrapped(name, "    ", "      ")
        if len(finding.names) > SHOWN:
            lines.append(f"    and {len(finding.names) - SHOWN:,} more")
    return lines


def _wrapped(text: str, first: str = "", rest: str | None = None) -> list[str]:
    """Lines of at most WIDTH columns; longer words, such as paths, are cut."""
    rest = first if rest is None else rest
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _text_table(table: Table) -> list[str]:
    rows = table.rows if len(table.rows) <= ROWS else [*table.rows[: ROWS // 2], *table.rows[-ROWS // 2 :]]
    left_out = len(table.rows) - len(rows)
    widths = [max(len(row[i]) for row in (table.header, *rows)) for i in range(len(table.header))]
    if sum(widths) + 2 * len(widths) > WIDTH:  # a block for each row
        said = [(row[0], "; ".join(map(": ".join, zip(table.header[1:], row[1:], strict=True)))) for row in rows]
        lines = [line for name, text in said for line in _wrapped(text, f"  {name}: ", "    ")]
    else:
        padded = ([cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in (table.header, *rows))
        lines = [f"  {'  '.join(cells)}".rstrip() for cells in padded]
    return [*lines, *([f"  ({left_out:,} rows in between are left out here)"] if left_out else [])]


def _item(finding: Finding) -> str:
    kind = "wrong" if finding.wrong else "note"
    names = [f"<li><code>{html.escape(name)}</code></li>" for name in finding.names[:LISTED]]
    more = len(finding.names) - LISTED
    names += [f"<li>and {more:,} more</li>"] if more > 0 else []
    opened = " open" if len(names) <= SHOWN else ""
    summary = f"<summary>{len(finding.names):,} named</summary>"
    listed = f"<details{opened}>{summary}<ul>{''.join(names)}</ul></details>" if names else ""
    return f'<li class="{kind}"><strong>{kind}:</strong> {html.escape(finding.text)}{listed}</li>'


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.header)
    rows = [
        f'<tr><th scope="row">{html.escape(row[0])}</th>{"".join(f"<td>{html.escape(c)}</td>" for c in row[1:])}</tr>'
        for row in table.rows
    ]
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _png(image) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
