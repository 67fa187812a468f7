"""Table of `benchmarks.pretraining`: accuracies and differences to lightly's with their 95 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from modules.metrics.bootstrap import Estimate, Items, difference, mean

OURS, LIGHTLY = "ours", "lightly"
SCORES = {"knn": "kNN", "linear": "linear probe", "finetuned": "fine-tuned"}
WORST, FASTEST = -0.01, 1.3  # difference of accuracies and ratio of speeds to reach


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        facts: of its `run.json`.
        items: test items of `probes` and, once it is, `finetuned`.
    """

    facts: dict[str, Any]
    items: dict[str, Items]


@dataclass(frozen=True)
class Row:
    """A method as measured.

    Args:
        method: name of its YAML.
        seeds: of the runs.
        ours: mean accuracy by score, with its interval.
        peer: the same of lightly's; empty where it was not run.
        differences: of ours to lightly's.
        images_per_s: medians over the seeds of ours and of lightly's.
        ratios: ours over lightly's of each seed.
        cpu_ratios: the same by the time of the processors.
    """

    method: str
    seeds: list[int]
    ours: dict[str, Estimate]
    peer: dict[str, Estimate]
    differences: dict[str, Estimate]
    images_per_s: list[float]
    ratios: list[float]
    cpu_ratios: list[float]


def summarize(runs: Sequence[Run], methods: Sequence[str]) -> list[Row]:
    """Rows of the methods that have runs, from the seeds that both sides have."""
    found = {(run.facts["method"], run.facts["side"], run.facts["seed"]): run for run in runs}
    rows = []
    for method in methods:
        mine, theirs = ([s for m, of, s in found if (m, of) == (method, side)] for side in (OURS, LIGHTLY))
        seeds = sorted({*mine} & {*theirs} if theirs else mine)
        if seeds:
            own, peers = (
                [found[method, side, s] for s in seeds] for side in ([OURS, LIGHTLY] if theirs else [OURS] * 2)
            )
            rows.append(_row(method, seeds, own, peers if theirs else []))
    return rows


def _row(method: str, seeds: list[int], own: list[Run], peers: list[Run]) -> Row:
    items, others = _items(own), _items(peers)
    apart = {name: difference(items[name], others[name]) for name in others if name in items}
    rates = [[run.facts["images_per_s"] for run in side if "images_per_s" in run.facts] for side in (own, peers)]
    ratios = [
        [
            a.facts[key] / b.facts[key]
            for a, b in zip(own, peers, strict=bool(peers))
            if key in a.facts and key in b.facts
        ]
        for key in ("images_per_s", "images_per_cpu_s")
    ]
    return Row(
        method,
        seeds,
        {name: one for name, of in items.items() if (one := _only(name, mean(of)))},
        {name: one for name, of in others.items() if (one := _only(name, mean(of)))},
        {name: one for name, of in apart.items() if (one := _only(name, of))},
        [median(side) for side in rates if side],
        *ratios,
    )


def _items(runs: Sequence[Run]) -> dict[str, list[Items]]:
    """Test items of the runs by score; those of fine-tuning if all runs have them."""
    if not runs:
        return {}
    kinds = {"knn": "probes", "linear": "probes", "finetuned": "finetuned"}
    return {name: [r.items[kind] for r in runs] for name, kind in kinds.items() if all(kind in r.items for r in runs)}


def _only(name: str, metrics: dict[str, Estimate | None]) -> Estimate | None:
    return metrics["accuracy" if name == "finetuned" else name]


def markdown(rows: Sequence[Row], labels: int) -> str:
    """The table as Markdown; what misses its mark is bold."""
    scores = SCORES | {"finetuned": f"fine-tuned, {labels:,} labels"}
    heads = ["method", *scores.values(), *(f"{name} - lightly's" for name in SCORES.values()), "images/s", "seeds"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [f"`{row.method}`", *(_accuracy(row.ours.get(name)) for name in SCORES)]
        cells += [_difference(row.differences.get(name)) for name in SCORES]
        lines.append(f"| {' | '.join([*cells, _speed(row), str(len(row.seeds))])} |")
    return "\n".join(lines) + "\n"


def _accuracy(one: Estimate | None) -> str:
    return "" if one is None else f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _difference(one: Estimate | None) -> str:
    if one is None:
        return ""
    text = f"{100 * one.value:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
    return f"**{text}**" if one.value < WORST else text


def _speed(row: Row) -> str:
    if not row.images_per_s:
        return ""
    if not row.ratios:
        return f"{row.images_per_s[0]:.0f}"
    ratio, cpu = median(row.ratios), median(row.cpu_ratios)
    text = f"{row.images_per_s[0]:.0f} / {row.images_per_s[1]:.0f}, {ratio:.2f} (CPU time {cpu:.2f})"
    return f"**{text}**" if ratio < FASTEST else text
