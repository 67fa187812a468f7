"""Pages of commands: sections with lines, tables, figures, findings and code, as one HTML file with all that inside.

No other file, network or script is needed; dark where the system is, and readable on a phone.
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SHOWN = 5  # names of a finding that are open
LISTED = 200  # names of a finding
LONG = 32  # characters of a cell that needs several lines on a phone
WIDEST = 1600  # pixels of a figure, twice the width of the page's text
LARGEST_FILM = 3_000_000  # bytes of an animated figure

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #555; --paper: #fff; --line: #d8d8d8; --box: #f4f4f4; }
:root { --wrong: #b3261e; --note: #1f5fa8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --soft: #a8a8a8; --paper: #17191c; --line: #3b3e43; --box: #222529; }
  :root { --wrong: #f2776d; --note: #7db4f0; }
}
body { max-width: 62rem; margin: 1rem auto 4rem; padding: 0 1rem; color: var(--ink); background: var(--paper); }
body { font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; }
h1 { font-size: 1.6rem; line-height: 1.25; } a { color: var(--note); }
h2 { display: inline-block; font-size: 1.25rem; margin: 2rem 0 .5rem; }
section { border-bottom: 1px solid var(--line); padding-bottom: 1rem; } summary { cursor: pointer; }
nav a { margin-right: 1rem; white-space: nowrap; display: inline-block; padding: .2rem 0; }
.scroll { max-height: 40rem; overflow: auto; margin: 1rem 0; } td:last-child { padding-right: 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem 1rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } thead th { position: sticky; top: 0; background: var(--paper); z-index: 1; }
.short th, .short td { white-space: nowrap; } caption { text-align: left; color: var(--soft); }
.short tbody th { position: sticky; left: 0; background: var(--paper); }
.long th, .long td { min-width: 4rem; }
figure { margin: 1.2rem 0; } img { max-width: 100%; height: auto; background: #fff; border-radius: .25rem; }
figcaption { color: var(--soft); font-size: .9rem; } li { margin: .4rem 0; }
.wrong { border-left: .3rem solid var(--wrong); padding-left: .6rem; }
.note { border-left: .3rem solid var(--note); padding-left: .6rem; }
code, pre { font-size: .875rem; } pre { background: var(--box); border-radius: .25rem; padding: .6rem; }
pre { white-space: pre-wrap; margin: .6rem 0; }
@media (max-width: 40rem) {
  .long thead { display: none; } .long tr, .long th, .long td { display: block; border: 0; padding: 0; }
  .long tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .long td::before { content: attr(data-label) ": "; color: var(--soft); } .long td:empty { display: none; }
}
@media print { .scroll { max-height: none; overflow: visible; } nav { display: none; } }
""".strip()


class Finding(NamedTuple):
    """One thing that was found.

    Args:
        text: a sentence without its period.
        names: files, lines or classes that it is about, all of them.
        wrong: true if it stops training or makes its metrics wrong; false for a note.
    """

    text: str
    names: Sequence[str] = ()
    wrong: bool = False


class Figure(NamedTuple):
    """A drawing, uint8 (H, W, 3) or its file, and the same in words."""

    image: np.ndarray | Path
    text: str


