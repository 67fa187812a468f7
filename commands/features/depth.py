"""Shallow against deep: linear probe, effective rank and receptive field of every level."""

from typing import NamedTuple

import torch
from torch import Tensor

from commands.evaluate.probes import accuracy, fit_linear, scale
from commands.features.subject import Subject
from modules.contracts import DataError
from modules.insight.receptive import receptive_boxes
from modules.metrics.representation import effective_rank

C = 0.1  # of the probes: the weight of the data against the penalty


class Level(NamedTuple):
    """Facts about a level; `probe` is the accuracy of a linear probe, null without labels.

    `field` is the longer side of the receptive field of its middle cell in pixels, cut at the image's border.
    """

    channels: int
    cells: tuple[int, int]
    rank: float
    probe: float | None
    field: int


@torch.no_grad()
def pooled(subject: Subject, images: Tensor) -> tuple[list[Tensor], list[tuple[int, int]]]:
    """Mean of each level over its cells (N, C), and the cells of the maps."""
    parts: list[list[Tensor]] = []
    cells: list[tuple[int, int]] = []
    for x in subject.batches(images):
        maps = subject.levels(x)
        cells = [(one.shape[2], one.shape[3]) for one in maps]
        parts.append([one.mean((2, 3)).cpu() for one in maps])
    return [torch.cat(level) for level in zip(*parts, strict=True)], cells


def levels(subject: Subject, count: int) -> list[Level]:
    """Facts about all levels, shallow to deep; probes learn from the train split, or from every second sample."""
    images, labels = subject.images, subject.labels
    features, cells = pooled(subject, images)
    known = labels is not None and len(labels.unique()) > 1
    bank, taught = ([part[::2] for part in features], labels[::2] if known else labels)
    judged, truth = ([part[1::2] for part in features], labels[1::2] if known else labels)
    if known and subject.split != "train" and subject.data.has("train"):
        try:
            more, answers = subject.samples("train", count)
            if answers is not None:
                (bank, _), taught, judged, truth = pooled(subject, more), answers, features, labels
        except DataError:
            pass  # training images of another size than the others
    found = []
    for level, part in enumerate(features):
        middle = (cells[level][0] // 2, cells[level][1] // 2)
        run = lambda x, level=level: subject.levels(x)[level]  # noqa: E731
        ((left, top, right, bottom),) = receptive_boxes(run, subject.task, subject.enter(images[:1]), [middle])
        probe = None
        if known and taught is not None and truth is not None:
            standard = scale(bank[level])
            classes = int(max(taught.max(), truth.max())) + 1
            probe = accuracy(fit_linear(standard(bank[level]), taught, classes, C)(standard(judged[level])), truth)
        field = max(right - left, bottom - top)
        found.append(Level(part.shape[1], cells[level], effective_rank(part), probe, field))
    return found
