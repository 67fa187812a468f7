"""Semantic maps drawn over their images, and the legend of their classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from callbacks.figures.base import shorten
from callbacks.figures.strips import Entry, swatch
from modules.contracts import IGNORE
from modules.contracts.palette import palette as default_palette

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule

Palette = Sequence[tuple[int, int, int]]

COLOR, IMAGE = 0.65, 0.45  # shares in an overlay; more than 1 together, since most colors are darker than images
DIFFERENT = (214, 39, 40)
PANEL = 200  # the longer side of an enlarged small image in pixels, about
LEGEND = 20  # classes


def palette_of(data: "LightningDataModule", classes: list[str]) -> Palette:
    """The colors that the data names, or Pascal VOC's."""
    return getattr(data, "palette", None) or default_palette(len(classes))  # not every data module has such colors


def overlay(image: np.ndarray, mask: np.ndarray, palette: Palette) -> np.ndarray:
    """Overlay a semantic map on the gray image, which preserves the legend's colors, with dark class boundaries.

    Ignored pixels stay gray and are hatched.

    Args:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W), classes and `IGNORE`.
        palette: RGB of each class.

    Returns:
        uint8 (H, W, 3).
    """
    gray = _gray(image)
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    drawn = cv2.addWeighted(table.take(mask, axis=0), COLOR, gray, IMAGE, 0)  # take is faster than table[mask]
    _hatch(drawn, gray, mask == IGNORE)
    drawn[_edges(mask)] //= 2
    return drawn


def differences(image: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Error map over the gray image: red where prediction and truth differ, hatched where the truth is ignored.

    Args:
        image: uint8 (H, W, 3).
        true: uint8 (H, W), classes and `IGNORE`.
        predicted: uint8 (H, W).
    """
    gray = _gray(image)
    drawn = gray // 2 + 96  # pale, so that the red stands out
    ignored = true == IGNORE
    _hatch(drawn, gray, ignored)
    wrong = (true != predicted) & ~ignored
    drawn[wrong] = (gray[wrong] * 0.3 + np.multiply(DIFFERENT, 0.7)).astype(np.uint8)
    return drawn


def enlarged(array: np.ndarray) -> np.ndarray:
    """Nearest-neighbor upsampling of a small image (H, W, 3) or map (H, W) to a longer side of about `PANEL`."""
    factor = max(1, round(PANEL / max(array.shape[:2])))
    return array.repeat(factor, axis=0).repeat(factor, axis=1)


def _gray(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _hatch(drawn: np.ndarray, gray: np.ndarray, ignored: np.ndarray) -> None:
    """Hatch ignored pixels of the gray image with light diagonal lines, wider on large images."""
    down, right = np.nonzero(ignored)
    lines = (down + right) // (2 * _line(gray)) % 4 == 0
    drawn[down, right] = np.where(lines[:, None], 235, gray[down, right] // 2 + 64)


def _edges(mask: np.ndarray) -> np.ndarray:
    """Class boundaries, bool (H, W): pixels whose class differs from the one to the right or below."""
    line, edges = _line(mask), np.zeros(mask.shape, bool)
    edges[:, :-line] = mask[:, :-line] != mask[:, line:]
    edges[:-line] |= mask[:-line] != mask[line:]
    return edges


def _line(array: np.ndarray) -> int:
    """Width of a thin line in pixels."""
    return max(1, round(max(array.shape[:2]) / 500))


def legend(maps: Sequence[np.ndarray], classes: Sequence[str], palette: Palette) -> list[Entry]:
    """Legend of the classes that occur in the maps, as `class_legend`, and of ignored pixels."""
    counts = sum((np.bincount(mask.ravel(), minlength=256) for mask in maps), np.zeros(256, np.int64))
    entries = class_legend(counts[: len(classes)], classes, palette)
    if counts[IGNORE]:
        ignored = swatch((150, 150, 150))
        _hatch(ignored, ignored, np.ones(ignored.shape[:2], bool))
        entries.append(("ignored", ignored))
    return entries


def class_legend(counts: np.ndarray, classes: Sequence[str], palette: Palette) -> list[Entry]:
    """Legend of the `LEGEND` most frequent classes, in order of their indices, and the number of others.

    Args:
        counts: of each class, (C,).
        classes: C names.
        palette: RGB of each class.
    """
    seen = np.flatnonzero(counts)
    shown = sorted(sorted(seen, key=lambda index: -counts[index])[:LEGEND])
    entries = [(shorten(classes[index], 18), swatch(palette[index])) for index in shown]
    if len(seen) > LEGEND:
        entries.append((f"and {len(seen) - LEGEND} more classes", swatch((255, 255, 255))))
    return entries
