"""Figures of an attack: accuracy over the size of the change, and images with their amplified change."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from callbacks.figures.base import PLAIN, RIGHT, WRONG, render, shorten, shorten_start, titled
from callbacks.figures.grids import grid
from callbacks.figures.overlays import Palette, enlarged, legend, overlay, palette_of
from callbacks.figures.strips import strips
from commands.attack.methods import Found
from datamodules import DataModule
from modules.contracts import IGNORE
from modules.contracts.pixels import to_uint8

LINES = {
    "robust_accuracy": ("#1f5fa8", "right in spite of the attack"),
    "target_rate": ("#d98200", "answered with the target"),
}
SIDE = 256  # pixels of a map in the figure, at most


def draw_curve(results: list[Any], found: Found, title: str) -> np.ndarray:
    """Accuracy, and of targeted attacks the share of success, over the size of the change, with 95 % intervals.

    Args:
        results: of `commands.attack.report.summarize`.
        found: outcome.
        title: one line above.
    """
    figure = titled(max(720, 8 * len(title)), 440, title)
    axes = figure.add_axes((0.11, 0.14, 0.86, 0.75))
    typed = {word: size for size, word in found.plan.eps.items()}
    for metric, (color, label) in LINES.items():
        known = [r for r in results if r.metric == metric]
        if not known:
            continue
        first = next(r for r in results if r.metric == "accuracy") if metric == "robust_accuracy" else None
        points = [(0.0, first)] if first else []
        points += [(typed[r.eps], r) for r in known]
        x, values = [size for size, _ in points], np.array([100 * r.value for _, r in points])
        ends = np.array([np.multiply(100, r.interval or (r.value, r.value)) for _, r in points])
        reach = np.abs(np.stack([values - ends[:, 0], ends[:, 1] - values]))
        axes.errorbar(x, values, reach, marker="o", markersize=4, capsize=3, color=color, label=label)
        for size, value in zip(x, values, strict=True):
            place = {"xytext": (4, 5), "textcoords": "offset points", "fontsize": 9}
            axes.annotate(f"{value:.1f}", (size, value), **place)
    unit = "largest change of a pixel" if found.plan.norm == "Linf" else "length of the change over all pixels (L2)"
    axes.set_xticks([0.0, *typed.values()], ["0", *typed], fontsize=9)
    axes.set(xlabel=f"{unit}, pixels in 0..1", ylabel="share (%)", ylim=(-3, 108))
    axes.set_xlim(-0.04 * max(typed.values()), 1.09 * max(typed.values()))
    axes.grid(alpha=0.25)
    axes.legend(loc="best", framealpha=0.9, fontsize=9)
    return render(figure)


def draw_samples(found: Found, data: DataModule, classes: list[str], title: str) -> np.ndarray:
    """A few samples: image, amplified change, changed image; of maps the answers before and after in place of it."""
    if found.shown and found.shown[0].label.ndim:
        return _maps(found, classes, palette_of(data, classes), title)
    images, captions, colors = [], [], []
    for shown in found.shown:
        before, after = _still(shown.before), _still(shown.after)
        amplified, words = _change(after - before)
        images += [_bytes(before), _bytes(amplified), _bytes(after)]
        true = int(shown.label)
        truth = f"is {shorten(classes[true], 18)}" if found.labeled else shorten(shown.name, 18)
        first, second = (_said(logits, classes) for logits in (shown.logits, shown.logits_after))
        captions += [f"{first[1]}\n{truth}", "\n".join(words), f"{second[1]}\nafter the attack"]
        colors += [RIGHT if first[0] == true else WRONG, PLAIN, RIGHT if second[0] == true else WRONG]
    return grid(images, captions, f"{title}; green: right answer, red: wrong", colors, columns=min(6, len(images)))


def _maps(found: Found, classes: list[str], palette: Palette, title: str) -> np.ndarray:
    """Strips of image, amplified change, and the map answered before and after, under the legend of the classes."""
    rows, drawn, captions = [], [], []
    for shown in found.shown:
        step = -(-max(shown.before.shape[-2:]) // SIDE)
        image = avg_pool2d(shown.before[None], step)[0]
        height, width = image.shape[-2:]
        part = (..., slice(step // 2, height * step, step), slice(step // 2, width * step, step))
        amplified, words = _change(shown.after - shown.before)
        small = enlarged(_bytes(image))
        ignored = shown.label == IGNORE
        said = [torch.where(ignored, IGNORE, logits.argmax(0))[part] for logits in (shown.logits, shown.logits_after)]
        maps = [enlarged(one.to(torch.uint8).cpu().numpy()) for one in said]
        rows.append([small, enlarged(_bytes(amplified[part])), *(overlay(small, one, palette) for one in maps)])
        captions.append(f"{shorten_start(shown.name, 60)}\n{', '.join(words)}")
        drawn += maps
    headings = ["image", "change", "answer before the attack", "after the attack"]
    return strips(rows, headings, captions, legend(drawn, classes, palette), title)


def _change(change: Tensor) -> tuple[Tensor, list[str]]:
    """A change (C, H, W) amplified to half of 0..1 around gray, and words on it."""
    if not (largest := float(change.abs().max())):
        return torch.full_like(change, 0.5), ["not changed"]
    factor = 0.5 / largest
    factor = float(f"{factor:.2g}") if factor < 10 else float(int(factor))
    return 0.5 + factor * change, [f"change x {factor:g}", "gray is none", f"largest {255 * largest:.3g}/255"]


def _said(logits: Tensor, classes: list[str]) -> tuple[int, str]:
    """Class of the highest logit, and its name with the softmax over all classes."""
    index = int(logits.argmax())
    return index, f"{shorten(classes[index], 16)} {100 * float(logits.softmax(0)[index]):.0f} %"


def _still(pixels: Tensor) -> Tensor:
    """An image (C, H, W), or the middle frame of the middle view of a video (V, C, T, H, W)."""
    if pixels.ndim == 5:
        pixels = pixels[len(pixels) // 2]
        pixels = pixels[:, pixels.shape[1] // 2]
    return pixels


def _bytes(image: Tensor) -> np.ndarray:
    """Pixels (C, H, W) as uint8 (H, W, 3)."""
    found = to_uint8(image).expand(3, -1, -1)
    return np.ascontiguousarray(found.permute(1, 2, 0).cpu().numpy())
