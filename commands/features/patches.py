"""Top activations: patches of the data that activate channels most, cut out where their receptive field lies."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from commands.features.subject import Subject
from modules.insight.receptive import receptive_boxes

Run = Callable[[Tensor], Tensor]


class Peaks(NamedTuple):
    """Highest activations of each image: `values` (N, D) of D channels, `rows` and `columns` (N, D) in the maps."""

    values: Tensor
    rows: Tensor
    columns: Tensor
    cells: tuple[int, int]


class Patch(NamedTuple):
    """A part of an image that activates a channel: `box` is left, top, right, bottom; `cell` the same of the cell."""

    index: int
    value: float
    box: tuple[int, int, int, int]
    cell: tuple[int, int, int, int]


@torch.no_grad()
def peaks(subject: Subject, run: Run) -> Peaks:
    """Highest activation of each channel in each image of the sample, with its place."""
    values, places, cells = [], [], (1, 1)
    for x in subject.batches(subject.images):
        maps = run(x)
        cells = (maps.shape[2], maps.shape[3])
        best = maps.flatten(2).max(2)
        values.append(best.values.cpu())
        places.append(best.indices.cpu())
    place = torch.cat(places)
    return Peaks(torch.cat(values), place // cells[1], place % cells[1], cells)


def selective(found: Peaks, count: int) -> list[int]:
    """Channels that a few images activate far more than the others do, the most selective first, without dead ones."""
    values = found.values
    std = values.std(0, correction=0)
    contrast = (values.max(0).values - values.mean(0)) / std.clamp(min=1e-12)
    contrast[std <= 1e-6 * std.max()] = -1
    return [int(channel) for channel in contrast.argsort(descending=True)[:count] if contrast[channel] >= 0]


def top_patches(
    subject: Subject, run: Run, found: Peaks, channels: Sequence[int], count: int
) -> dict[int, list[Patch]]:
    """Patches of the images that activate each channel most, one of an image at most, best first."""
    best = {channel: found.values[:, channel].argsort(descending=True)[:count].tolist() for channel in channels}
    wanted = [(i, channel) for channel, images in best.items() for i in images]
    cells = [(int(found.rows[i, channel]), int(found.columns[i, channel])) for i, channel in wanted]
    unlike = list(dict.fromkeys(cells))
    boxes = dict(
        zip(unlike, receptive_boxes(run, subject.task, subject.enter(subject.images[:1]), unlike), strict=True)
    )
    height, width = subject.images.shape[-2:]
    result: dict[int, list[Patch]] = {channel: [] for channel in channels}
    for (i, channel), (row, column) in zip(wanted, cells, strict=True):
        high, wide = height / found.cells[0], width / found.cells[1]
        left, right = round(column * wide), round((column + 1) * wide)
        cell = (left, round(row * high), right, round((row + 1) * high))
        result[channel].append(Patch(i, float(found.values[i, channel]), boxes[row, column], cell))
    return result


def cut_out(image: np.ndarray, patch: Patch) -> np.ndarray:
    """The receptive field of a patch in an image uint8 (H, W, 3); where it is the whole image, its cell is framed."""
    left, top, right, bottom = patch.box
    part = image[top:bottom, left:right].copy()
    if part.shape == image.shape:
        left, top, right, bottom = patch.cell
        part[top:bottom, [left, right - 1]] = part[[top, bottom - 1], left:right] = (255, 60, 60)
    return part
