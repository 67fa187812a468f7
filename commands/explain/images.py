"""Explanations of images and clips: maps of several methods, figures, raw maps, faithfulness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torchvision.ops import box_iou

from callbacks.figures.base import shorten_start
from callbacks.figures.explained import compared, panels, said, summary
from callbacks.figures.grids import side_by_side
from callbacks.figures.log import log_figure
from commands.evaluate.extraction import Result
from commands.explain.drawing import curves
from commands.explain.samples import Samples
from commands.explain.scores import judge
from datamodules import DataModule
from datamodules.images.image_data import ImageDataModule
from datamodules.images.unlabeled_images import split_title
from modules.contracts import DataError, writing
from modules.insight.methods import METHODS, Options, check_used, usual_methods
from modules.insight.subject import Subject
from modules.insight.targets import Box, Region
from tasks import Task

SAME = 0.5
"""IoU from which on a box is that of the target."""


@dataclass(frozen=True)
class Explained:
    """Maps of several methods for the same samples.

    Args:
        samples: that are explained.
        targets: one per sample, as of `Task.targets`.
        words: the same in words.
        subject: the scores of the targets.
        maps: of each method, (B, ...).
        options: of the methods.
        compared: image that each sample is compared with, uint8 (H, W, 3); empty of other targets than features.
    """

    samples: Samples
    targets: list[Any]
    words: list[str]
    subject: Subject
    maps: dict[str, Tensor]
    options: Options
    compared: list[np.ndarray]

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return list(self.maps)

    def again(self, name: str) -> Tensor:
        """Maps of a method, of the network as it is now."""
        return METHODS[name](self.subject, self.options).detach().cpu()


def explain_images(
    task: Task, samples: Samples, methods: Sequence[str], wanted: str | None, options: Options
) -> Explained:
    """Maps of samples by several methods; see `Trainer.explain`."""
    task.eval()
    with torch.no_grad():
        targets = task.targets(samples.batch, wanted)
    known = (samples.ids, samples.shown) if samples.reference is None else ([str(wanted)], [samples.reference])
    samples, targets = found_in(samples, targets)
    others = compared(targets, *known)
    subject = Subject.of(task.target_score, samples.batch, targets, task.explained, task.attended)
    words = [said(target, task.classes, task) for target in targets]
    found = Explained(samples, targets, words, subject, {}, options, others)
    names = methods or usual_methods(subject)
    check_used(names, options)
    maps = {name: found.again(name) for name in names}
    check_finite(maps)
    return replace(found, maps=maps)


def show_images(trainer: Trainer, found: Explained, depths: int) -> list[Result]:
    """Draw and write the maps, and measure their faithfulness."""
    subject, samples = found.subject, found.samples
    scores = subject.scores(subject.inputs, subject.rows).tolist()
    _draw(trainer, found, [f"{word} {score:.2f}".strip() for word, score in zip(found.words, scores, strict=True)])
    about = {"ids": np.array(samples.ids), "targets": np.array(found.words), "scores": np.array(scores)}
    save_maps(Path(trainer.default_root_dir), about | {name: one.numpy() for name, one in found.maps.items()})
    data = cast(Any, trainer).datamodule
    masks = masks_of(found, data)
    objects = {"": masks, "neighbor_": neighbors_of(found)}
    measured = judge(subject, found.maps, objects, found.again, depths, found.options.seed)
    title = f"Faithfulness of maps, mean of {len(samples.ids)} samples of {split_title(data, samples.split)}"
    log_figure(trainer, "faithfulness", curves(measured, title))
    return measured.results(samples.split, samples.ids)


def check_finite(maps: Mapping[str, Tensor]) -> None:
    """Check the maps of each method.

    Raises:
        DataError: one holds nan or infinity.
    """
    if wrong := [name for name, one in maps.items() if not one.isfinite().all()]:
        raise DataError(f"the maps of {wrong[0]} hold nan or infinity, as the scores do: give another --ckpt_path")


def found_in(samples: Samples, targets: Sequence[Any]) -> tuple[Samples, list[Any]]:
    """Samples in which the network finds something.

    Raises:
        DataError: in none.
    """
    rows = [i for i, target in enumerate(targets) if target is not None]
    if not rows:
        raise DataError(
            f"the network finds nothing in {len(targets)} samples: raise --count, train it longer, or of a detector "
            f"lower --model.head.score_threshold"
        )
    if left := [samples.ids[i] for i in range(len(targets)) if i not in rows]:
        rank_zero_info(f"left out, because there is nothing to explain: {', '.join(left)}")
    return samples.chosen(rows), [targets[i] for i in rows]


def masks_of(found: Explained, data: DataModule) -> list[Tensor | None]:
    """Object that each target is about, bool (H, W) of the network's input; null where it is not known.

    That of a class is known to some data.
    """
    space = tuple(found.subject.space)
    masks = [_mask_of(target, space) for target in found.targets]
    for i, (name, word) in enumerate(zip(found.samples.ids, found.words, strict=True)):
        known = data.class_mask(name, word) if isinstance(data, ImageDataModule) and masks[i] is None else None
        if known is not None and known.any() and known.shape == space:
            masks[i] = torch.from_numpy(known)
    return masks


def neighbors_of(found: Explained) -> list[Tensor | None]:
    """Other objects than the box of each target, bool (H, W) without that box; null where there are none.

    They are annotated boxes that overlap it by an IoU below 0.5.
    """
    annotated: Any = found.samples.batch.get("boxes", [None] * len(found.targets))
    space = tuple(found.subject.space)
    return [_beside(target, boxes, space) for target, boxes in zip(found.targets, annotated, strict=True)]


def _beside(target: Any, boxes: Tensor | None, space: tuple[int, ...]) -> Tensor | None:
    if not isinstance(target, Box) or boxes is None:
        return None
    mask = torch.zeros(space, dtype=torch.bool)
    for box in boxes[box_iou(target.box[None].to(boxes), boxes)[0] < SAME]:
        mask |= _inside(box, space)
    mask &= ~_inside(target.box, space)
    return mask if mask.any() else None


def _mask_of(target: Any, space: tuple[int, ...]) -> Tensor | None:
    if isinstance(target, Region):
        return target.pixels.cpu() if target.pixels.sum() > 1 else None
    return _inside(target.box, space) if isinstance(target, Box) else None


def _inside(box: Tensor, space: tuple[int, ...]) -> Tensor:
    """Pixels of a box, bool (H, W), one at least."""
    left, top, right, bottom = box.round().long().tolist()
    mask = torch.zeros(space, dtype=torch.bool)
    mask[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    return mask


def _draw(trainer: Trainer, found: Explained, words: Sequence[str]) -> None:
    """Each sample's overlays in its original resolution, and all of them in one figure."""
    samples, clips = found.samples, len(found.subject.space) == 3
    rows = panels(samples.shown, found.maps.values(), tuple(found.subject.space), samples.places, found.targets)
    for i, row in enumerate(rows):
        log_figure(trainer, f"explained_{i}", side_by_side(row))
    pairs = zip(samples.ids, words, strict=True)
    captions = [f"{shorten_start(name, 30)}\n{shorten_start(word, 44)}" for name, word in pairs]
    where = split_title(cast(Any, trainer).datamodule, samples.split)
    title = f"Explanations of samples of {where}, each with what is explained and its score"
    log_figure(trainer, "explanations", summary(rows, list(found.maps), captions, title, clips, found.compared))


def save_maps(folder: Path, arrays: dict[str, Any]) -> None:
    """Write `maps.npz` whole."""
    path = folder / "maps.npz"
    partial = path.with_suffix(".tmp")
    with writing(path), partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
        partial.replace(path)
