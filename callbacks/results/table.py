"""Table of the metrics of a run: one line per metric, one column per split."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from callbacks.results.number_format import bounds, number
from callbacks.writers.per_class import MAIN_METRICS, lowest_first

ORDER = ("train", "val", "test")
SAME = "the same"
"""Protocol of a metric that has that of the line above."""


def results_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Table with a line for each metric of each set of weights; protocol parts shared by a column stand below it.

    A protocol that is that of the line above is not said again.

    Args:
        rows: `metric` ("val/acc"), `value`, `protocol` (parts separated by "; ", those all metrics of a split share
            first and last), and `weights` where there are several sets of them.
        title: one line above all.
    """
    splits = sorted({row["metric"].partition("/")[0] for row in rows}, key=ORDER.index)
    of = {split: [row["protocol"] for row in rows if row["metric"].startswith(f"{split}/")] for split in splits}
    shared = {split: shared_parts(protocols) for split, protocols in of.items()}
    lines: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        split, _, metric = row["metric"].partition("/")
        lines.setdefault((row.get("weights", ""), metric), {})[split] = row
    lines_below = [f"{split}: {'; '.join(parts)}" for split, parts in shared.items() if parts] + _intervals(rows)
    caption = "\n".join(lines_below)
    several = len({weights for weights, _ in lines}) > 1
    table = Table(title=_one_line(title), caption=caption or None, title_justify="left", caption_justify="left")
    if several:
        table.add_column("weights", overflow="fold")
    table.add_column("metric", style="bold", overflow="fold")
    for split in splits:
        table.add_column(split, style="green", justify="right", no_wrap=True)
    table.add_column("protocol", overflow="fold")
    said, known, above = "", set(), ""
    for (weights, metric), found in lines.items():
        if weights != said and known:
            table.add_section()
        values = (_value(found[split]) if split in found else "" for split in splits)
        protocol = "" if metric in known else _protocol(found, shared)
        if metric not in known:
            protocol, above = SAME if protocol == above and len(protocol) > len(SAME) else protocol, protocol
        table.add_row(*([weights if weights != said else ""] if several else []), metric, *values, protocol)
        said, known = weights, known | {metric}
    return table


def class_table(stage: str, metrics: dict[str, np.ndarray], classes: list[str], most: int = 10) -> Table:
    """Table of the classes with the lowest metrics.

    Args:
        stage: val or test.
        metrics: number of true samples, objects or pixels of each class, and then its metrics, each (C,).
        classes: their names.
        most: number of classes shown.
    """
    main, order = lowest_first(metrics)
    some = f", {most} of {len(order)}" if len(order) > most else ""
    title = f"Classes, lowest {MAIN_METRICS[main]} first (predictions/{stage}_per_class.csv{some})"
    table = Table(title=_one_line(title), title_justify="left")
    for column in ("class", *metrics):
        table.add_column(column, justify="left" if column == "class" else "right", overflow="fold")
    for index in order[:most]:
        count, *values = (column[index] for column in metrics.values())
        table.add_row(classes[index], f"{int(count):,}", *(number(float(value), ".3f") for value in values))
    return table


def _one_line(title: str) -> Text:
    """Title that may be wider than its table."""
    return Text(title, style="table.title", no_wrap=True, overflow="ignore")


def _value(row: dict[str, Any]) -> str:
    """Value of a row, its interval on a line below."""
    ends = row.get("interval")
    return number(row["value"]) + (f"\n{bounds(*ends)}" if ends else "")


def _intervals(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Line on the intervals of a table, if it has some."""
    items = sorted({row["items"] for row in rows if row.get("interval")})
    return [f"95 % interval: bootstrap over {' or '.join(f'{n:,}' for n in items)} items"] if items else []


def _protocol(found: dict[str, dict[str, Any]], shared: dict[str, list[str]]) -> str:
    """Protocol of one line, without the parts shared by its column."""
    own = {split: [p for p in parts_of(row["protocol"]) if p not in shared[split]] for split, row in found.items()}
    protocols = {split: "; ".join(parts) for split, parts in own.items()}
    if len(set(protocols.values())) == 1:
        return next(iter(protocols.values()))
    return "\n".join(f"{split}: {text}" for split, text in protocols.items() if text)


def parts_of(protocol: str) -> list[str]:
    """Parts of a protocol, those that metrics of a split may share first."""
    return protocol.split("; ")


def shared_parts(protocols: list[str]) -> list[str]:
    """Parts common to all protocols, if there are several."""
    if len(protocols) < 2:
        return []
    return [part for part in parts_of(protocols[0]) if all(part in parts_of(protocol) for protocol in protocols[1:])]
