"""Page of `check` as text of at most 80 columns."""

import textwrap
from collections.abc import Sequence

from commands.page import SHOWN, Section, Table

WIDTH = 80
ROWS = 20  # of a table, in text


def text_page(title: str, verdict: str, sections: Sequence[Section]) -> str:
    """The page as text, at most WIDTH columns wide."""
    lines = [*_wrapped(title), *_wrapped(verdict)]
    for section in sections:
        lines += ["", section.title.upper(), *_body(section)]
    return _encodable("\n".join(lines) + "\n")


def _encodable(text: str) -> str:
    """The text with bytes of names that are not in UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


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
