"""Figures of explanations: overlays in the original resolution, side by side, and curves of their faithfulness."""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from callbacks.figures.base import distinct, render, shorten, titled
from callbacks.figures.grids import side_by_side
from callbacks.figures.heat import heat_overlay
from callbacks.figures.sentences import fitted
from callbacks.figures.strips import strips
from commands.explain.placing import Place
from commands.explain.scores import Faithfulness

PANEL, FRAMES = 220, 8
GREEN = (60, 255, 60)


def overlays(image: np.ndarray, heats: Sequence[Tensor], place: Place, box: Tensor | None) -> list[np.ndarray]:
    """An image, and a copy under each map; of clips the frames from left to right.

    Args:
        image: uint8 (H, W, 3), or (T, H, W, 3).
        heats: maps over the network's input, (h, w), or (T, h, w).
        place: of that input in the image.
        box: xyxy in the network's input that is explained; null without.
    """
    if image.ndim == 4:
        chosen = np.linspace(0, len(image) - 1, min(len(image), FRAMES)).round().astype(int)
        frames = [overlays(image[i], [heat[i] for heat in _scaled(heats)], place, box) for i in chosen]
        return [side_by_side(panels) for panels in zip(*frames, strict=True)]
    return [_boxed(image, place, box), *(_boxed(_lit(image, heat, place), place, box) for heat in heats)]


def _scaled(heats: Sequence[Tensor]) -> list[Tensor]:
    """Maps of clips with the range 0..1 over all frames, so that frames can be compared."""
    return [(heat - heat.min()) / (heat.max() - heat.min()).clamp(min=1e-12) for heat in heats]


def _lit(image: np.ndarray, heat: Tensor, place: Place) -> np.ndarray:
    """The map over the part that the network sees; the rest is gray and dark."""
    top, left, height, width = place.window
    drawn = np.repeat(image.mean(2, keepdims=True) * 0.35, 3, 2).astype(np.uint8)
    inside = np.ascontiguousarray(image[top : top + height, left : left + width])
    drawn[top : top + height, left : left + width] = heat_overlay(inside, heat[: place.inside[0], : place.inside[1]])
    return drawn


def _boxed(image: np.ndarray, place: Place, box: Tensor | None) -> np.ndarray:
    if box is None:
        return image
    left, top, right, bottom = place.box(box)
    width = max(1, min(image.shape[:2]) // 120)
    return cv2.rectangle(np.ascontiguousarray(image).copy(), (left, top), (right, bottom), GREEN, width)


def summary(
    rows: Sequence[Sequence[np.ndarray]], methods: Sequence[str], captions: Sequence[str], title: str
) -> np.ndarray:
    """Samples below each other, their overlays side by side; of clips one method below the other."""
    if rows and rows[0][0].shape[1] > 3 * rows[0][0].shape[0]:  # frames side by side
        stacked = [[_stacked(panels)] for panels in rows]
        order = "from above: the clip, " + ", ".join(methods)
        return strips(
            [[fitted(one, _size(one, 4 * PANEL)) for one in row] for row in stacked], [order], captions, [], title
        )
    small = [[fitted(panel, (PANEL, PANEL)) for panel in row] for row in rows]
    return strips(small, ["", *methods], captions, [], title)


def _size(image: np.ndarray, width: int) -> tuple[int, int]:
    return max(1, round(image.shape[0] * width / image.shape[1])), width


def _stacked(panels: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((3, *panels[0].shape[1:]), 255, np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1])


def curves(found: Faithfulness, title: str) -> np.ndarray:
    """Deletion, insertion, and rank correlation with the maps of random weights."""
    panels = [("deletion: low is good", found.deletion), ("insertion: high is good", found.insertion)]
    panels += [("random weights: near 0 is good", found.correlations)] if found.correlations else []
    names = list(found.deletion)
    colors = dict(zip(names, distinct(len(names)), strict=True))
    width = 84 + 350 * len(panels)
    height = 400 + 18 * -(-len(names) // 4)
    figure = titled(width, height, title)
    for number, (heading, lines) in enumerate(panels):
        axes = figure.add_axes(((74 + 350 * number) / width, 110 / height, 285 / width, 230 / height))
        for name, line in lines.items():
            places = np.linspace(0, 100, len(line)) if number < 2 else range(1, len(line) + 1)
            style = "--" if name in ("random", "center") else "-"
            axes.plot(places, line.numpy(), style, marker="" if number < 2 else "o", color=colors[name], label=name)
        axes.set_title(heading, fontsize=10)
        axes.grid(alpha=0.25)
        if number < 2:
            axes.set(xlabel="pixels (%)", ylabel="score" if number == 0 else "")
        else:
            axes.set(ylim=(-1.05, 1.05), xlabel="random from the output to")
            axes.set_xticks(
                range(1, len(found.layers) + 1), [shorten(one.split(".net.")[-1], 12) for one in found.layers]
            )
            axes.tick_params(axis="x", labelsize=7)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=9, frameon=False)
    return render(figure)
