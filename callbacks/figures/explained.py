"""Overlays of attribution maps, side by side."""

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from callbacks.collectors.chosen import evenly
from callbacks.figures.grids import side_by_side
from callbacks.figures.heat import heat_overlay
from callbacks.figures.placing import Place
from callbacks.figures.sentences import fitted
from callbacks.figures.strips import strips
from modules.insight.faithfulness import stretched
from modules.insight.targets import Box, Reference, Region, Word

PANEL, FRAMES = 220, 8
GREEN = (60, 255, 60)


def said(target: Any, classes: Sequence[str] | None, task: Any) -> str:
    """A target in a few words."""
    if isinstance(target, Word):
        return task.tokenizers[-1].decode([target.tokens[target.start : target.end]])[0]
    if isinstance(target, Reference):
        return f"similarity to {target.name}"
    label = target.label if isinstance(target, Box | Region) else target
    return classes[label] if classes else "real"


def panels(
    shown: Sequence[np.ndarray],
    maps: Iterable[Tensor],
    space: tuple[int, ...],
    places: Sequence[Place],
    targets: Sequence[Any],
) -> list[list[np.ndarray]]:
    """Each sample and a copy under each of its maps, with the box that is explained.

    Args:
        shown: images or clips, as of `overlays`.
        maps: of each method, (B, ...) of any resolution.
        space: sides of the network's input.
        places: of that input in what is shown.
        targets: as of `Task.targets`.
    """
    heats = [stretched(one, space).clamp(min=0) for one in maps]
    return [
        overlays(image, [heat[i] for heat in heats], place, target.box if isinstance(target, Box) else None)
        for i, (image, place, target) in enumerate(zip(shown, places, targets, strict=True))
    ]


def overlays(image: np.ndarray, heats: Sequence[Tensor], place: Place, box: Tensor | None) -> list[np.ndarray]:
    """An image, and a copy under each map; of clips the frames from left to right.

    Args:
        image: uint8 (H, W, 3), or (T, H, W, 3).
        heats: maps over the network's input, (h, w), or (T, h, w).
        place: of that input in the image.
        box: xyxy in the network's input that is explained; null without.
    """
    if image.ndim == 4:
        chosen = evenly(len(image), FRAMES)
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


def compared(targets: Sequence[Any], ids: Sequence[str], shown: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The image that each target compares with, by its name; empty where nothing is compared."""
    images = dict(zip(ids, shown, strict=True))
    return [images[target.name] for target in targets if isinstance(target, Reference)]


def summary(
    rows: Sequence[Sequence[np.ndarray]],
    methods: Sequence[str],
    captions: Sequence[str],
    title: str,
    clips: bool = False,
    others: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Samples below each other, their overlays side by side; of clips one method below the other.

    Args:
        rows: of each sample its panels, as of `panels`.
        methods: names of those from the second one on.
        captions: one per sample.
        title: one line.
        clips: panels are frames side by side.
        others: the image that each sample is compared with; empty for none.
    """
    if clips:
        stacked = [[_stacked(panels)] for panels in rows]
        order = "from above: the clip, " + ", ".join(methods)
        return strips(
            [[fitted(one, _size(one, 4 * PANEL)) for one in row] for row in stacked], [order], captions, [], title
        )
    beside = [[other] for other in others] or [[] for _ in rows]
    small = [
        [fitted(panel, (PANEL, PANEL)) for panel in [*row, *other]] for row, other in zip(rows, beside, strict=True)
    ]
    return strips(small, ["", *methods, *["compared with"][: len(others)]], captions, [], title)


def _size(image: np.ndarray, width: int) -> tuple[int, int]:
    return max(1, round(image.shape[0] * width / image.shape[1])), width


def _stacked(panels: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((3, *panels[0].shape[1:]), 255, np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1])
