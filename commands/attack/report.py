"""Files of an attack: results with intervals as JSON, every sample as CSV, figures as PNG."""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from callbacks.figures.log import write_figure
from commands.attack.drawing import draw_curve, draw_samples
from commands.attack.methods import Found
from datamodules import DataModule
from modules.contracts import writing
from modules.metrics.bootstrap import Items, intervals
from modules.metrics.bootstrap.records import means

SIZES = {
    "size": ("l2", "length of the change"),
    "relative": ("l2_relative", "the same over that of the image"),
    "largest": ("largest_change", "of a pixel, 0..1"),
}
"""Columns of the sizes of changes, their names and definitions."""


class Result(NamedTuple):
    """One number: its name, the size of the change ("" for none), value, 95 % interval, items, definition."""

    metric: str
    eps: str
    value: float
    interval: list[float] | None
    items: int
    protocol: str

    @property
    def words(self) -> str:
        """Value and interval in percent, or as they are for lengths."""
        if self.metric.startswith(("l2", "largest")):
            return f"{self.value:.3g}"
        ends = "" if self.interval is None else f" [{', '.join(f'{100 * end:.1f}' for end in self.interval)}]"
        return f"{100 * self.value:.1f} %{ends}"


def write_report(folder: Path, found: Found, data: DataModule, classes: list[str], ckpt_path: str) -> list[str]:
    """Write the files of an attack; returns lines to print.

    Args:
        folder: of the files.
        found: outcome.
        data: whose samples were attacked.
        classes: names in order of their index.
        ckpt_path: of the run, as typed.

    Raises:
        DataError: the folder cannot be written.
    """
    plan, results = found.plan, summarize(found)
    target = plan.target if plan.target in (None, "random") else classes[int(plan.target)]
    about = {
        "checkpoint": ckpt_path,
        "method": plan.method,
        "norm": plan.norm,
        "target": target,
        "protocol": plan.protocol,
        "split": found.split,
        "samples": len(found.ids),
        "labels": "of the data" if found.labeled else "the network's own answers",
        "zero_gradients": int(found.columns["dead"].sum()),
    }
    name = plan.method if target is None else f"{plan.method}_to_{_file_name(target)}"
    aim = "" if target is None else ", toward another class at random" if target == "random" else f", toward {target}"
    title = f"{plan.protocol.partition(',')[0]}{aim}: {len(found.ids):,} {found.split} {data.noun}"
    figures = {
        f"{name}_curve.png": draw_curve(results, found, title),
        f"{name}_images.png": draw_samples(found, data, classes, title),
    }
    with writing(folder, "--out"):
        (folder / f"{name}.json").write_text(json.dumps(about | {"results": [r._asdict() for r in results]}, indent=2))
        _write_csv(folder / f"{name}.csv", found, classes)
    for file, figure in figures.items():
        write_figure(figure, folder / file, "--out")
    lines = [f"{plan.protocol}{aim}; {len(found.ids):,} {found.split} {data.noun}"]
    lines += [f"  {_heading(r):<32} {r.words:<22} {r.protocol}" for r in results]
    if about["zero_gradients"]:
        lines.append(
            f"  {about['zero_gradients']} of them only seem robust: the network is so sure that the gradient is "
            f"exactly 0 in float32; deepfool and fooling_image go by logits, which have one"
        )
    if plan.target is None and not found.columns["clean"].any():
        lines.append("  nothing to fool: no answer was right without the attack")
    elif plan.target is not None and not found.columns["counted"].any():
        lines.append("  nothing to count: every sample is of the target's class, or was answered so without the attack")
    return [*lines, f"written: {folder}/  ({', '.join([*figures, f'{name}.csv', f'{name}.json'])})"]


def summarize(found: Found) -> list[Result]:
    """Results of an attack: accuracy before, after each size of the change, and what the change did."""
    columns, plan = found.columns, found.plan
    noun = "answers" if "true" in columns else "pixels, mean over images"
    truth = "as labeled" if found.labeled else "as without the attack"
    every, clean = np.ones(len(found.ids), bool), columns["clean"]
    results = [_result(found, "accuracy", "", clean, every, f"right {noun}, {truth}, without attack")]
    for i, eps in enumerate(plan.eps.values()):
        words = f"right {noun} that no change up to this size has fooled"
        results.append(_result(found, "robust_accuracy", eps, columns["right"][:, i], every, words))
    *_, last = plan.eps.values()
    if plan.target is not None:
        for i, eps in enumerate(plan.eps.values() if columns["counted"].any() else ()):
            words = f"{noun} that are the target, of samples of other classes that were not answered so before"
            results.append(_result(found, "target_rate", eps, columns["hit"][:, i], columns["counted"], words))
    elif "true" in columns and clean.any():
        right = clean > 0
        words = f"wrong {noun} after the attack, among those that were right before"
        results.append(_result(found, "fooled", last, 1.0 - columns["right"][:, -1], right, words))
        words = "the same, of changed images that are rounded to 8 bits, as a file has them"
        results.append(_result(found, "fooled_8bit", last, 1.0 - columns["rounded"], right, words))
    changed = (columns["size"] > 0) & ((columns["clean"] > 0) if plan.target is None else columns["counted"])
    if changed.any():
        rest = f"median of {int(changed.sum()):,} changed samples"
        for name, (metric, words) in SIZES.items():
            median = float(np.median(columns[name][changed]))
            results.append(Result(metric, "", median, None, int(changed.sum()), f"{words}, {rest}"))
    return results


def _result(found: Found, metric: str, eps: str, values: np.ndarray, chosen: np.ndarray, protocol: str) -> Result:
    """Mean of values (N,) over chosen samples, with its interval over resampled ones."""
    values, ids = values[chosen].astype(float), np.array(found.ids)[chosen]
    if not len(values):
        return Result(metric, eps, float("nan"), None, 0, protocol)
    estimate = intervals(Items(ids, means({metric: values})))[metric]
    return Result(metric, eps, float(values.mean()), None if estimate is None else estimate.ends, len(values), protocol)


def _heading(result: Result) -> str:
    return f"{result.metric} at {result.eps}" if result.eps else result.metric


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)


def _write_csv(path: Path, found: Found, classes: list[str]) -> None:
    """One row for each sample: classes before and after each size, or shares of right pixels of maps."""
    columns, eps = found.columns, list(found.plan.eps.values())
    single = "true" in columns
    before = ["class", "answer"] if single else ["accuracy"]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", *before, *(f"after {one}" for one in eps), "l2", "largest_change"])
        for i, name in enumerate(found.ids):
            said = [columns["true"][i], columns["before"][i], *columns["after"][i]] if single else []
            shares = [f"{one:.6g}" for one in (columns["clean"][i], *columns["right"][i])]
            sizes = [f"{columns[key][i]:.6g}" for key in ("size", "largest")]
            rows.writerow([name, *([classes[k] for k in said] if single else shares), *sizes])
