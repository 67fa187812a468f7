"""The figures of a run as a table for people: one line a metric, one column a split."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from callbacks.numbers import number

ORDER = ("train", "val", "test")


def results_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """What the lines of a column have in common stands below the table, once.

    Args:
        rows: `metric` ("val/acc"), `value`, `how` (parts separated by "; ", those all figures of a split share first
            and last).
        title: one line above all.
    """
    splits = sorted({row["metric"].partition("/")[0] for row in rows}, key=ORDER.index)
    shared = {split: _shared([row["how"] for row in rows if row["metric"].startswith(f"{split}/")]) for split in splits}
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        split, _, metric = row["metric"].partition("/")
        lines.setdefault(metric, {})[split] = row
    caption = "\n".join(f"{split}: {'; '.join(parts)}" for split, parts in shared.items() if parts)
    table = Table(title=title, caption=caption or None, title_justify="left", caption_justify="left")
    table.add_column("metric", style="bold", overflow="fold")
    for split in splits:
        table.add_column(split, style="green", justify="right", no_wrap=True)
    table.add_column("how", overflow="fold")
    for metric, found in lines.items():
        hows = {
            split: "; ".join(p for p in _parts(row["how"]) if p not in shared[split]) for split, row in found.items()
        }
        same = len(set(hows.values())) == 1
        how = (
            next(iter(hows.values())) if same else "\n".join(f"{split}: {text}" for split, text in hows.items() if text)
        )
        table.add_row(metric, *(number(found[split]["value"]) if split in found else "" for split in splits), how)
    return table


def _parts(how: str) -> list[str]:
    return how.split("; ")


def _shared(hows: list[str]) -> list[str]:
    """Parts that all have, if there are several."""
    if len(hows) < 2:
        return []
    return [part for part in _parts(hows[0]) if all(part in _parts(how) for how in hows[1:])]
