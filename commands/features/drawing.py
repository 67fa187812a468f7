"""Figures of `features`: channels with their patches, classes, inversion by depth, and shallow against deep."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.base import render, shorten, titled
from callbacks.figures.grids import fitted, grid
from commands.features.ascents import Climbed, Inverted
from commands.features.depth import Level
from commands.features.patches import Patch, cut_out

SIDE = 128  # pixels of a cell
BLUE, ORANGE, GRAY = "#1f5fa8", "#d98200", "#888888"


def channels(
    climbed: Climbed | None, patches: dict[int, list[Patch]], images: Sequence[np.ndarray], title: str
) -> np.ndarray:
    """A row per channel: the image of gradient ascent, then the patches that activate it most."""
    shown, captions = [], []
    for number, (channel, found) in enumerate(patches.items()):
        if climbed:
            shown.append(fitted(climbed.images[number], SIDE))
            captions.append(_lines(f"channel {channel}: ascent\n{climbed.captions[number]}"))
        for patch in found:
            shown.append(fitted(cut_out(images[patch.index], patch), SIDE))
            left, top, right, bottom = patch.box
            captions.append(f"{patch.value:.3g}\n{right - left} x {bottom - top} at {left}, {top}")
    columns = (climbed is not None) + max((len(found) for found in patches.values()), default=1)
    return grid(shown, captions, title, columns=columns)


def classes(climbed: Climbed, title: str) -> np.ndarray:
    """Images of gradient ascent, with what they reach."""
    captions = [
        _lines(f"{shorten(name)}\n{words}") for name, words in zip(climbed.names, climbed.captions, strict=True)
    ]
    return grid([fitted(one, SIDE) for one in climbed.images], captions, title)


def _lines(caption: str) -> str:
    """A caption with each bracket on a line of its own."""
    return caption.replace(" (", "\n(")


def inversion(originals: Sequence[np.ndarray], found: Sequence[Inverted], title: str) -> np.ndarray:
    """A row per image: the original, then what each level knows of it; below the error by depth."""
    shown, captions = [], []
    for row, original in enumerate(originals):
        shown += [fitted(original, SIDE), *(fitted(one.images[row], SIDE) for one in found)]
        captions += ["original", *(f"level {i}" for i in range(len(found)))]
    above = grid(shown, captions, title, columns=len(found) + 1)
    figure = titled(above.shape[1], 260, "error of the images by level")
    axes = figure.add_axes((0.12, 0.2, 0.84, 0.62))
    axes.plot([one.error for one in found], "o-", color=BLUE, label="pixels (RMS, 0..1)")
    axes.plot([one.missed for one in found], "s--", color=ORANGE, label="features (squared, relative)")
    axes.set(xlabel="level, shallow to deep", xticks=range(len(found)), ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, framealpha=0.9)
    return np.concatenate([above, render(figure)])


def depth(found: Sequence[Level], side: int, chance: float | None, title: str) -> np.ndarray:
    """Linear probe, effective rank and receptive field of every level, one panel beside the other."""
    figure = titled(1050, 360, title)
    probes = [100 * one.probe for one in found if one.probe is not None]
    panels: dict[str, tuple[list[float], float | None, str]] = {
        "linear probe (accuracy, %)": (probes, None if chance is None else 100 * chance, "chance"),
        "effective rank (share of channels, %)": ([100 * one.rank / one.channels for one in found], None, ""),
        "receptive field (pixels)": ([float(one.field) for one in found], side, "image"),
    }
    for number, (name, (values, mark, word)) in enumerate(panels.items()):
        axes = figure.add_axes((0.05 + 0.325 * number, 0.2, 0.28, 0.62))
        if not values:
            axes.text(0.5, 0.5, "no labels", ha="center", va="center", transform=axes.transAxes)
        else:
            axes.plot(values, "o-", color=BLUE)
            for i, value in enumerate(values):
                axes.annotate(f"{value:.3g}", (i, value), (0, 6), textcoords="offset points", ha="center", fontsize=8)
            if mark is not None:
                axes.axhline(mark, color=GRAY, linestyle="--", label=word)
                axes.legend(fontsize=8)
            axes.set_ylim(0, 1.15 * max(*values, mark or 0.0) or 1.0)
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(len(found)), [f"{i}\n{one.channels} ch." for i, one in enumerate(found)], fontsize=8)
        axes.set(xlabel="level, shallow to deep", xlim=(-0.4, len(found) - 0.6))
        axes.grid(alpha=0.25)
    return render(figure)