class Table(NamedTuple):
    """Rows below a header, all text; a line break in a cell is one on the page."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Code(NamedTuple):
    """A command or a file; folded away under its title where it has one."""

    text: str
    title: str = ""


@dataclass
class Section:
    """A part of the page; `folded` ones show their title until they are opened."""

    title: str
    tables: list[Table] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    code: list[Code] = field(default_factory=list)
    folded: bool = False

    def note(self, text: str, names: Sequence[str] = ()) -> None:
        """Add a finding that does no harm by itself."""
        self.findings.append(Finding(text, names))

    def wrong(self, text: str, names: Sequence[str] = ()) -> None:
        """Add a finding that stops training or makes its metrics wrong."""
        self.findings.append(Finding(text, names, wrong=True))


def html_page(title: str, verdict: str, sections: Sequence[Section]) -> str:
    """The page as HTML that needs no other file, no network and no script."""
    links = (f'<a href="#part{place}">{_text(section.title)}</a>' for place, section in enumerate(sections, 1))
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body><main>",
        f"<h1>{_text(title)}</h1><p><strong>{_text(verdict)}</strong></p>",
        f"<nav>{' '.join(links)}</nav>",
    ]
    for place, section in enumerate(sections, 1):
        heading = f'<h2 id="part{place}">{_text(section.title)}</h2>'
        body = "\n".join(_body(section))
        folded = f"<details><summary>{heading}</summary>{body}</details>"
        parts.append(f"<section>{folded if section.folded else heading + body}</section>")
    return "\n".join([*parts, "</main></body></html>"]) + "\n"


def _body(section: Section) -> list[str]:
    parts = [f"<p>{_text(line)}</p>" for line in section.lines]
    if section.findings:
        parts += ["<ul>", *map(_item, section.findings), "</ul>"]
    parts += [*map(_table, section.tables), *map(_code, section.code)]
    for figure in section.figures:
        words = _text(figure.text)
        image = f'<img src="{_uri(figure.image)}" alt="{words}">'
        parts.append(f"<figure>{image}<figcaption>{words}</figcaption></figure>")
    return parts


def _item(finding: Finding) -> str:
    kind = "wrong" if finding.wrong else "note"
    names = [f"<li><code>{_text(name)}</code></li>" for name in finding.names[:LISTED]]
    more = len(finding.names) - LISTED
    names += [f"<li>and {more:,} more</li>"] if more > 0 else []
    opened = " open" if len(names) <= SHOWN else ""
    summary = f"<summary>{len(finding.names):,} named</summary>"
    listed = f"<details{opened}>{summary}<ul>{''.join(names)}</ul></details>" if names else ""
    return f'<li class="{kind}"><strong>{kind}:</strong> {_text(finding.text)}{listed}</li>'


def _table(table: Table) -> str:
    """A table whose rows become blocks on a phone where cells are long, and which scrolls where they are many."""
    long = any(len(cell) > LONG for row in table.rows for cell in row)
    kind = "long" if long else "pair" if len(table.header) < 3 else "short"
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.header)
    rows = []
    for first, *others in table.rows:
        pairs = zip(table.header[1:], others, strict=True)
        cells = "".join(f'<td data-label="{_text(name)}">{_text(cell)}</td>' for name, cell in pairs)
        rows.append(f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>')
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll" tabindex="0"><table class="{kind}">{body}</table></div>'


def _code(code: Code) -> str:
    block = f"<pre><code>{html.escape(code.text)}</code></pre>"
    return f"<details><summary>{_text(code.title)}</summary>{block}</details>" if code.title else block


def _text(text: str) -> str:
    """Text in HTML; what is no character (a name that is not in UTF-8) is shown as one that is unknown."""
    return html.escape(text.encode("utf-8", "replace").decode()).replace("\n", "<br>")


def _uri(figure: np.ndarray | Path) -> str:
    """A figure as data: PNG, or WebP where that is much smaller; large ones are reduced, films stay as they are."""
    file, path = io.BytesIO(), figure if isinstance(figure, Path) else None
    with Image.open(figure) if isinstance(figure, Path) else Image.fromarray(figure) as image:
        if path and getattr(image, "is_animated", False) and path.stat().st_size <= LARGEST_FILM:
            return _data(str(image.format).lower(), path.read_bytes())
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        image.thumbnail((WIDEST, 4 * WIDEST), Image.Resampling.LANCZOS)
        image.save(file, "PNG", optimize=True)
        lossy = io.BytesIO()
        image.save(lossy, "WebP", quality=85)
    smaller = 2 * lossy.tell() < file.tell()
    return _data("webp", lossy.getvalue()) if smaller else _data("png", file.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
