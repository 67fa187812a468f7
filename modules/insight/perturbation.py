"""Attribution by covering parts of the input: occlusion and RISE. They need scores alone, no gradients."""

from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modules.contracts import ConfigError
from modules.insight.changes import only_changes
from modules.insight.subject import Subject

MASKS, CELLS, KEPT = 2000, 7, 0.5
Sides = tuple[int, ...]


def occlusion(subject: Subject, patch: Sides, stride: Sides, baseline: float = 0.0) -> Tensor:
    """Occlusion: drop of the score where a window covers the input, mean over the windows (Zeiler and Fergus 2014).

    Windows begin at multiples of the stride; the last may reach beyond the border.

    Args:
        subject: what is explained.
        patch: sides of the window, height and width, before them frames of clips.
        stride: steps of the window in each direction.
        baseline: value of what is covered; 0 is the mean color of normalized images.

    Returns:
        (B, H, W), or (B, T, H, W) of clips.

    Raises:
        ConfigError: the window is larger than the input, or a stride leaves gaps or is none.
    """
    places = windows(tuple(subject.space), patch, stride)
    drop = torch.zeros(len(subject.inputs), *subject.space, device=subject.inputs.device)
    count = torch.zeros(tuple(subject.space), device=subject.inputs.device)
    for row, one in enumerate(subject.inputs):
        with only_changes(subject.network, partial(subject.scores, one[None], subject.rows[row, None])) as before:
            for start in range(0, len(places), subject.at_once):
                chosen = places[start : start + subject.at_once]
                covered = one.expand(len(chosen), *one.shape).clone(memory_format=_format(one))
                for image, place in zip(covered, chosen, strict=True):
                    image[(slice(None), *place)] = baseline
                fall = before - subject.scores(covered, subject.rows[row].expand(len(chosen)))
                for value, place in zip(fall, chosen, strict=True):
                    drop[(row, *place)] += value
    for place in places:
        count[place] += 1
    return drop / count


def windows(space: Sides, patch: Sides, stride: Sides) -> list[tuple[slice, ...]]:
    """Places of a sliding window, row by row.

    Raises:
        ConfigError: the window is larger than the input, or a stride leaves gaps or is none.
    """
    for side, width, step in zip(space, patch, stride, strict=True):
        if not 1 <= width <= side:
            raise ConfigError(f"--patch is {width}, but the input has {side} pixels to that side: choose 1 to {side}")
        if not 1 <= step <= width:
            raise ConfigError(f"--stride is {step}, but must be 1 to the {width} of --patch, which leaves no gaps")
    steps = [
        [slice(start, start + width) for start in range(0, side - width + step, step)]
        for side, width, step in zip(space, patch, stride, strict=True)
    ]
    return list(product(*steps))


def rise(subject: Subject, masks: int = MASKS, cells: int = CELLS, kept: float = KEPT, seed: int = 0) -> Tensor:
    """RISE: mean of random smooth masks, weighted by the scores of what they leave (Petsiuk et al. 2018).

    Args:
        subject: what is explained.
        masks: number of masks, the same for every sample.
        cells: to a side of each mask before it is enlarged.
        kept: share of the cells that stay.
        seed: of the masks.

    Returns:
        (B, H, W), or (B, T, H, W) of clips.

    Raises:
        ConfigError: no masks.
    """
    if masks < 1:
        raise ConfigError(f"--masks is {masks}, but RISE needs 1 or more; the more, the less noise")
    generator, inputs = torch.Generator().manual_seed(seed), subject.inputs
    total = torch.zeros(len(inputs), *subject.space, device=inputs.device)
    for start in range(0, masks, subject.at_once):
        drawn = random_masks(min(subject.at_once, masks - start), tuple(subject.space), cells, kept, generator)
        drawn = drawn.to(inputs)
        for row, one in enumerate(inputs):
            score = subject.scores(one * drawn[:, None], subject.rows[row].expand(len(drawn)))
            total[row] += torch.einsum("n,n...->...", score, drawn.float())
    return total / (masks * kept)


def random_masks(count: int, space: Sides, cells: int, kept: float, generator: torch.Generator) -> Tensor:
    """Masks (N, *space) in 0..1: random cells that are kept, enlarged linearly and shifted by less than a cell."""
    coarse = [min(cells, side) for side in space]
    sides = [-(-side // few) for side, few in zip(space, coarse, strict=True)]
    drawn = (torch.rand(count, 1, *(few + 1 for few in coarse), generator=generator) < kept).float()
    mode = "bilinear" if len(space) == 2 else "trilinear"
    size = [(few + 1) * side for few, side in zip(coarse, sides, strict=True)]
    large = interpolate(drawn, size=size, mode=mode)[:, 0]
    shifts = [torch.randint(side, (count,), generator=generator).tolist() for side in sides]
    places = zip(*shifts, strict=True)
    return torch.stack(
        [
            one[tuple(slice(at, at + side) for at, side in zip(place, space, strict=True))]
            for one, place in zip(large, places, strict=True)
        ]
    )


def _format(image: Tensor) -> torch.memory_format:
    return torch.channels_last if image.ndim == 3 else torch.channels_last_3d
